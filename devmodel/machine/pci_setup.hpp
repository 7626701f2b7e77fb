// SPDX-License-Identifier: GPL-2.0-or-later
// What firmware does to PCI before a system starts, for kernels started without firmware: sizes and places
// BARs, enables decoding, routes interrupts (PCI Local Bus Specification 3.0, 6.2.5; PIIX3 and PIIX4
// datasheets). The addresses are those SeaBIOS would choose, or like them.
#pragma once

#include "devmodel/machine/pci.hpp"
#include "firmware/mp_table.hpp"

#include <cstdint>
#include <vector>

namespace escalus {

struct PciWindows {
    std::uint32_t io_base = 0xc000, io_end = 0x10000;
    std::uint32_t memory_base = 0xe0000000, memory_end = 0xfec00000;
};

/// Which pins the functions on bus 0 use, and where they arrive.
[[nodiscard]] std::vector<PciInterrupt> pci_interrupts(PciBus& pci);

/// Every function of bus 0. PCI interrupts A to D go to ISA interrupts 10, 10, 11 and 11.
void assign_pci_resources(PciBus& pci, const PciWindows& windows);

/// The chips whose place is the board's convention: shadow RAM, interrupt routing, IDE decoding, power
/// management at `pm_base`.
void set_up_chipset(PciBus& pci, std::uint16_t pm_base);

} // namespace escalus
