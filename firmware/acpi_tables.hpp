// SPDX-License-Identifier: GPL-2.0-or-later
// The ACPI tables of the pc machine (ACPI 3.0 structures, readable by ACPI 1.0 systems): DSDT from dsdt.asl,
// an SSDT with what depends on the configuration, FADT, FACS, MADT, HPET, WAET, RSDT, XSDT and RSDP, together
// with the script by which SeaBIOS and OVMF place, link and checksum them (QEMU hw/acpi/bios-linker-loader).
#pragma once

#include <cstdint>
#include <vector>

namespace escalus {

/// The I/O ports of the PIIX4 power management function, which FADT and firmware agree on: SeaBIOS', and
/// OVMF's (OvmfPkg/Include/OvmfPlatforms.h).
inline constexpr std::uint16_t acpi_pm_base = 0x600, acpi_pm_base_uefi = 0xb000;

struct AcpiConfig {
    unsigned vcpus = 1;
    bool apic = true; ///< a MADT: local and I/O APIC
    bool hpet = true;
    std::uint16_t pm_base = acpi_pm_base;
    std::uint32_t pci_window_base = 0xe000'0000; ///< first address of PCI's memory window (the end of RAM)
    unsigned serial_ports = 1;                   ///< a bit each: COM1 1, COM2 2, COM3 4, COM4 8
    unsigned floppy_drives = 0;                  ///< a bit each; none: there is no controller
};

struct AcpiFiles {
    std::vector<std::uint8_t> tables; ///< etc/acpi/tables
    std::vector<std::uint8_t> rsdp;   ///< etc/acpi/rsdp
    std::vector<std::uint8_t> loader; ///< etc/table-loader
};

[[nodiscard]] AcpiFiles build_acpi(const AcpiConfig& config);

} // namespace escalus
