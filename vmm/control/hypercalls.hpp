// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "vmm/cpu/per_cpu.hpp"

namespace escalus::vmm {

/// Executes the hypercall in cpu.control and leaves the results there. False: leave the instruction pointer
/// on the instruction, so that it is executed again after the control OS has taken its interrupt.
[[nodiscard]] bool hypercall(PerCpu& cpu);

} // namespace escalus::vmm
