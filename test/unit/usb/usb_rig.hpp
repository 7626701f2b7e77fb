// SPDX-License-Identifier: GPL-2.0-or-later
// The UHCI controller on a port bus, and the habits of a guest's driver (as Linux' uhci-hcd has them): a
// frame list whose entries lead to one queue, transfers as chains of descriptors in memory.
#pragma once

#include "devmodel/devices/usb/uhci.hpp"
#include "devmodel/machine/flat_memory.hpp"
#include "devmodel/machine/little_endian.hpp"
#include "devmodel/machine/manual_clock.hpp"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

namespace escalus::test {

struct UsbRig {
    static constexpr std::uint32_t io = 0xc040;
    static constexpr std::uint32_t frame_list = 0x10000, queue = 0x12000, descriptors = 0x13000,
                                   buffers = 0x40000;
    static constexpr GuestTime ms = ns_per_second / 1000;
    static constexpr std::uint32_t three_errors = 3u << 27;

    struct Irq final : IrqSink {
        void set_irq(unsigned, bool now) override {
            level = now;
            rises += now ? 1 : 0;
        }
        bool level = false;
        unsigned rises = 0;
    };

    Bus ports{"port", 0x10000};
    Bus memory_bus{"memory", std::uint64_t{1} << 40};
    FlatMemory memory{1 << 20};
    ManualClock clock;
    Irq irq;
    Uhci uhci{{ports, memory_bus}, memory, clock};

    UsbRig() { uhci.connect_intx(IrqLine{irq, 0}); }

    void power_on() {
        uhci.reset(ResetKind::PowerOn);
        config_write(0x20, 4, io);
        config_write(0x04, 2, 5);
        uhci.start();
    }
    void config_write(unsigned offset, unsigned width, std::uint32_t value) {
        std::array<std::uint8_t, 4> bytes{};
        store_le(bytes, 0, value);
        uhci.config_write(offset, std::span{bytes}.first(width));
    }
    std::uint32_t config_read(unsigned offset, unsigned width) {
        std::array<std::uint8_t, 4> bytes{};
        uhci.config_read(offset, std::span{bytes}.first(width));
        return load_le<std::uint32_t>(bytes);
    }
    std::uint16_t inw(unsigned reg) {
        std::array<std::uint8_t, 2> bytes{};
        ports.read(io + reg, bytes);
        return load_le<std::uint16_t>(bytes);
    }
    void outw(unsigned reg, unsigned value) {
        std::array<std::uint8_t, 2> bytes{};
        store_le(bytes, 0, static_cast<std::uint16_t>(value));
        ports.write(io + reg, bytes);
    }
    void outl(unsigned reg, std::uint32_t value) {
        std::array<std::uint8_t, 4> bytes{};
        store_le(bytes, 0, value);
        ports.write(io + reg, bytes);
    }
    std::uint32_t get(std::uint32_t at) { return load_le<std::uint32_t>(memory.bytes(), at); }
    void put(std::uint32_t at, std::uint32_t value) { store_le(memory.bytes(), at, value); }

    /// Every frame leads to an empty queue; the controller runs, with all interrupts.
    void run() {
        for (unsigned i = 0; i < 1024; ++i)
            put(frame_list + 4 * i, queue | uhci::link_queue);
        put(queue, uhci::link_end);
        put(queue + 4, uhci::link_end);
        outl(uhci::reg_frame_list, frame_list);
        outw(uhci::reg_interrupts, 0xf);
        outw(uhci::reg_command, uhci::cmd_run | 0xc0);
    }
    /// As a hub driver does.
    void reset_port(unsigned port = 0) {
        const auto reg = uhci::reg_port + 2 * port;
        outw(reg, uhci::port_reset);
        clock.advance(50 * ms);
        outw(reg, 0);
        outw(reg, uhci::port_enabled | uhci::port_connect_change | uhci::port_enable_change);
    }

    struct Td {
        std::uint8_t pid = 0;
        std::uint8_t endpoint = 0;
        std::vector<std::uint8_t> data{}; // to the device; its size for IN
        bool complete = false;            // IOC
    };
    std::uint8_t address = 0, control_packet = 8;

