// SPDX-License-Identifier: GPL-2.0-or-later
// The configuration table of Intel's MultiProcessor Specification 1.4 and the floating pointer that leads to
// it, for systems from before ACPI. SeaBIOS makes one, too, but lists only the first processor of a package.
// It places this one afterwards, and so below its own: whoever searches the BIOS area upwards, as the
// specification has it (section 4), finds this one first.
#pragma once

#include <cstdint>
#include <vector>

namespace escalus {

/// A PCI function's interrupt pin, and the I/O APIC's input where it arrives.
struct PciInterrupt {
    unsigned device = 0;
    unsigned pin = 1; ///< 1 INTA# to 4 INTD#
    unsigned input = 0;
};

struct MpTableConfig {
    unsigned vcpus = 1;
    std::uint32_t cpu_signature = 0; ///< CPUID 1 EAX
    std::vector<PciInterrupt> pci_interrupts{};
};

struct MpTableFiles {
    std::vector<std::uint8_t> table;  ///< etc/mptable: the floating pointer, then the table
    std::vector<std::uint8_t> loader; ///< commands for etc/table-loader
};

[[nodiscard]] MpTableFiles build_mp_table(const MpTableConfig& config);

} // namespace escalus
