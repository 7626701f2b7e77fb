// SPDX-License-Identifier: GPL-2.0-or-later
// CPUID as the control OS sees it: the machine's own, without hardware virtualization, and with the leaves
// that name the monitor.
#pragma once

#include "vmm/cpu/instructions.hpp"

namespace escalus::vmm {

CpuidResult control_cpuid(std::uint32_t function, std::uint32_t index, std::uint64_t control_cr4);

} // namespace escalus::vmm
