// SPDX-License-Identifier: GPL-2.0-or-later
// A hostile guest at the main board as the pc machine puts it together: interrupt controllers, timers, RTC,
// DMA, fw_cfg, keyboard controller, power management, PCI, BIOS shadow and A20, two local APICs with KVM's
// interface, a serial port; and the controllers that are plugged in, without media, since those have targets
// of their own. The input is a program of accesses, passing time, keys, bytes on the line, interrupts taken,
// pauses and resets. Nothing may crash, hang, or touch memory that is not the guest's.
#include "devmodel/machine/flat_memory.hpp"
#include "devmodel/machine/little_endian.hpp"
#include "devmodel/machine/manual_clock.hpp"
#include "devmodel/machine/pc_board.hpp"
#include "test/fuzz/fuzz_input.hpp"
#include "test/fuzz/fuzz_processor.hpp"

#include <ctime>
#include <memory>

#include <boost/asio/io_context.hpp>

namespace {
using namespace escalus;
using fuzz::Input;

constexpr std::uint64_t ram_bytes = 2 << 20;
constexpr std::uint64_t hpet_base = Hpet::mmio_base, io_apic_base = IoApic::mmio_base;

/// Where something is, and a few ports where nothing is.
constexpr std::array<std::uint16_t, 64> known_ports{
    0x00,  0x08,  0x0a,  0x0b,  0x0c,  0x0d,  0x0f,  0x20,  0x21,  0x40,  0x41,  0x42,  0x43,
    0x60,  0x61,  0x64,  0x70,  0x71,  0x80,  0x81,  0x87,  0x92,  0xa0,  0xa1,  0xb2,  0xb3,
    0xc0,  0xd0,  0xd4,  0xd6,  0xda,  0xdf,  0x170, 0x177, 0x1f0, 0x1f6, 0x1f7, 0x376, 0x3f6,
    0x3f2, 0x3f5, 0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x4d0, 0x4d1, 0x510, 0x511,
    0x514, 0x518, 0xcf8, 0xcf9, 0xcfc, 0xcfe, 0x600, 0x604, 0x608, 0x700, 0xae0, 0xffff};

/// What is at the other end of the serial line: takes everything, and sends what the input says.
class Line final : public CharBackend {
  public:
    void send(std::span<const std::uint8_t> data) override {
        for (auto byte : data)
            sum += byte;
    }
    void on_receive(Receiver receiver) override { receiver_ = std::move(receiver); }
    void ready() override {}
    [[nodiscard]] std::string description() const override { return "fuzz"; }
    void arrive(std::span<const std::uint8_t> bytes) {
        if (receiver_ && receiver_(bytes) > bytes.size())
            __builtin_trap();
    }
    unsigned sum = 0;

