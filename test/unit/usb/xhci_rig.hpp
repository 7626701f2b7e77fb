// SPDX-License-Identifier: GPL-2.0-or-later
// The xHCI controller on a memory bus, and the habits of a guest's driver (as Linux' xhci-hcd has them):
// rings with a link at their end, one slot for each device, an event ring that is read as its cycle bit says.
#pragma once

#include "devmodel/devices/usb/xhci.hpp"
#include "devmodel/machine/flat_memory.hpp"
#include "devmodel/machine/little_endian.hpp"
#include "devmodel/machine/manual_clock.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

namespace escalus::test {

struct XhciRig {
    static constexpr std::uint32_t bar = 0xfe000000, op = bar + xhci::operational,
                                   interrupter = bar + xhci::interrupter;
    static constexpr std::uint32_t contexts = 0x10000, command_ring = 0x11000, event_table = 0x12000,
                                   event_ring = 0x13000, input = 0x14000, device_contexts = 0x20000,
                                   rings = 0x30000, buffers = 0x80000;
    static constexpr unsigned event_count = 32, ring_count = 32;
    static constexpr GuestTime ms = ns_per_second / 1000;
    using Bytes = std::vector<std::uint8_t>;

    struct Irq final : IrqSink {
        void set_irq(unsigned, bool now) override { level = now; }
        bool level = false;
    };
    struct Event {
        std::uint64_t parameter;
        std::uint32_t status, control;
        [[nodiscard]] unsigned type() const { return control >> 10 & 0x3f; }
        [[nodiscard]] unsigned code() const { return status >> 24; }
        [[nodiscard]] std::uint32_t length() const { return status & 0xffffff; }
        [[nodiscard]] unsigned slot() const { return control >> 24; }
    };
    struct Ring { // of the driver's
        std::uint32_t base = 0;
        unsigned index = 0;
        bool cycle = true;
    };

    Bus ports{"port", 0x10000};
    Bus memory_bus{"memory", std::uint64_t{1} << 40};
    FlatMemory memory{2 << 20};
    ManualClock clock;
    Irq irq;
    std::vector<std::uint32_t> messages;
    Xhci controller{{ports, memory_bus}, memory, clock};
    Ring commands;
    std::map<unsigned, Ring> transfers; // by slot * 32 + index
    unsigned event_index = 0;
    bool event_cycle = true;

    void config_write(unsigned offset, unsigned width, std::uint32_t value) {
        std::array<std::uint8_t, 4> bytes{};
        store_le(bytes, 0, value);
        controller.config_write(offset, std::span{bytes}.first(width));
    }
    std::uint32_t in(std::uint32_t at) {
        std::array<std::uint8_t, 4> bytes{};
        memory_bus.read(at, bytes);
        return load_le<std::uint32_t>(bytes);
    }
    void out(std::uint32_t at, std::uint32_t value) {
        std::array<std::uint8_t, 4> bytes{};
        store_le(bytes, 0, value);
        memory_bus.write(at, bytes);
    }
    void out64(std::uint32_t at, std::uint64_t value) {
        std::array<std::uint8_t, 8> bytes{};
        store_le(bytes, 0, value);
        memory_bus.write(at, bytes);
    }
    std::uint32_t get(std::uint32_t at) { return load_le<std::uint32_t>(memory.bytes(), at); }
    void put(std::uint32_t at, std::uint32_t value) { store_le(memory.bytes(), at, value); }
    void put64(std::uint32_t at, std::uint64_t value) { store_le(memory.bytes(), at, value); }
    static std::uint32_t port(unsigned n) { return bar + xhci::port_registers + 16 * n; }

