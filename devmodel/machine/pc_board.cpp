// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/pc_board.hpp"

#include "devmodel/backends/block/open_image.hpp"
#include "devmodel/backends/char/open_char_backend.hpp"
#include "devmodel/backends/nvram/nvram_file.hpp"
#include "devmodel/devices/storage/ata_disk.hpp"
#include "devmodel/devices/storage/atapi_cdrom.hpp"
#include "devmodel/devices/usb/usb_disk.hpp"
#include "devmodel/devices/usb/usb_hub.hpp"
#include "devmodel/devices/usb/usb_keyboard.hpp"
#include "devmodel/devices/usb/usb_tablet.hpp"
#include "devmodel/devices/virtio/virtio_blk.hpp"
#include "devmodel/machine/pci_setup.hpp"
#include "firmware/find_firmware.hpp"
#include "firmware/fw_cfg_files.hpp"
#include "firmware/uefi_image.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <ctime>
#include <stdexcept>

#include <boost/uuid/name_generator_sha1.hpp>
#include <cpuid.h>
#include <fmt/format.h>

namespace escalus {

namespace {

constexpr std::uint64_t bios_limit = 16ull << 20, vga_bios_limit = 256ull << 10;
// I/O APIC inputs that no wire of the board drives: the HPET's own choice.
constexpr std::uint32_t hpet_routes = 0xf00000;
constexpr unsigned floppy_irq = 6, floppy_dma = 2;
constexpr unsigned ide_device = 1, ide_function = 1, usb_function = 2, first_network_device = 3,
                   ahci_device = 8, xhci_device = 9, first_nvme_device = 0x0c, first_virtio_device = 0x10,
                   virtio_disks = 16, nvme_disks = 4, most_disk_queues = 4;

struct ComPort {
    std::uint16_t base;
    unsigned irq;
};
constexpr std::array<ComPort, 4> com_ports{{{0x3f8, 4}, {0x2f8, 3}, {0x3e8, 4}, {0x2e8, 3}}};

// hda is 0, and so is xvda.
unsigned disk_number(const DiskConfig& disk) {
    if (disk.controller == DiskController::Floppy) {
        if (disk.device != "fda" && disk.device != "fdb")
            throw std::runtime_error{fmt::format("{}: the floppy drives are fda and fdb", disk.device)};
        return static_cast<unsigned>(disk.device[2] - 'a');
    }
    if (disk.controller == DiskController::Virtio) {
        const auto n = static_cast<unsigned>(disk.device.back() - 'a');
        if (disk.device.size() != 4 || !disk.device.starts_with("xvd") || n >= virtio_disks)
            throw std::runtime_error{fmt::format("{}: virtio disks are xvda to xvdp", disk.device)};
        return n;
    }
    if (disk.controller == DiskController::Nvme) {
        for (unsigned n = 0; n < nvme_disks; ++n)
            if (disk.device == fmt::format("nvme{}n1", n))
                return n;
        throw std::runtime_error{fmt::format("{}: NVMe disks are nvme0n1 to nvme3n1", disk.device)};
    }
    if (disk.device.size() != 3 || !disk.device.starts_with("hd") || disk.device[2] < 'a' ||
        disk.device[2] > 'd')
        throw std::runtime_error{fmt::format("{}: the pc machine has hda, hdb, hdc and hdd", disk.device)};
    return static_cast<unsigned>(disk.device[2] - 'a');
}

std::string boot_path_of(const DiskConfig& disk) {
    const auto n = disk_number(disk);
    switch (disk.controller) {
    case DiskController::Ahci:
        return boot_path::ahci(ahci_device, n);
    case DiskController::Virtio:
        return boot_path::virtio_disk(first_virtio_device + n);
    case DiskController::Nvme:
        return boot_path::nvme(first_nvme_device + n);
    case DiskController::Floppy:
        return boot_path::floppy(n);
    case DiskController::Ide:
        break;
    }
    return boot_path::ide(n / 2, n % 2);
}

unsigned usb_ports(const MachineConfig& config) {
    return config.usb == UsbController::Xhci ? Xhci::usb2_ports : Uhci::port_count;
}

/// Devices for which there are not ports enough are at a hub in the last port.
bool behind_usb_hub(const MachineConfig& config, unsigned number) {
    return config.usb_devices.size() > usb_ports(config) && number + 1 >= usb_ports(config);
}

std::string usb_boot_path(const MachineConfig& config, unsigned number) {
    const auto last = usb_ports(config) - 1;
    const bool behind_hub = behind_usb_hub(config, number);
    const bool xhci = config.usb == UsbController::Xhci;
    return boot_path::usb_disk(xhci ? xhci_device : ide_device, xhci ? 0 : usb_function,
                               behind_hub ? std::optional{last} : std::nullopt,
                               behind_hub ? number - last : number);
}

/// A disk of another machine, or another disk of this one, has another UUID.
nvme::Identity nvme_identity(const MachineConfig& config, const DiskConfig& disk) {
    const auto uuid = boost::uuids::name_generator_sha1{boost::uuids::ns::oid()}(config.uuid + disk.device);
    nvme::Identity identity{.serial = disk.device};
    std::ranges::copy(uuid, identity.uuid.begin());
    return identity;
}

/// Twelve hexadecimal digits, another one for another disk, too.
std::string usb_serial(const MachineConfig& config, const DiskConfig& disk) {
    const auto uuid = boost::uuids::name_generator_sha1{boost::uuids::ns::oid()}(config.uuid + disk.device);
    return fmt::format("{:02X}", fmt::join(uuid.begin(), uuid.begin() + 6, ""));
}

/// What a letter of the boot order stands for.
std::optional<DiskKind> kind_of(char letter) {
    switch (letter) {
    case 'a':
        return DiskKind::Floppy;
    case 'c':
        return DiskKind::Disk;
    case 'd':
        return DiskKind::CdRom;
    default:
        return std::nullopt;
    }
}

std::uint32_t host_cpu_signature() {
    std::uint32_t a = 0, b = 0, c = 0, d = 0;
    __cpuid(1, a, b, c, d);
    return a;
}

Mc146818::Config rtc_config(const MachineConfig& config) {
    const auto now = std::time(nullptr);
    std::int64_t offset = config.rtc_offset_seconds;
    if (config.localtime) {
        std::tm local{};
        localtime_r(&now, &local);
        offset += local.tm_gmtoff;
    }
    return {.unix_seconds = now + offset};
}

} // namespace

PcFirmware::PcFirmware(const MachineConfig& config) {
    if (config.kernel.empty() && config.uefi) {
        auto image = load_uefi(config.bios);
        bios = std::move(image.code);
        variables = std::move(image.variables);
    } else if (config.kernel.empty()) {
        bios = load_firmware(find_firmware(default_bios, config.bios), bios_limit);
    }
    vga.memory_bytes = std::uint64_t{config.video_memory_mib} << 20;
    vga.ram_end = std::min(config.memory_bytes, PcMemory::low_limit);
    if (config.vga != VgaKind::None && config.kernel.empty())
        vga.bios = load_firmware(find_firmware(default_vga_bios, config.vga_bios), vga_bios_limit);
}

std::uint64_t PcFirmware::memory_bytes(const MachineConfig& config) const {
    const auto whole = [](std::uint64_t size) {
        return (size + large_page_size - 1) & ~(large_page_size - 1);
    };
    auto bytes = PcMemory::region_bytes(config.memory_bytes, bios.size()) + whole(variables.size());
    if (config.vga != VgaKind::None)
        bytes += whole(Vga::region_bytes(vga));
    return bytes;
}

PcBoard::PcBoard(boost::asio::io_context& loop, NetworkSide network, DeviceLock& device_lock, Clock& clock,
                 MemoryMap& engine_memory, const MachineConfig& config, const PcFirmware& firmware,
                 const std::string& runtime_directory, Signals signals)
    : space{engine_memory},
      memory{space, memory_bus, config.memory_bytes, firmware.bios},
      pic{ports, IrqLine{intr, 0}},
      legacy{IrqLine{isa.line(0)}, IrqLine{isa.line(8)}},
      a20{[this](bool open) { memory.set_a20(open); }},
      fw_cfg{ports, space},
      dma{ports, space},
      pm_timer{clock},
      piix3{PciSpaces{ports, memory_bus}, isa, signals.reset},
      host_bridge{PciSpaces{ports, memory_bus}, pci, piix3,
                  [this](std::span<const ShadowRange> ranges) { memory.shadow_changed(ranges); }},
      pm{PciSpaces{ports, memory_bus}, clock, pm_timer,
         Piix4Pm::Wiring{.sci = isa.line(9), .power_off = std::move(signals.power_off)}},
      ide{PciSpaces{ports, memory_bus}, space, isa.line(14), isa.line(15)},
      pit{clock, ports, IrqLine{legacy, LegacyRouting::pit}},
      rtc{clock, ports, IrqLine{legacy, LegacyRouting::rtc}, rtc_config(config)},
      system_ports{ports, a20, signals.reset},
      i8042{ports,
            clock,
            keyboard,
            mouse,
            a20,
            I8042::Wiring{
                .keyboard_irq = isa.line(1), .mouse_irq = isa.line(12), .reset = std::move(signals.reset)}},
      clock_{clock} {
    if (config.apic) {
        io_apic.emplace(memory_bus, apic_bus, static_cast<std::uint8_t>(0));
        intr.connect(*io_apic, 0);
    }
    isa.connect(pic, io_apic ? &*io_apic : nullptr);
    if (config.hpet && io_apic)
        hpet.emplace(clock, memory_bus, legacy, *io_apic, hpet_routes);
    if (config.vga != VgaKind::None)
        vga.emplace(firmware.vga, PciSpaces{ports, memory_bus}, space, clock);
    if (!firmware.variables.empty())
        flash.emplace(memory_bus, space, clock, PcMemory::four_gib - firmware.bios.size(),
                      NvramFile::open(config.nvram, firmware.variables, loop, device_lock));
    if (flash)
        ide.decode_from_reset();
    ide.leave_notes(port_notes);
    I440fx::leave_notes(port_notes);
    Mc146818::leave_notes(port_notes);
    // SeaBIOS writes its log byte by byte, an exit each: only for those who look for a fault in it.
    if (std::getenv("ESCALUS_FIRMWARE_LOG") != nullptr) // NOLINT(concurrency-mt-unsafe)
        debug_console.emplace(ports,
                              [](std::string_view line) { fmt::print(stderr, "firmware: {}\n", line); });
    plug_pci();
    open_disks(loop, device_lock, config, runtime_directory);
    open_networks(network, device_lock, config);
    if (config.usb != UsbController::None)
        open_usb(loop, device_lock, config, runtime_directory);
    open_serial(loop, device_lock, clock, config, runtime_directory);
    tell_firmware(config);
    set_cmos_memory_sizes();
    set_cmos_equipment();
}

PcBoard::~PcBoard() = default;

void PcBoard::plug_pci() {
    devices_ = {&pic, &fw_cfg, &dma,          &piix3,    &host_bridge, &pm,   &ide,
                &pit, &rtc,    &system_ports, &keyboard, &mouse,       &i8042};
    pci.plug(0, 0, host_bridge);
    pci.plug(1, 0, piix3);
    pci.plug(ide_device, ide_function, ide);
    pci.plug(1, 3, pm);
    if (io_apic)
        devices_.push_back(&*io_apic);
    if (hpet)
        devices_.push_back(&*hpet);
    if (debug_console)
        devices_.push_back(&*debug_console);
    if (flash)
        devices_.push_back(&*flash);
    if (vga) {
        pci.plug(2, 0, *vga);
        devices_.push_back(&*vga);
    }
}

void PcBoard::plug_card(unsigned slot, PciFunction& card) {
    pci.plug(slot, 0, card);
    card.connect_intx(piix3.intx_line(slot, 1));
    if (io_apic)
        card.connect_messages(
            [this](std::uint64_t address, std::uint32_t data) { apic_bus.send_msi(address, data); });
    devices_.push_back(&card);
}

void PcBoard::attach_floppy(const DiskConfig& disk, std::unique_ptr<BlockBackend> medium) {
    if (!floppy)
        devices_.push_back(&floppy.emplace(clock_, ports, isa.line(floppy_irq), DmaLine{dma, floppy_dma}));
    const auto unit = disk_number(disk);
    auto type = FloppyDriveType::Hd35; // of an empty drive
    if (medium != nullptr)
        if (const auto format = floppy_format(medium->size()))
            type = format->drive;
    floppy->attach(unit, type);
    try {
        if (medium != nullptr)
            floppy->insert(unit, std::move(medium));
    } catch (const std::invalid_argument& error) {
        throw std::runtime_error{fmt::format("{}: {}: {}", disk.device, disk.path, error.what())};
    }
}

void PcBoard::attach(const DiskConfig& disk, std::unique_ptr<BlockBackend> medium,
                     const MachineConfig& config) {
    const auto n = disk_number(disk);
    if (disk.controller == DiskController::Floppy)
        return attach_floppy(disk, std::move(medium));
    if (disk.controller == DiskController::Virtio) {
        auto device = std::make_unique<VirtioBlk>(clock_, std::move(medium), disk.device,
                                                  std::min(config.vcpus, most_disk_queues));
        virtio.push_back(std::make_unique<VirtioPci>(PciSpaces{ports, memory_bus}, space, std::move(device)));
        plug_card(first_virtio_device + n, *virtio.back());
        return;
    }
    if (disk.controller == DiskController::Nvme) {
        nvme.push_back(std::make_unique<Nvme>(PciSpaces{ports, memory_bus}, space, clock_, std::move(medium),
                                              nvme_identity(config, disk)));
        plug_card(first_nvme_device + n, *nvme.back());
        return;
    }
    std::unique_ptr<IdeDrive> drive;
    if (disk.kind == DiskKind::CdRom) {
        auto cdrom = std::make_unique<AtapiCdrom>(std::move(medium));
        cdroms_[disk.device] = cdrom.get();
        drive = std::move(cdrom);
    } else {
        drive = std::make_unique<AtaDisk>(std::move(medium));
    }
    if (disk.controller == DiskController::Ahci) {
        if (!ahci)
            plug_card(ahci_device, ahci.emplace(PciSpaces{ports, memory_bus}, space));
        ahci->attach(n, std::move(drive));
    } else {
        ide.attach(n / 2, n % 2, std::move(drive));
    }
}

void PcBoard::open_disks(boost::asio::io_context& loop, DeviceLock& device_lock, const MachineConfig& config,
                         const std::string& runtime_directory) {
    for (const auto& disk : config.disks) {
        std::unique_ptr<BlockBackend> medium;
        if (!disk.path.empty())
            medium = open_image(disk, loop, device_lock, runtime_directory);
        else if (disk.kind == DiskKind::Disk)
            throw std::runtime_error{fmt::format("{}: a hard disk needs a file", disk.device)};
        attach(disk, std::move(medium), config);
    }
}

void PcBoard::open_networks(NetworkSide network, DeviceLock& device_lock, const MachineConfig& config) {
    const bool boots = config.boot.find('n') != std::string::npos && config.kernel.empty();
    for (const auto& card : config.networks) {
        networks.push_back(make_network_card(card, boots, network, device_lock, clock_,
                                             PciSpaces{ports, memory_bus}, space));
        plug_card(first_network_device + static_cast<unsigned>(networks.size()) - 1, *networks.back().card);
    }
}

void PcBoard::open_usb(boost::asio::io_context& loop, DeviceLock& device_lock, const MachineConfig& config,
                       const std::string& runtime_directory) {
    if (config.usb == UsbController::Xhci) {
        plug_card(xhci_device, xhci.emplace(PciSpaces{ports, memory_bus}, space, clock_));
    } else {
        uhci.emplace(PciSpaces{ports, memory_bus}, space, clock_);
        pci.plug(ide_device, usb_function, *uhci);
        uhci->connect_intx(piix3.intx_line(ide_device, Uhci::piix3.interrupt_pin));
        devices_.push_back(&*uhci);
    }
    const auto attach_to_port = [&](unsigned port, std::unique_ptr<UsbDevice> device) {
        if (xhci)
            xhci->attach(port, std::move(device));
        else
            uhci->attach(port, std::move(device));
    };
    const auto last = usb_ports(config) - 1;
    std::unique_ptr<UsbHub> hub;
    for (unsigned i = 0; i < config.usb_devices.size(); ++i) {
        auto device = make_usb_device(config.usb_devices[i], loop, device_lock, config, runtime_directory);
        if (!behind_usb_hub(config, i)) {
            attach_to_port(i, std::move(device));
            continue;
        }
        if (!hub)
            hub = std::make_unique<UsbHub>();
        hub->attach(i - last, std::move(device));
    }
    if (hub)
        attach_to_port(last, std::move(hub));
}

std::unique_ptr<UsbDevice> PcBoard::make_usb_device(const UsbDeviceConfig& device,
                                                    boost::asio::io_context& loop, DeviceLock& device_lock,
                                                    const MachineConfig& config,
                                                    const std::string& runtime_directory) {
    switch (device.kind) {
    case UsbDeviceKind::Tablet: {
        auto tablet = std::make_unique<UsbTablet>(clock_);
        pointer.prefer(*tablet);
        return tablet;
    }
    case UsbDeviceKind::Keyboard: {
        auto usb_keyboard = std::make_unique<UsbKeyboard>(clock_);
        keys.prefer(*usb_keyboard);
        return usb_keyboard;
    }
    case UsbDeviceKind::Disk:
        break;
    }
    return std::make_unique<UsbDisk>(open_image(device.disk, loop, device_lock, runtime_directory),
                                     usb_serial(config, device.disk));
}

void PcBoard::open_serial(boost::asio::io_context& loop, DeviceLock& device_lock, Clock& clock,
                          const MachineConfig& config, const std::string& runtime_directory) {
    for (unsigned n = 0; n < config.serial.size() && n < com_ports.size(); ++n) {
        auto backend = open_char_backend(loop, device_lock, config.serial[n],
                                         fmt::format("{}/serial{}", runtime_directory, n));
        if (backend) {
            uarts.push_back(std::make_unique<Uart16550>(ports, com_ports[n].base, clock,
                                                        isa.line(com_ports[n].irq), backend.get()));
            devices_.push_back(uarts.back().get());
            serial_ports_ |= 1u << n;
        }
        serial_backends.push_back(std::move(backend));
    }
}

void PcBoard::tell_firmware(const MachineConfig& config) {
    FirmwareConfig told;
    told.name = config.name;
    told.uuid = config.uuid;
    told.memory_below_4g = memory.low_end();
    told.memory_above_4g = memory.high_bytes();
    told.vcpus = config.vcpus;
    told.cpu_signature = host_cpu_signature();
    told.pci_interrupts = pci_interrupts(pci);
    told.acpi = config.acpi;
    told.apic = config.apic;
    told.uefi = flash.has_value();
    told.hpet = hpet.has_value();
    told.serial_ports = serial_ports_;
    for (unsigned unit = 0; floppy && unit < FloppyController::drives; ++unit)
        told.floppy_drives |= floppy->drive(unit) != nullptr ? 1u << unit : 0;
    for (const char letter : config.boot) {
        for (unsigned i = 0; letter == 'n' && i < networks.size(); ++i)
            told.boot_order.push_back(boot_path::pci(first_network_device + i));
        for (const auto& disk : config.disks) {
            if (disk.kind == kind_of(letter))
                told.boot_order.push_back(boot_path_of(disk));
        }
        for (unsigned i = 0; letter == 'c' && i < config.usb_devices.size(); ++i)
            if (config.usb_devices[i].kind == UsbDeviceKind::Disk)
                told.boot_order.push_back(usb_boot_path(config, i));
    }
    add_firmware_files(fw_cfg, told);
}

// Where older software looks for the size of memory (Ralf Brown's CMOS list).
void PcBoard::set_cmos_memory_sizes() {
    const auto set_word = [&](std::uint8_t index, std::uint64_t value) {
        rtc.set_cmos(index, static_cast<std::uint8_t>(value));
        rtc.set_cmos(static_cast<std::uint8_t>(index + 1), static_cast<std::uint8_t>(value >> 8));
    };
    const auto kib = memory.low_end() >> 10;
    const auto above_1m = std::min<std::uint64_t>(kib - 1024, 0xffff);
    set_word(0x15, 640);
    set_word(0x17, above_1m);
    set_word(0x30, above_1m);
    set_word(0x34, kib > 16384 ? std::min<std::uint64_t>((kib - 16384) / 64, 0xffff) : 0);
    const auto high = memory.high_bytes() >> 16;
    set_word(0x5b, high);
    rtc.set_cmos(0x5d, static_cast<std::uint8_t>(high >> 16));
}

// The types of the floppy drives, the first in the high digit; and what there is at all.
void PcBoard::set_cmos_equipment() {
    unsigned types = 0, drives = 0;
    for (unsigned unit = 0; floppy && unit < FloppyController::drives; ++unit)
        if (const auto* drive = floppy->drive(unit); drive != nullptr) {
            types |= static_cast<unsigned>(drive->type()) << (unit == 0 ? 4 : 0);
            ++drives;
        }
    rtc.set_cmos(0x10, static_cast<std::uint8_t>(types));
    constexpr unsigned mouse_port = 4, fpu = 2;
    rtc.set_cmos(0x14,
                 static_cast<std::uint8_t>(mouse_port | fpu | (drives > 0 ? 1 | (drives - 1) << 6 : 0)));
}

void PcBoard::connect(LocalApic& apic) {
    intr.connect(apic, LocalApic::lint0);
    apic_window.add(apic);
}

void PcBoard::reset(ResetKind kind) {
    for (auto* device : devices_)
        device->reset(kind);
    a20.set(true);
}

void PcBoard::start() {
    for (auto* device : devices_)
        device->start();
}

void PcBoard::pause() {
    for (auto* device : devices_)
        device->pause();
}

void PcBoard::resume() {
    for (auto it = devices_.rbegin(); it != devices_.rend(); ++it)
        (*it)->resume();
}

} // namespace escalus