  private:
    Receiver receiver_;
};

MachineConfig machine_config() {
    MachineConfig config;
    config.name = "fuzz";
    config.uuid = "01234567-89ab-cdef-0123-456789abcdef";
    config.memory_bytes = ram_bytes;
    config.vcpus = 2;
    config.kernel = "none"; // so that no firmware is looked for
    config.vga = VgaKind::None;
    config.usb = UsbController::Uhci;
    config.usb_devices = {{.kind = UsbDeviceKind::Tablet, .disk = {}}};
    config.rtc_offset_seconds = -std::time(nullptr); // the same inputs meet the same time
    const auto empty_drive = [&](const char* device, DiskKind kind, DiskController controller) {
        DiskConfig disk;
        disk.device = device;
        disk.kind = kind;
        disk.controller = controller;
        config.disks.push_back(disk);
    };
    empty_drive("fda", DiskKind::Floppy, DiskController::Floppy);
    empty_drive("hda", DiskKind::CdRom, DiskController::Ide);
    empty_drive("hdc", DiskKind::CdRom, DiskController::Ahci);
    return config;
}

PcFirmware firmware_of(const MachineConfig& config) {
    PcFirmware firmware{config};
    firmware.bios.assign(128 << 10, 0x90);
    return firmware;
}

struct Guest {
    Guest() {
        board.connect(first.apic);
        board.connect(second.apic);
        board.apic_window.set_current(first.apic);
        reset(ResetKind::PowerOn);
        board.start();
        // As firmware leaves it, so that not every input has to do it: APICs on, the power management's and
        // the controllers' windows open.
        for (auto* processor : {&first, &second})
            processor->apic.write_mmio(0xf0, std::array<std::uint8_t, 4>{0xff, 1, 0, 0});
        pci(1, 3, 0x40, 0x601, 4);
        pci(1, 3, 0x80, 1, 1);
        pci(1, 3, 0x90, 0x701, 4);
        pci(1, 3, 0xd2, 9, 1);
        pci(1, 1, 0x20, 0xc000, 4);
        pci(1, 1, 0x40, 0x80008000, 4);
        pci(1, 2, 0x20, 0xc040, 4);
        pci(8, 0, 0x24, 0xfe000000, 4);
        for (const auto& [device, function] : {std::pair{1u, 1u}, {1u, 2u}, {8u, 0u}})
            pci(device, function, 4, 7, 2);
    }
    void reset(ResetKind kind) {
        board.reset(kind);
        for (auto* processor : {&first, &second}) {
            processor->apic.reset(kind);
            processor->kvm.reset();
        }
        uart.reset(kind);
        board.apic_window.update();
    }
    void pci(unsigned device, unsigned function, unsigned offset, std::uint32_t value, unsigned width) {
        std::array<std::uint8_t, 4> bytes{};
        store_le(bytes, 0, 0x80000000 | device << 11 | function << 8 | (offset & 0xfcu));
        board.ports.write(0xcf8, bytes);
        store_le(bytes, 0, value);
        board.ports.write(0xcfc + (offset & 3), std::span{bytes}.first(std::min(width, 4 - (offset & 3))));
    }
    /// A write or a read; `how` says which, and how wide.
    void access(Bus& bus, std::uint64_t at, unsigned how, unsigned widest, std::uint64_t value) {
        std::array<std::uint8_t, 8> bytes{};
        store_le(bytes, 0, value);
        const auto width = std::min(1u << (how & 3), widest);
        if ((how & 4) != 0)
            bus.read(at, std::span{bytes}.first(width));
        else
            bus.write(at, std::span{bytes}.first(width));
    }
    void put(std::uint64_t at, std::span<const std::uint8_t> bytes) {
        board.space.write(GuestPhys{at}, bytes);
    }
    /// A descriptor of fw_cfg (QEMU's docs/specs/fw_cfg.txt: big-endian control, length, address), started.
    void fw_cfg_dma(unsigned selector, Input& in) {
        constexpr std::uint32_t at = 0x5000;
        const auto length = (selector & 0x80) != 0 ? in.dword() : in.byte();
        const auto address = (selector & 0x40) != 0 ? in.dword() : 0x6000u;
        const std::array<std::uint8_t, 16> descriptor{0,
                                                      in.byte(),
                                                      0,
                                                      static_cast<std::uint8_t>(selector & 0x3f),
                                                      static_cast<std::uint8_t>(length >> 24),
                                                      static_cast<std::uint8_t>(length >> 16),
                                                      static_cast<std::uint8_t>(length >> 8),
                                                      static_cast<std::uint8_t>(length),
                                                      0,
                                                      0,
                                                      0,
                                                      (selector & 0x20) != 0 ? in.byte() : std::uint8_t{0},
                                                      static_cast<std::uint8_t>(address >> 24),
                                                      static_cast<std::uint8_t>(address >> 16),
                                                      static_cast<std::uint8_t>(address >> 8),
                                                      static_cast<std::uint8_t>(address)};
        put(at, descriptor);
        const std::array<std::uint8_t, 4> where{0, 0, at >> 8, at & 0xff};
        board.ports.write(0x518, where);
    }
    void send_byte(std::uint16_t port, std::uint8_t value) { board.ports.write(port, {&value, 1}); }
    /// Two registers behind one: an index, and what is written to or read from there.
    void indexed(unsigned op, unsigned selector, Input& in) {
        if ((op & 0x80) == 0) { // RTC and CMOS
            send_byte(0x70, static_cast<std::uint8_t>(selector));
            access(board.ports, 0x71, op >> 4 & 4, 1, in.byte());
        } else { // I/O APIC
            access(board.memory_bus, io_apic_base, 2, 4, selector);
            access(board.memory_bus, io_apic_base + 0x10, (op >> 4 & 4) | 2, 4, in.dword());
        }
    }
    void life(unsigned selector) {
        switch (selector & 7) {
        case 0:
            reset((selector & 8) != 0 ? ResetKind::PowerOn : ResetKind::System);
            break;
        case 1:
            board.pause();
            break;
        case 2:
            board.resume();
            break;
        case 3:
            board.pm.press_power_button();
            break;
        case 4:
            board.start();
            break;
        default:
            board.apic_window.set_current((selector & 8) != 0 ? second.apic : first.apic);
        }
    }
    void user(unsigned op, unsigned selector, Input& in) {
        if ((op & 0x80) != 0)
            board.keys.key(static_cast<KeyNumber>(selector), (op & 0x40) != 0);
        else if ((op & 0x40) != 0)
            board.pointer.move(static_cast<int>(selector) - 128, static_cast<int>(in.byte()) * 256,
                               static_cast<int>(op >> 4 & 3) - 1, in.byte());
        else
            line.arrive(in.bytes.first(std::min<std::size_t>(selector & 31, in.bytes.size())));
    }
    void finish() {
        clock.advance(ns_per_second); // whatever runs on is a bounded number of events
    }
    void step(Input& in) {
        const auto op = in.byte(), selector = in.byte();
        auto& processor = (op & 0x80) != 0 ? second : first;
        switch (op & 15) {
        case 0:
        case 1: // a port where something is
            access(board.ports, known_ports[selector & 63], op >> 4, 4, in.dword());
            break;
        case 2: // any port
            access(board.ports, selector | in.byte() << 8, op >> 4, 4, in.dword());
            break;
        case 3: {
            std::array<std::uint8_t, 64> data{};
            const auto width = 1u << (op >> 4 & 3) % 3;
            const auto port = known_ports[selector & 63];
            if ((op & 0x40) != 0)
                board.ports.read_repeated(port, width, data);
            else
                board.ports.write_repeated(port, width, std::span<const std::uint8_t>{data});
            break;
        }
        case 4: { // PCI
            constexpr std::array<std::pair<unsigned, unsigned>, 8> places{
                {{0, 0}, {1, 0}, {1, 1}, {1, 2}, {1, 3}, {8, 0}, {2, 0}, {31, 7}}};
            const auto [device, function] = places[op >> 4 & 7];
            const auto value = in.dword();
            pci(device, function, selector, value, (op & 0x80) != 0 ? 4 : 1);
            access(board.ports, 0xcfc + (selector & 3), 4 | (op >> 7), 4, 0);
            break;
        }
        case 5:
            access(board.memory_bus, hpet_base + selector * 4u, op >> 4, 8,
                   in.dword() | ((op & 0x80) != 0 ? std::uint64_t{in.dword()} << 32 : 0));
            break;
        case 6:
            indexed(op, selector, in);
            break;
        case 7: // the register page of a local APIC
            board.apic_window.set_current(processor.apic);
            access(board.memory_bus, processor.apic.mmio_base().value_or(0xfee00000) + selector * 16u,
                   2 | (op >> 4 & 4), 4, in.dword());
            break;
        case 8:
            processor.msr(op, selector, in);
            board.apic_window.update();
            break;
        case 9: // any address, near one that something decodes
            access(board.memory_bus,
                   std::array<std::uint64_t, 8>{0xa0000, 0xc0000, 0xe0000, 0xfe000000, 0xfec00000, 0xfed00000,
                                                0xffff0000, in.dword()}[op >> 5] +
                       selector * 256u + in.byte(),
                   op >> 2, 8, in.dword());
            break;
        case 10: {
            std::array<std::uint8_t, 4> bytes{};
            store_le(bytes, 0, in.dword());
            put(selector * 256u + (op >> 4) * 4u, bytes);
            break;
        }
        case 11:
            clock.advance(GuestTime{selector} << (6 + (op >> 4)));
            break;
        case 12:
            if ((selector & 1) != 0)
                processor.take(board.pic);
            else if ((selector & 2) != 0)
                processor.apic.write_mmio(0xb0, std::array<std::uint8_t, 4>{});
            else
                fw_cfg_dma(selector, in);
            break;
        case 13: // the keyboard controller: a command and its argument, or a byte for a device
            send_byte((op & 0x10) != 0 ? 0x60 : 0x64, static_cast<std::uint8_t>(selector));
            if ((op & 0x20) != 0)
                send_byte(0x60, in.byte());
            if ((op & 0x40) != 0)
                clock.advance(10'000'000);
            access(board.ports, 0x60, 4, 1, 0);
            break;
        case 14:
            user(op, selector, in);
            break;
        default:
            life(selector);
        }
        if (std::exchange(reset_asked, false))
            reset(ResetKind::System);
    }

    boost::asio::io_context loop;
    DeviceLock lock;
    ManualClock clock;
    TestMemoryMap memory;
    bool reset_asked = false;
    MachineConfig config = machine_config();
    PcBoard board{loop,
                  {loop, clock},
                  lock,
                  clock,
                  memory,
                  config,
                  firmware_of(config),
                  "/tmp",
                  {.reset = [this] { reset_asked = true; }, .power_off = [] {}}};
    Line line;
    Uart16550 uart{board.ports, 0x3f8, clock, board.isa.line(4), &line};
    fuzz::Processor first{clock, board.apic_bus, board.space, 0},
        second{clock, board.apic_bus, board.space, 1};
};
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    return fuzz::run<Guest>(bytes, size);
}
