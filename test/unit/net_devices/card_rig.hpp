// SPDX-License-Identifier: GPL-2.0-or-later
// A network card on its buses, with a cable that remembers what was sent and offers what a test puts on it.
#pragma once

#include "devmodel/backends/net/internet_packet.hpp"
#include "devmodel/devices/net/ethernet_card.hpp"
#include "devmodel/machine/flat_memory.hpp"
#include "devmodel/machine/little_endian.hpp"
#include "devmodel/machine/manual_clock.hpp"

#include <deque>
#include <string>

namespace escalus::test {

using Bytes = std::vector<std::uint8_t>;

class TestWire final : public NetBackend {
  public:
    struct Packet {
        Bytes frame;
        NetOffload offload;
    };
    [[nodiscard]] std::string description() const override { return "test"; }
    void connect(NetCard* card_now) override { card = card_now; }
    [[nodiscard]] bool link_up() const override { return up; }
    void send(std::span<const std::uint8_t> frame, const NetOffload& offload) override {
        sent.push_back({{frame.begin(), frame.end()}, offload});
        if (answer) // as a backend may: from within send()
            offer(*answer);
    }
    void card_ready() override { deliver(); }

    /// To the card, as soon as it takes it.
    void offer(Bytes frame) {
        waiting.push_back(std::move(frame));
        deliver();
    }
    void deliver() {
        while (card != nullptr && !waiting.empty() && card->can_receive()) {
            const auto frame = waiting.front();
            waiting.pop_front();
            card->receive(frame, {});
        }
    }

    NetCard* card = nullptr;
    bool up = true;
    std::vector<Packet> sent;
    std::deque<Bytes> waiting;
    std::optional<Bytes> answer;
};

class CountingIrq final : public IrqSink {
  public:
    void set_irq(unsigned, bool level_now) override {
        level = level_now;
        edges += level_now ? 1 : 0;
    }
    bool level = false;
    unsigned edges = 0;
};

inline constexpr MacAddress card_mac{0x00, 0x16, 0x3e, 0x12, 0x34, 0x56};
inline constexpr MacAddress other_mac{0x00, 0x16, 0x3e, 0xaa, 0xbb, 0xcc};
inline constexpr MacAddress everybody{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/// Bytes that tell places in a frame, and frames, apart.
inline Bytes frame_to(const MacAddress& to, std::size_t size, unsigned seed = 0) {
    Bytes frame(size);
    for (std::size_t i = 0; i < size; ++i)
        frame[i] = static_cast<std::uint8_t>(i * 7 + i / 256 * 13 + seed);
    std::ranges::copy(to, frame.begin());
    std::ranges::copy(other_mac, frame.begin() + 6);
    frame[12] = 0x88;
    frame[13] = 0xb5; // for experiments (IEEE 802)
    return frame;
}

/// An IPv4 packet with right checksums.
inline Bytes ip_frame(const MacAddress& to, std::uint8_t protocol, std::size_t payload, bool sums = true) {
    const std::size_t header = protocol == InternetPacket::tcp ? 20 : 8;
    auto frame = frame_to(to, 14 + 20 + header + payload);
    frame[12] = 0x08;
    frame[13] = 0x00;
    const auto total = static_cast<std::uint16_t>(20 + header + payload);
    const Bytes ip{0x45,
                   0,
                   static_cast<std::uint8_t>(total >> 8),
                   static_cast<std::uint8_t>(total),
                   0x12,
                   0x34,
                   0,
                   0,
                   64,
                   protocol,
                   0,
                   0,
                   10,
                   0,
                   0,
                   1,
                   10,
                   0,
                   0,
                   2};
    std::ranges::copy(ip, frame.begin() + 14);
    if (protocol == InternetPacket::tcp) {
        frame[34 + 12] = 0x50;
        frame[34 + 13] = 0x18; // ACK, PSH
    } else {
        store_be16(frame, 34 + 4, static_cast<std::uint16_t>(header + payload));
    }
    const auto packet = InternetPacket::find(frame);
    const auto offset = 34 + (protocol == InternetPacket::tcp ? 16u : 6u);
    store_be16(frame, offset, 0);
    if (packet && sums) {
        packet->fill_header_checksum(frame);
        const auto bytes = packet->end - packet->transport;
        store_be16(frame, offset,
                   static_cast<std::uint16_t>(~fold_sum(
                       add_words(std::span{frame}.subspan(34, bytes), packet->pseudo_header(frame, bytes)))));
    }
    return frame;
}

/// `Card` is constructed from (PciSpaces, CardWiring); `bar0_io` says which of BAR 0 and 1 is ports.
template <typename Card>
struct CardRig {
    static constexpr std::uint32_t io = 0xc000, mmio = 0xfe000000;

    Bus ports{"port", 0x10000};
    Bus memory_bus{"memory", std::uint64_t{1} << 40};
    FlatMemory memory{8 << 20};
    ManualClock clock;
    CountingIrq irq;
    TestWire wire;
    Card card{{ports, memory_bus}, CardWiring{memory, clock, wire, card_mac}};

    CardRig(std::uint32_t bar0, std::uint32_t bar1) {
        card.connect_intx(IrqLine{irq, 0});
        card.reset(ResetKind::PowerOn);
        place(bar0, bar1);
        card.start();
    }
    void place(std::uint32_t bar0, std::uint32_t bar1) {
        config(0x10, bar0);
        config(0x14, bar1);
        config(0x04, 7);
    }
    void config(unsigned offset, std::uint32_t value) {
        std::array<std::uint8_t, 4> bytes{};
        store_le(bytes, 0, value);
        card.config_write(offset, bytes);
    }
    template <std::unsigned_integral T>
    T in(unsigned offset) {
        std::array<std::uint8_t, sizeof(T)> bytes{};
        ports.read(io + offset, bytes);
        return load_le<T>(bytes);
    }
    template <std::unsigned_integral T>
    void out(unsigned offset, T value) {
        std::array<std::uint8_t, sizeof(T)> bytes{};
        store_le(bytes, 0, value);
        ports.write(io + offset, bytes);
    }
    std::uint8_t in8(unsigned offset) { return in<std::uint8_t>(offset); }
    std::uint16_t in16(unsigned offset) { return in<std::uint16_t>(offset); }
    std::uint32_t in32(unsigned offset) { return in<std::uint32_t>(offset); }
    void out8(unsigned offset, unsigned value) { out(offset, static_cast<std::uint8_t>(value)); }
    void out16(unsigned offset, unsigned value) { out(offset, static_cast<std::uint16_t>(value)); }
    void out32(unsigned offset, std::uint32_t value) { out(offset, value); }

    void put(std::size_t at, const Bytes& bytes) {
        std::ranges::copy(bytes, memory.bytes().begin() + static_cast<std::ptrdiff_t>(at));
    }
    [[nodiscard]] Bytes get(std::size_t at, std::size_t size) {
        const auto view = memory.bytes().subspan(at, size);
        return {view.begin(), view.end()};
    }
    template <std::unsigned_integral T>
    void poke(std::size_t at, T value) {
        store_le(memory.bytes(), at, value);
    }
    template <std::unsigned_integral T>
    T peek(std::size_t at) {
        return load_le<T>(memory.bytes(), at);
    }
};

} // namespace escalus::test
