// SPDX-License-Identifier: GPL-2.0-or-later
// The little of ACPI that the monitor reads: which CPUs there are (MADT; ACPI 6.5, section 5.2.12).
#pragma once

#include "vmm/boot/boot_info.hpp"
#include "vmm/cpu/per_cpu.hpp"

namespace escalus::vmm {

/// A table by its four letters; address 0 when there is none. Also finds the RSDP when the loader did not
/// tell.
[[nodiscard]] HostPhys find_acpi_table(BootInfo& info, const char* signature);

using ApicIdList = FixedVector<std::uint32_t, cpus_max>;

/// The APIC IDs of all enabled CPUs. Empty when there are no usable tables: then there is one CPU.
void find_cpus(BootInfo& info, ApicIdList& ids);

} // namespace escalus::vmm
