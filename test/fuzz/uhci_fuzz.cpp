// SPDX-License-Identifier: GPL-2.0-or-later
// A hostile guest at the UHCI controller, with a keyboard, a tablet and a disk behind a hub: the input is a
// program of register accesses, schedules, transfers that mean something but for what the input says, passing
// time, late completions and resets. Nothing may crash, hang, or touch memory that is not the guest's.
#include "devmodel/devices/usb/uhci.hpp"
#include "test/fuzz/usb_fuzz.hpp"

namespace {
using namespace escalus;
using fuzz::Input;

constexpr std::uint32_t io = 0xc040, memory_bytes = 128 * 1024;
constexpr std::uint32_t frame_list = 0x1000, queues = 0x2000, descriptors = 0x3000, buffers = 0x8000;

struct Machine : fuzz::UsbMachine {
    Machine() : UsbMachine{memory_bytes} {
        uhci.attach(0, make_keyboard());
        auto hub = std::make_unique<UsbHub>();
        hub->attach(0, make_tablet());
        hub->attach(1, make_disk());
        uhci.attach(1, std::move(hub));
        power_on();
        // Addresses 1 to 4: keyboard, hub, tablet, disk.
        enable(0);
        set_up(1);
        enable(1);
        set_up(2);
        for (std::uint8_t port = 1; port <= 2; ++port) {
            request(2, {0x23, 3, 8, 0, port, 0, 0, 0});
            request(2, {0x23, 3, 4, 0, port, 0, 0, 0});
            set_up(static_cast<std::uint8_t>(2 + port));
        }
    }
    void power_on() {
        uhci.reset(ResetKind::System);
        config(uhci, 0x20, io);
        config(uhci, 0x04, 5);
        for (unsigned i = 0; i < 1024; ++i)
            put(frame_list + 4 * i, queues | uhci::link_queue);
        put(queues, uhci::link_end);
        put(queues + 4, uhci::link_end);
        outl(uhci::reg_frame_list, frame_list);
        outw(uhci::reg_interrupts, 0xf);
        outw(uhci::reg_command, uhci::cmd_run);
    }
    void enable(unsigned port) {
        outw(uhci::reg_port + 2 * port, uhci::port_reset);
        outw(uhci::reg_port + 2 * port, 0);
        outw(uhci::reg_port + 2 * port, uhci::port_enabled | 0xa);
    }
    void set_up(std::uint8_t address) {
        request(0, {0, 5, address, 0, 0, 0, 0, 0});
        request(address, {0, 9, 1, 0, 0, 0, 0, 0});
    }
    void outw(unsigned reg, unsigned value) { write(ports, io + reg, static_cast<std::uint16_t>(value)); }
    void outl(unsigned reg, std::uint32_t value) { write(ports, io + reg, value); }
    void descriptor(unsigned n, std::uint32_t link, unsigned pid, unsigned address, unsigned endpoint,
                    unsigned length) {
        const auto at = descriptors + 16 * n;
        put(at, link);
        put(at + 4, uhci::td_active | uhci::td_complete | 3u << 27);
        put(at + 8, ((length - 1) & 0x7ff) << 21 | endpoint << 15 | address << 8 | pid);
        put(at + 12, buffers + 64 * n);
    }
    static std::uint32_t next(unsigned n) { return (descriptors + 16 * (n + 1)) | uhci::link_depth; }
    void request(unsigned address, const std::array<std::uint8_t, 8>& setup) {
        std::ranges::copy(setup, memory.bytes().begin() + buffers);
        const bool to_host = (setup[0] & 0x80) != 0;
        const unsigned length = std::min(setup[6] + 256u * setup[7], 64u);
        unsigned n = 0;
        descriptor(n, next(n), uhci::pid_setup, address, 0, 8);
        for (unsigned done = 0; done < length; done += 8) {
            ++n;
            descriptor(n, next(n), to_host ? uhci::pid_in : uhci::pid_out, address, 0,
                       std::min(8u, length - done));
        }
        ++n;
        descriptor(n, uhci::link_end, to_host && length != 0 ? uhci::pid_out : uhci::pid_in, address, 0, 0);
        put(queues + 4, descriptors);
        clock.advance(2 * ms);
    }
    void transfer(unsigned pid, unsigned address, unsigned endpoint, unsigned packets, unsigned bytes) {
        for (unsigned n = 0; n < packets; ++n)
            descriptor(n, n + 1 == packets ? uhci::link_end : next(n), pid, address, endpoint, bytes);
        put(queues + 4, descriptors);
        clock.advance(2 * ms);
    }
    void disk_command(std::uint8_t selector, Input& in) {
        fill_disk_command(buffers, in);
        transfer(uhci::pid_out, 4, 2, 1, (selector & 0x80) != 0 ? in.byte() : disk_command_bytes);
    }
    void step(Input& in) {
        const auto op = in.byte(), selector = in.byte();
        switch (op & 15) {
        case 0:
            outw((selector & 15u) * 2, in.byte() | in.byte() << 8);
            break;
        case 1: {
            std::array<std::uint8_t, 4> data{in.byte(), in.byte(), in.byte(), in.byte()};
            const auto width = 1u << (op >> 4) % 3;
            ports.write(io + (selector & 31) % (33 - width), std::span{data}.first(width));
            ports.read(io + (selector & 31) % (33 - width), std::span{data}.first(width));
            break;
        }
        case 2: // a piece of a structure
            put((selector * 64u + (op >> 4) * 4u + 0x1f00) & (memory_bytes - 4), in.dword());
            break;
        case 3: {
            std::array<std::uint8_t, 8> setup{};
            for (auto& byte : setup)
                byte = in.byte();
            request(selector & 7, setup);
            break;
        }
        case 4:
        case 5:
            disk_command(selector, in);
            break;
        case 6:
            transfer(uhci::pid_in, 4, 1, selector & 31, 64);
            break;
        case 7:
            transfer(uhci::pid_out, 4, 2, selector & 31, 64);
            break;
        case 8:
            transfer(uhci::pid_in, selector & 7, op >> 4 & 3, 1 + (op >> 6), in.byte());
            break;
        case 13:
            if ((selector & 7) == 0)
                power_on();
            else
                enable(selector & 1);
            break;
        case 15: { // a schedule that the input made up
            const auto at = (selector & 1) != 0 ? queues : descriptors;
            for (unsigned i = 0; i < 8; ++i)
                put(at + (selector & 0xf0u) + 4 * i, i < 4 ? queues + (in.byte() & 0xf7u) : in.dword());
            break;
        }
        default:
            common(uhci, op, selector, in);
        }
    }

    Uhci uhci{{ports, memory_bus}, memory, clock};
};
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::run<Machine>(data, size);
}
