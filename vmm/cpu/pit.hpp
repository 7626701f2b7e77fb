// SPDX-License-Identifier: GPL-2.0-or-later
// The 8254 interval timer as a measure of time, before anybody else owns it.
#pragma once

namespace escalus::vmm {

/// Waits by channel 2; at most 54,000 microseconds.
void wait_microseconds(unsigned us);

} // namespace escalus::vmm
