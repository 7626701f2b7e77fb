// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

namespace escalus::vmm {

/// Loads the monitor's IDT on this CPU: every exception ends in a panic that names it.
void load_exception_table();

} // namespace escalus::vmm
