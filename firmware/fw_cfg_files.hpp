// SPDX-License-Identifier: GPL-2.0-or-later
// Everything the firmware is told about the machine, put into the fw_cfg device: the memory map, processor
// counts, boot order, ACPI and SMBIOS tables. (QEMU docs/specs/fw_cfg.rst; SeaBIOS docs/Runtime_config.md and
// src/fw/paravirt.c; OVMF's PlatformPei reads the same.)
#pragma once

#include "devmodel/devices/chipset/fw_cfg.hpp"
#include "firmware/mp_table.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace escalus {

/// A piece of the memory map. Types are those of ACPI's E820: 1 RAM, 2 reserved, 3 ACPI, 4 NVS.
struct E820Entry {
    std::uint64_t base = 0;
    std::uint64_t size = 0;
    std::uint32_t type = 1;
};

/// What boots, in Open Firmware device paths as SeaBIOS and OVMF match them.
namespace boot_path {
/// A disk or CD-ROM on the PIIX3's IDE: channel 0 or 1, unit 0 (master) or 1.
[[nodiscard]] std::string ide(unsigned channel, unsigned unit);
/// A disk or CD-ROM on a port of the AHCI controller at this PCI device.
[[nodiscard]] std::string ahci(unsigned device, unsigned port);
/// A virtio disk that is this PCI device.
[[nodiscard]] std::string virtio_disk(unsigned device);
/// The NVMe controller that is this PCI device, and its first namespace.
[[nodiscard]] std::string nvme(unsigned device);
/// `hub`: the controller's port with a hub, whose port `port` is. Ports count from 0.
[[nodiscard]] std::string usb_disk(unsigned device, unsigned function, std::optional<unsigned> hub,
                                   unsigned port);
[[nodiscard]] std::string floppy(unsigned unit);
/// The option ROM of a PCI function (network boot).
[[nodiscard]] std::string pci(unsigned device, unsigned function = 0);
} // namespace boot_path

struct FirmwareConfig {
    std::string name{};                ///< the guest's, for SMBIOS
    std::string uuid{};                ///< "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"; empty: none
    std::uint64_t memory_below_4g = 0; ///< bytes of RAM from address 0
    std::uint64_t memory_above_4g = 0; ///< bytes of RAM from 4 GiB
    unsigned vcpus = 1;
    std::uint32_t cpu_signature = 0;            ///< CPUID 1 EAX, for the MP table
    std::vector<PciInterrupt> pci_interrupts{}; ///< the same
    bool acpi = true, apic = true, hpet = true;
    unsigned serial_ports = 1;             ///< a bit each: COM1 1, COM2 2, COM3 4, COM4 8
    unsigned floppy_drives = 0;            ///< a bit each; none: there is no controller
    std::vector<std::string> boot_order{}; ///< device paths, first choice first
    /// OVMF and not SeaBIOS: another place for the PCI window and power management, and no MP table.
    bool uefi = false;
    bool boot_menu = false; ///< offer the boot menu (Esc)
    unsigned boot_menu_wait_ms = 0;
    std::vector<E820Entry> reserved{}; ///< further pieces that the firmware must keep off
};

/// Fills a fresh FwCfg. Throws std::invalid_argument for a configuration that cannot be (no memory, no vCPU,
/// a malformed UUID).
void add_firmware_files(FwCfg& fw_cfg, const FirmwareConfig& config);

} // namespace escalus