    void power_on() {
        controller.connect_intx(IrqLine{irq, 0});
        controller.connect_messages([this](std::uint64_t, std::uint32_t data) { messages.push_back(data); });
        controller.reset(ResetKind::PowerOn);
        config_write(0x10, 4, bar);
        config_write(0x04, 2, 6);
        start();
    }
    void start() {
        out(op + xhci::reg_command, xhci::cmd_reset);
        commands = {command_ring, 0, true};
        transfers.clear();
        event_index = 0;
        event_cycle = true;
        std::ranges::fill(memory.bytes().subspan(contexts, 0x10000), std::uint8_t{0});
        for (unsigned slot = 1; slot <= 8; ++slot)
            put64(contexts + 8 * slot, device_contexts + 0x400 * slot);
        put64(event_table, event_ring);
        put(event_table + 8, event_count);
        out(op + xhci::reg_configure, 8);
        out64(op + xhci::reg_contexts, contexts);
        out64(op + xhci::reg_command_ring, command_ring | 1);
        out(interrupter + xhci::reg_segments, 1);
        out64(interrupter + xhci::reg_event_dequeue, event_ring);
        out64(interrupter + xhci::reg_segment_table, event_table);
        out(interrupter + xhci::reg_management, 2);
        out(op + xhci::reg_command, xhci::cmd_run | xhci::cmd_interrupts);
    }
    std::optional<Event> next_event() {
        const auto at = event_ring + 16 * event_index;
        const Event event{load_le<std::uint64_t>(memory.bytes(), at), get(at + 8), get(at + 12)};
        if (((event.control & 1) != 0) != event_cycle)
            return {};
        if (++event_index == event_count) {
            event_index = 0;
            event_cycle = !event_cycle;
        }
        out(interrupter + xhci::reg_management, 3);
        out64(interrupter + xhci::reg_event_dequeue, (event_ring + 16 * event_index) | 8);
        return event;
    }
    std::vector<Event> events() {
        std::vector<Event> all;
        while (const auto event = next_event())
            all.push_back(*event);
        return all;
    }
    /// Returns where the TRB is.
    std::uint32_t enqueue(Ring& ring, std::uint64_t parameter, std::uint32_t status, std::uint32_t control) {
        const auto at = ring.base + 16 * ring.index;
        put64(at, parameter);
        put(at + 8, status);
        put(at + 12, control | (ring.cycle ? 1 : 0));
        if (++ring.index == ring_count - 1) {
            const auto link = ring.base + 16 * ring.index;
            put64(link, ring.base);
            put(link + 8, 0);
            put(link + 12, 6u << 10 | 2 | (ring.cycle ? 1 : 0) | (control & 0x10));
            ring.index = 0;
            ring.cycle = !ring.cycle;
        }
        return at;
    }
    void doorbell(unsigned slot, unsigned target) { out(bar + xhci::doorbells + 4 * slot, target); }
    /// The completion of one command.
    Event command(xhci::TrbType type, std::uint64_t parameter = 0, std::uint32_t bits = 0) {
        events();
        const auto at = enqueue(commands, parameter, 0, static_cast<std::uint32_t>(type) << 10 | bits);
        doorbell(0, 0);
        const auto event = next_event();
        REQUIRE(event);
        CHECK(event->type() == 33);
        CHECK(event->parameter == at);
        return *event;
    }
    Ring& ring(unsigned slot, unsigned index) {
        auto& r = transfers[slot * 32 + index];
        if (r.base == 0)
            r = new_ring(slot, index);
        return r;
    }
    Ring new_ring(unsigned slot, unsigned index) {
        const auto base = rings + (slot * 8 + index) * 0x400;
        std::ranges::fill(memory.bytes().subspan(base, 16 * ring_count), std::uint8_t{0});
        return {base, 0, true};
    }
    void endpoint_context(std::uint32_t at, unsigned slot, unsigned index, unsigned type, unsigned packet) {
        transfers[slot * 32 + index] = new_ring(slot, index);
        put(at, 0);
        put(at + 4, packet << 16 | type << 3 | 3 << 1);
        put64(at + 8, ring(slot, index).base | 1);
        put(at + 16, 8);
    }
    void reset_port(unsigned n = 0) {
        out(port(n), xhci::port_power | xhci::port_reset);
        out(port(n), xhci::port_power | xhci::port_changes);
    }
    unsigned enable_slot() { return command(xhci::TrbType::EnableSlot).slot(); }
    Event address(unsigned slot, unsigned root_port = 0, unsigned packet = 8, std::uint32_t bits = 0) {
        put(input, 0);
        put(input + 4, 3);
        put(input + 0x20, 1u << 27 | 1u << 20);
        put(input + 0x24, (root_port + 1) << 16);
        endpoint_context(input + 0x40, slot, 1, 4, packet);
        return command(xhci::TrbType::AddressDevice, input, slot << 24 | bits);
    }
    struct EndpointSetup {
        unsigned index, type, packet;
    };
    Event configure(unsigned slot, const std::vector<EndpointSetup>& endpoints) {
        put(input, 0);
        std::uint32_t add = 1;
        for (const auto& e : endpoints) {
            add |= 1u << e.index;
            endpoint_context(input + 0x20 * (e.index + 1), slot, e.index, e.type, e.packet);
        }
        put(input + 4, add);
        put(input + 0x20, 5u << 27 | 1u << 20);
        return command(xhci::TrbType::ConfigureEndpoint, input, slot << 24);
    }
    /// A control transfer; nothing when it failed.
    std::optional<Bytes> control(unsigned slot, std::array<std::uint8_t, 8> setup, const Bytes& data = {}) {
        events();
        const bool to_host = (setup[0] & 0x80) != 0;
        const unsigned length = setup[6] | setup[7] << 8;
        std::ranges::copy(data, memory.bytes().begin() + buffers);
        auto& r = ring(slot, 1);
        enqueue(r, load_le<std::uint64_t>(setup), 8,
                2u << 10 | 0x40 |
                    (length == 0 ? 0
                     : to_host   ? 3u << 16
                                 : 2u << 16));
        if (length != 0)
            enqueue(r, buffers, length, 3u << 10 | (to_host ? 1u << 16 | 4 : 0));
        enqueue(r, 0, 0, 4u << 10 | 0x20 | (to_host && length != 0 ? 0 : 1u << 16));
        doorbell(slot, 1);
        unsigned missing = 0;
        for (const auto& event : events()) {
            if (event.type() != 32)
                continue;
            if (event.code() == 13)
                missing = event.length();
            else if (event.code() != 1)
                return {};
            else
                return Bytes{memory.bytes().begin() + buffers,
                             memory.bytes().begin() + buffers + (to_host ? length - missing : 0)};
        }
        return {};
    }
    /// A slot for the device at the port, addressed and with configuration 1.
    unsigned enumerate(const std::vector<EndpointSetup>& endpoints, unsigned root_port = 0,
                       unsigned packet = 8) {
        reset_port(root_port);
        const auto slot = enable_slot();
        CHECK(address(slot, root_port, packet).code() == 1);
        CHECK(control(slot, {0x80, 6, 0, 1, 0, 0, 18, 0}).value_or(Bytes{}).size() == 18);
        CHECK(configure(slot, endpoints).code() == 1);
        CHECK(control(slot, {0, 9, 1, 0, 0, 0, 0, 0}));
        return slot;
    }
    std::uint32_t normal(unsigned slot, unsigned index, std::uint32_t buffer, std::uint32_t length,
                         std::uint32_t bits = 0x20) {
        return enqueue(ring(slot, index), buffer, length, 1u << 10 | bits);
    }
    Bytes at(std::uint32_t address_of, std::size_t size) {
        const auto from = memory.bytes().begin() + address_of;
        return {from, from + static_cast<std::ptrdiff_t>(size)};
    }
    unsigned endpoint_state(unsigned slot, unsigned index) {
        return get(device_contexts + 0x400 * slot + 0x20 * index) & 7;
    }
    unsigned slot_state(unsigned slot) { return get(device_contexts + 0x400 * slot + 12) >> 27; }
};

} // namespace escalus::test
