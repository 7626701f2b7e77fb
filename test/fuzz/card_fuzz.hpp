// SPDX-License-Identifier: GPL-2.0-or-later
// What the fuzz targets of network cards share: a card on its buses and on a wire, and what can happen to it.
#pragma once

#include "devmodel/devices/net/ethernet_card.hpp"
#include "devmodel/machine/flat_memory.hpp"
#include "devmodel/machine/little_endian.hpp"
#include "devmodel/machine/manual_clock.hpp"
#include "test/fuzz/fuzz_input.hpp"

namespace escalus::fuzz {

/// Looks at every byte that is sent.
class FuzzWire final : public NetBackend {
  public:
    [[nodiscard]] std::string description() const override { return "fuzz"; }
    void connect(NetCard* card_now) override { card = card_now; }
    [[nodiscard]] bool link_up() const override { return up; }
    void send(std::span<const std::uint8_t> frame, const NetOffload& offload) override {
        for (auto byte : frame)
            sum += byte;
        if (offload.needs_checksum &&
            std::size_t{offload.checksum_start} + offload.checksum_offset + 2 > frame.size())
            __builtin_trap();
        if (offload.segmentation != NetOffload::Segmentation::None &&
            (offload.segment_bytes == 0 || offload.header_bytes >= frame.size()))
            __builtin_trap();
    }
    void card_ready() override {}

    NetCard* card = nullptr;
    bool up = true;
    unsigned sum = 0;
};

template <typename Card>
struct CardMachine {
    static constexpr std::uint32_t io = 0xc000, mmio = 0xfe000000, memory_bytes = 128 * 1024;
    static constexpr MacAddress mac{0, 0x16, 0x3e, 1, 2, 3};

    Bus ports{"port", 0x10000};
    Bus memory_bus{"memory", std::uint64_t{1} << 40};
    FlatMemory memory{memory_bytes};
    ManualClock clock;
    FuzzWire wire;
    Card card{{ports, memory_bus}, CardWiring{memory, clock, wire, mac}};

    CardMachine() {
        card.reset(ResetKind::PowerOn);
        card.start();
    }
    void config(unsigned offset, std::uint32_t value) {
        std::array<std::uint8_t, 4> bytes{};
        store_le(bytes, 0, value);
        card.config_write(offset, bytes);
    }
    void port(unsigned offset, unsigned width, std::uint32_t value) {
        std::array<std::uint8_t, 4> bytes{};
        store_le(bytes, 0, value);
        ports.write(io + offset, std::span{bytes}.first(width));
    }
    std::uint32_t port_in(unsigned offset, unsigned width) {
        std::array<std::uint8_t, 4> bytes{};
        ports.read(io + offset, std::span{bytes}.first(width));
        return load_le<std::uint32_t>(bytes);
    }
    void mem(unsigned offset, std::uint32_t value) {
        std::array<std::uint8_t, 4> bytes{};
        store_le(bytes, 0, value);
        memory_bus.write(mmio + offset, bytes);
    }
    /// Any register, read or written, in any width, through either window.
    void access(Input& in, unsigned offset, unsigned width) {
        std::array<std::uint8_t, 8> bytes{};
        store_le(bytes, 0, in.dword());
        const auto some = std::span{bytes}.first(width);
        const auto how = in.byte();
        const bool memory_window = (how & 1) != 0;
        if ((how & 2) != 0) {
            if (memory_window)
                memory_bus.read(mmio + offset, some);
            else
                ports.read(io + offset, some.first(std::min<std::size_t>(width, 4)));
        } else if (memory_window) {
            memory_bus.write(mmio + offset, some);
        } else {
            ports.write(io + offset, some.first(std::min<std::size_t>(width, 4)));
        }
    }
    /// 16 bytes: two words and an address.
    void describe(std::uint32_t where, std::uint32_t first, std::uint32_t second, std::uint64_t address) {
        store_le(memory.bytes(), where % (memory_bytes - 16), first);
        store_le(memory.bytes(), where % (memory_bytes - 16) + 4, second);
        store_le(memory.bytes(), where % (memory_bytes - 16) + 8, address);
    }
    /// The headers of an IP packet, more or less.
    void packet(std::uint32_t where, Input& in) {
        auto m = memory.bytes().subspan(where);
        const auto kind = in.byte();
        constexpr std::array<std::uint8_t, 6> to{0, 0x16, 0x3e, 1, 2, 3};
        std::ranges::copy(to, m.begin());
        m[12] = (kind & 1) != 0 ? 0x86 : 0x08;
        m[13] = (kind & 1) != 0 ? 0xdd : 0x00;
        m[14] = (kind & 1) != 0 ? 0x60 : 0x45;
        m[16] = in.byte();
        m[17] = in.byte();
        m[18] = in.byte();
        m[19] = in.byte();
        m[23] = m[20] = (kind & 2) != 0 ? 17 : 6;
        m[34 + 12] = m[54 + 12] = static_cast<std::uint8_t>(kind & 0xf0);
    }
    void from_wire(Input& in, unsigned selector) {
        std::array<std::uint8_t, 2048> frame{};
        const auto size = std::min<std::size_t>(frame.size(), (selector & 15) * 110u + in.byte());
        if ((selector & 0x10) != 0) {
            packet(0x1000, in);
            std::ranges::copy(memory.bytes().subspan(0x1000, 128), frame.begin());
        }
        if ((selector & 0x20) != 0)
            std::ranges::fill(std::span{frame}.first(6), std::uint8_t{0xff});
        else if ((selector & 0x40) != 0)
            frame[0] = 1;
        else
            std::ranges::copy(mac, frame.begin());
        if ((selector & 0x80) != 0)
            frame[12] = 0x81;
        if (wire.card->can_receive())
            wire.card->receive(std::span{frame}.first(size), {});
        wire.card->end_of_frames();
    }
    /// Operations 11 to 15.
    void common(unsigned op, std::uint8_t selector, Input& in) {
        switch (op) {
        case 11:
            store_le(memory.bytes(), (selector * 128u + in.byte()) % (memory_bytes - 4), in.dword());
            break;
        case 12:
            clock.advance(GuestTime{1} << (selector % 24));
            break;
        case 13: {
            const auto value = in.byte();
            std::array<std::uint8_t, 4> bytes{};
            card.config_write(selector, {&value, 1});
            card.config_read(selector & 0xfcu, bytes);
            break;
        }
        case 14:
            if ((selector & 3) == 0)
                card.pause();
            else if ((selector & 3) == 1)
                card.resume();
            else
                wire.card->link_changed(wire.up = (selector & 4) != 0);
            break;
        default:
            break;
        }
    }
};

} // namespace escalus::fuzz
