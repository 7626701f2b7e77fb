// SPDX-License-Identifier: GPL-2.0-or-later
#include "firmware/fw_cfg_files.hpp"

#include "firmware/acpi_tables.hpp"
#include "firmware/byte_writer.hpp"
#include "firmware/smbios.hpp"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>

namespace escalus {

namespace {

// Numbered items that SeaBIOS and OVMF read (SeaBIOS src/fw/paravirt.h).
enum Key : std::uint16_t {
    key_uuid = 0x02,
    key_memory_size = 0x03,
    key_no_graphics = 0x04,
    key_cpu_count = 0x05,
    key_numa = 0x0d,
    key_boot_menu = 0x0e,
    key_cpu_limit = 0x0f,
    key_acpi_tables = 0x8000,
    key_smbios_entries = 0x8001,
    key_irq0_override = 0x8002,
};

constexpr std::uint64_t four_gibibytes = 1ull << 32;
// SeaBIOS gives PCI memory from the first of these that lies above RAM (src/fw/pciinit.c, i440fx).
constexpr std::uint32_t pci_windows[] = {0x8000'0000, 0xc000'0000, 0xe000'0000};

std::uint32_t pci_window_base(std::uint64_t memory_below_4g, bool uefi) {
    // OVMF's begins with the end of RAM, but not below 2 GiB (OvmfPkg/Library/PlatformInitLib, i440fx).
    if (uefi)
        return static_cast<std::uint32_t>(
            std::max<std::uint64_t>(memory_below_4g, std::uint32_t{pci_windows[0]}));
    for (const auto base : pci_windows)
        if (memory_below_4g <= base)
            return base;
    throw std::invalid_argument{
        fmt::format("{:#x} bytes of memory below 4 GiB leave no room for PCI", memory_below_4g)};
}

std::vector<std::uint8_t> make_e820(const FirmwareConfig& config) {
    std::vector<E820Entry> entries{{0, config.memory_below_4g, 1}};
    if (config.memory_above_4g != 0)
        entries.push_back({four_gibibytes, config.memory_above_4g, 1});
    entries.insert(entries.end(), config.reserved.begin(), config.reserved.end());
    std::vector<std::uint8_t> bytes;
    ByteWriter out{bytes};
    for (const auto& entry : entries)
        out.u64(entry.base).u64(entry.size).u32(entry.type);
    return bytes;
}

std::vector<std::uint8_t> lines(const std::vector<std::string>& list) {
    std::vector<std::uint8_t> bytes;
    ByteWriter out{bytes};
    for (std::size_t i = 0; i < list.size(); ++i)
        out.text(list[i], list[i].size() + 1, i + 1 < list.size() ? '\n' : '\0');
    return bytes;
}

} // namespace

namespace boot_path {
// The PIIX3 is at 01.0, its IDE function at 01.1.
std::string ide(unsigned channel, unsigned unit) {
    return fmt::format("/pci@i0cf8/ide@1,1/drive@{:x}/disk@{:x}", channel, unit);
}
std::string ahci(unsigned device, unsigned port) {
    return fmt::format("/pci@i0cf8/pci8086,2922@{:x}/drive@{:x}/disk@0", device, port);
}
std::string virtio_disk(unsigned device) {
    return fmt::format("/pci@i0cf8/scsi@{:x}/disk@0,0", device);
}
std::string usb_disk(unsigned device, unsigned function, std::optional<unsigned> hub, unsigned port) {
    const auto place = function == 0 ? std::string{} : fmt::format(",{:x}", function);
    const auto way = hub ? fmt::format("/hub@{:x}", *hub + 1) : std::string{};
    return fmt::format("/pci@i0cf8/usb@{:x}{}{}/storage@{:x}/channel@0/disk@0,0", device, place, way,
                       port + 1);
}

std::string nvme(unsigned device) { // OVMF knows it by the number of QEMU's first one
    return fmt::format("/pci@i0cf8/pci8086,5845@{:x}/namespace@1,0", device);
}
std::string floppy(unsigned unit) {
    return fmt::format("/pci@i0cf8/isa@1/fdc@03f0/floppy@{:x}", unit);
}
std::string pci(unsigned device, unsigned function) {
    return function == 0 ? fmt::format("/pci@i0cf8/*@{:x}", device)
                         : fmt::format("/pci@i0cf8/*@{:x},{:x}", device, function);
}
} // namespace boot_path

void add_firmware_files(FwCfg& fw_cfg, const FirmwareConfig& config) {
    if (config.memory_below_4g == 0)
        throw std::invalid_argument{"a machine without memory cannot start"};
    if (config.vcpus == 0 || config.vcpus > 255)
        throw std::invalid_argument{fmt::format("a machine of {} processors cannot be", config.vcpus)};
    const auto window = pci_window_base(config.memory_below_4g, config.uefi);

    const auto smbios = build_smbios({.name = config.name,
                                      .uuid = config.uuid,
                                      .memory_below_4g = config.memory_below_4g,
                                      .memory_above_4g = config.memory_above_4g,
                                      .vcpus = config.vcpus});
    fw_cfg.add_u64(key_memory_size, config.memory_below_4g + config.memory_above_4g);
    fw_cfg.add_u16(key_no_graphics, 0);
    fw_cfg.add_u16(key_cpu_count, static_cast<std::uint16_t>(config.vcpus));
    fw_cfg.add_u16(key_cpu_limit, static_cast<std::uint16_t>(config.vcpus));
    fw_cfg.add_u16(key_boot_menu, config.boot_menu ? 1 : 0);
    fw_cfg.add_item(key_irq0_override, {1}); // as the MADT says: interrupt 0 is on input 2
    // No NUMA nodes, no ACPI tables and SMBIOS structures of the old kind.
    fw_cfg.add_u64(key_numa, 0);
    fw_cfg.add_u16(key_acpi_tables, 0);
    fw_cfg.add_u16(key_smbios_entries, 0);

    fw_cfg.add_file("etc/e820", make_e820(config));
    fw_cfg.add_file("etc/smbios/smbios-anchor", smbios.anchor);
    fw_cfg.add_file("etc/smbios/smbios-tables", smbios.tables);
    if (!config.boot_order.empty())
        fw_cfg.add_file("bootorder", lines(config.boot_order));
    std::vector<std::uint8_t> wait;
    ByteWriter{wait}.u16(std::min(config.boot_menu_wait_ms, 0xffffu));
    fw_cfg.add_file("etc/boot-menu-wait", std::move(wait));

    std::vector<std::uint8_t> loader;
    if (config.acpi) {
        auto acpi = build_acpi({.vcpus = config.vcpus,
                                .apic = config.apic,
                                .hpet = config.hpet,
                                .pm_base = config.uefi ? acpi_pm_base_uefi : acpi_pm_base,
                                .pci_window_base = window,
                                .serial_ports = config.serial_ports,
                                .floppy_drives = config.floppy_drives});
        fw_cfg.add_file("etc/acpi/tables", std::move(acpi.tables));
        fw_cfg.add_file("etc/acpi/rsdp", std::move(acpi.rsdp));
        loader = std::move(acpi.loader);
    }
    // Of a single processor, the firmware's own says the same; UEFI systems have ACPI.
    if (config.apic && config.vcpus > 1 && !config.uefi) {
        auto mp = build_mp_table({.vcpus = config.vcpus,
                                  .cpu_signature = config.cpu_signature,
                                  .pci_interrupts = config.pci_interrupts});
        fw_cfg.add_file("etc/mptable", std::move(mp.table));
        loader.insert(loader.end(), mp.loader.begin(), mp.loader.end());
    }
    if (!loader.empty())
        fw_cfg.add_file("etc/table-loader", std::move(loader));
}

} // namespace escalus