    /// Puts the chain into memory and behind the queue.
    void submit(const std::vector<Td>& chain, bool depth = true) {
        for (unsigned i = 0; i < chain.size(); ++i) {
            const auto& td = chain[i];
            const auto at = descriptors + 16 * i, buffer = buffers + 0x800 * i;
            const bool last = i + 1 == chain.size();
            put(at, last ? uhci::link_end : (at + 16) | (depth ? uhci::link_depth : 0));
            put(at + 4, uhci::td_active | three_errors | (td.complete ? uhci::td_complete : 0) |
                            (td.pid == uhci::pid_in ? uhci::td_short : 0) | uhci::td_length);
            put(at + 8, ((static_cast<std::uint32_t>(td.data.size()) - 1) & 0x7ff) << 21 |
                            std::uint32_t{td.endpoint} << 15 | std::uint32_t{address} << 8 | td.pid);
            put(at + 12, buffer);
            std::ranges::copy(td.data, memory.bytes().begin() + buffer);
        }
        put(queue + 4, descriptors);
    }
    std::uint32_t control(unsigned td) { return get(descriptors + 16 * td + 4); }
    bool active(unsigned td) { return (control(td) & uhci::td_active) != 0; }
    std::vector<std::uint8_t> received(unsigned td) {
        const auto length = (control(td) + 1) & 0x7ff;
        const auto at = memory.bytes().begin() + buffers + 0x800 * td;
        return {at, at + length};
    }

    /// A control transfer with data to the host; nothing when it is stalled.
    std::optional<std::vector<std::uint8_t>> control_in(std::array<std::uint8_t, 8> setup) {
        const unsigned packet = control_packet;
        const unsigned length = setup[6] | setup[7] << 8;
        std::vector<Td> chain{{uhci::pid_setup, 0, {setup.begin(), setup.end()}}};
        for (unsigned done = 0; done < length; done += packet)
            chain.push_back({uhci::pid_in, 0, std::vector<std::uint8_t>(std::min(packet, length - done))});
        submit(chain);
        std::vector<std::uint8_t> data;
        clock.advance(20 * ms);
        for (unsigned i = 1; i < chain.size(); ++i) {
            if (active(i))
                return {};
            if ((control(i) & uhci::td_stalled) != 0)
                return {};
            const auto piece = received(i);
            data.insert(data.end(), piece.begin(), piece.end());
            if (piece.size() < packet)
                break;
        }
        submit({{uhci::pid_out, 0, {}, true}});
        clock.advance(20 * ms);
        if ((control(0) & (uhci::td_active | uhci::td_stalled)) != 0)
            return {};
        return data;
    }
    /// One without data, or with data to the device; false when it is stalled.
    bool control_out(std::array<std::uint8_t, 8> setup, std::vector<std::uint8_t> data = {}) {
        std::vector<Td> chain{{uhci::pid_setup, 0, {setup.begin(), setup.end()}}};
        if (!data.empty())
            chain.push_back({uhci::pid_out, 0, std::move(data)});
        chain.push_back({uhci::pid_in, 0, {}, true});
        submit(chain);
        clock.advance(20 * ms);
        const auto last = static_cast<unsigned>(chain.size()) - 1;
        return (control(last) & (uhci::td_active | uhci::td_stalled)) == 0 &&
               get(queue + 4) == uhci::link_end;
    }
    /// Port reset, descriptors, address, configuration: what it takes to use a device.
    void enumerate(std::uint8_t as, unsigned port = 0) {
        reset_port(port);
        address = 0;
        control_packet = 8;
        const auto first = control_in({0x80, 6, 0, 1, 0, 0, 8, 0});
        REQUIRE(first);
        control_packet = first->at(7);
        REQUIRE(control_out({0, 5, as, 0, 0, 0, 0, 0}));
        address = as;
        REQUIRE(control_in({0x80, 6, 0, 1, 0, 0, 18, 0}).value_or(std::vector<std::uint8_t>{}).size() == 18);
        REQUIRE(control_out({0, 9, 1, 0, 0, 0, 0, 0}));
    }

    /// One packet from an endpoint; nothing when there was NAK all the time.
    std::optional<std::vector<std::uint8_t>> poll(std::uint8_t endpoint, unsigned size,
                                                  GuestTime time = 40 * ms) {
        submit({{uhci::pid_in, endpoint, std::vector<std::uint8_t>(size), true}});
        clock.advance(time);
        if (active(0))
            return {};
        return received(0);
    }
};

} // namespace escalus::test
