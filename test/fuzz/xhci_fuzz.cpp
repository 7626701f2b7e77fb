// SPDX-License-Identifier: GPL-2.0-or-later
// A hostile guest at the xHCI controller, with a keyboard, a disk and a tablet behind a hub: the input is a
// program of register accesses and doorbells, commands, contexts and rings that mean something but for what
// the input says, passing time, late completions and resets. Nothing may crash, hang, or touch memory that is
// not the guest's.
#include "devmodel/devices/usb/xhci.hpp"
#include "test/fuzz/usb_fuzz.hpp"

namespace {
using namespace escalus;
using fuzz::Input;
using xhci::TrbType;

constexpr std::uint32_t bar = 0xfe000000, op = bar + xhci::operational, interrupter = bar + xhci::interrupter;
constexpr std::uint32_t memory_bytes = 256 * 1024;
constexpr std::uint32_t contexts = 0x1000, commands = 0x2000, event_table = 0x3000, event_ring = 0x4000,
                        input_context = 0x5000, device_contexts = 0x6000, rings = 0x10000, buffers = 0x20000;
constexpr unsigned ring_count = 16;

struct Machine : fuzz::UsbMachine {
    Machine() : UsbMachine{memory_bytes} {
        card.attach(0, make_keyboard());
        card.attach(1, make_disk());
        auto hub = std::make_unique<UsbHub>();
        hub->attach(0, make_tablet());
        card.attach(2, std::move(hub));
        card.connect_messages([](std::uint64_t, std::uint32_t) {});
        power_on();
    }
    void power_on() {
        card.reset(ResetKind::System);
        config(card, 0x10, bar);
        config(card, 0x04, 6);
        next = {};
        for (unsigned slot = 1; slot <= 4; ++slot)
            put64(contexts + 8 * slot, device_contexts + 0x400 * slot);
        put64(event_table, event_ring);
        put(event_table + 8, 16);
        out(op + xhci::reg_configure, 4);
        out64(op + xhci::reg_contexts, contexts);
        out64(op + xhci::reg_command_ring, commands | 1);
        out(interrupter + xhci::reg_segments, 1);
        out64(interrupter + xhci::reg_event_dequeue, event_ring);
        out64(interrupter + xhci::reg_segment_table, event_table);
        out(interrupter + xhci::reg_management, 2);
        out(op + xhci::reg_command, xhci::cmd_run | xhci::cmd_interrupts);
        for (unsigned slot = 1; slot <= 3; ++slot)
            set_up(slot);
    }
    void out(std::uint32_t at, std::uint32_t value) { write(memory_bus, at, value); }
    void out64(std::uint32_t at, std::uint64_t value) { write(memory_bus, at, value); }
    static std::uint32_t ring(unsigned slot, unsigned index) {
        return rings + ((slot & 7) * 8 + (index & 7)) * 0x100;
    }
    /// Ring 0 is that of commands.
    void enqueue(unsigned number, std::uint32_t base, std::uint64_t parameter, std::uint32_t status,
                 std::uint32_t control) {
        auto& n = next[number];
        const auto cycle = (n / (ring_count - 1) & 1) == 0 ? 1u : 0u;
        const auto at = base + 16 * (n % (ring_count - 1));
        put64(at, parameter);
        put(at + 8, status);
        put(at + 12, (control & ~1u) | cycle);
        const auto link = base + 16 * (ring_count - 1);
        put64(link, base);
        put(link + 12, 6u << 10 | 2 | cycle);
        ++n;
    }
    void command(TrbType type, std::uint64_t parameter, std::uint32_t bits) {
        enqueue(0, commands, parameter, 0, static_cast<std::uint32_t>(type) << 10 | bits);
        out(bar + xhci::doorbells, 0);
        out64(interrupter + xhci::reg_event_dequeue, event_ring | 8);
    }
    void transfer(unsigned slot, unsigned index, std::uint64_t parameter, std::uint32_t status,
                  std::uint32_t control) {
        enqueue((slot & 7) * 8 + (index & 7), ring(slot, index), parameter, status, control);
    }
    void endpoint_context(unsigned slot, unsigned index, unsigned type, unsigned packet) {
        const auto at = input_context + 0x20 * (index + 1);
        next[(slot & 7) * 8 + (index & 7)] = 0;
        std::ranges::fill(memory.bytes().subspan(ring(slot, index), 0x100), std::uint8_t{0});
        put(at, 0);
        put(at + 4, packet << 16 | type << 3);
        put64(at + 8, ring(slot, index) | 1);
    }
    void request(unsigned slot, std::uint64_t setup, std::uint32_t length) {
        const bool to_host = (setup & 0x80) != 0;
        transfer(slot, 1, setup, 8, 2u << 10 | 0x40);
        if (length != 0)
            transfer(slot, 1, buffers, length, 3u << 10 | (to_host ? 1u << 16 : 0));
        transfer(slot, 1, 0, 0, 4u << 10 | 0x20 | (to_host && length != 0 ? 0 : 1u << 16));
        out(bar + xhci::doorbells + 4 * slot, 1);
    }
    void set_up(unsigned slot) {
        out(bar + xhci::port_registers + 16 * (slot - 1), xhci::port_power | xhci::port_reset);
        command(TrbType::EnableSlot, 0, 0);
        put(input_context, 0);
        put(input_context + 4, 3);
        put(input_context + 0x24, slot << 16);
        endpoint_context(slot, 1, 4, slot == 2 ? 64 : 8);
        command(TrbType::AddressDevice, input_context, slot << 24);
        request(slot, 0x0000'0000'0001'0900, 0);
        put(input_context + 4, slot == 2 ? 0x19 : 9);
        endpoint_context(slot, 3, slot == 2 ? 6 : 7, slot == 2 ? 64 : 8);
        endpoint_context(slot, 4, 2, 64);
        command(TrbType::ConfigureEndpoint, input_context, slot << 24);
    }
    void disk_command(Input& in) {
        fill_disk_command(buffers, in);
        transfer(2, 4, buffers, disk_command_bytes, 1u << 10 | 0x20);
        out(bar + xhci::doorbells + 8, 4);
    }
    void step(Input& in) {
        const auto kind = in.byte(), selector = in.byte();
        switch (kind & 15) {
        case 0:
            out(op + (selector & 15u) * 4, in.dword());
            break;
        case 1: {
            std::array<std::uint8_t, 8> data{};
            for (auto& byte : data)
                byte = in.byte();
            const auto at = bar + (in.byte() * 64u + selector % 64u) % (xhci::register_bytes - 8);
            memory_bus.write(at, std::span{data}.first(1u << (kind >> 4 & 3)));
            memory_bus.read(at, data);
            break;
        }
        case 2: // a piece of a structure
            put((selector * 64u + (kind >> 4) * 4u + 0x1000) & (memory_bytes - 4), in.dword());
            break;
        case 3:
            command(static_cast<TrbType>(9 + selector % 16),
                    (kind & 0x10) != 0 ? input_context : in.dword() & 0x3ffff,
                    in.byte() << 24 | in.byte() << 16 | (kind & 0x20) << 4);
            break;
        case 4:
        case 5:
            disk_command(in);
            break;
        case 6:
        case 7: {
            const auto index = (kind & 1) != 0 ? 3u : selector & 7u, slot = 1 + (selector >> 3 & 3u);
            const auto bits = in.byte();
            transfer(slot, index, buffers + in.byte() * 64u, in.byte() * 16u,
                     ((bits & 1) != 0 ? in.byte() & 0x3fu : 1u) << 10 | (bits & 0x76));
            out(bar + xhci::doorbells + 4 * slot, index);
            break;
        }
        case 8: {
            const auto low = in.dword();
            request(1 + selector % 3, low | std::uint64_t{in.dword()} << 32, in.byte());
            break;
        }
        case 13:
            if ((selector & 7) == 0)
                power_on();
            else
                out(bar + xhci::port_registers + 16 * (selector & 7u), in.dword());
            break;
        case 15:
            out64(interrupter + xhci::reg_event_dequeue, (event_ring + 16 * (selector & 15u)) | (kind >> 4));
            break;
        default:
            common(card, kind, selector, in);
        }
    }

    Xhci card{{ports, memory_bus}, memory, clock};
    std::array<unsigned, 64> next{}; // TRBs put into each ring
};
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz::run<Machine>(data, size);
}
