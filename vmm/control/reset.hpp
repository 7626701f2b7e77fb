// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>

namespace escalus::vmm {

/// The control OS shut down by a triple fault at `rip`, which makes a platform reset the machine (AMD APM 2,
/// section 8.2.9; Intel SDM 3A, section 6.15): so does this.
[[noreturn]] void reset_machine(unsigned cpu, std::uint64_t rip);

} // namespace escalus::vmm
