// SPDX-License-Identifier: GPL-2.0-or-later
// An Am79C970A, and the habits of its drivers (pcnet32 of Linux, pcn of the BSDs and illumos, le).
#include "devmodel/devices/net/pcnet.hpp"
#include "test/unit/net_devices/card_rig.hpp"

#include <numeric>

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::pcnet;
using namespace escalus::test;

namespace {
struct Rig : CardRig<Pcnet> {
    static constexpr std::uint32_t block = 0x1000, rx_ring = 0x2000, tx_ring = 0x3000, rx = 0x100000,
                                   tx = 0x200000;
    static constexpr unsigned log = 3, entries = 1 << log;
    unsigned style = 2, next_tx = 0, next_rx = 0;

    Rig() : CardRig{io | 1, mmio} {}
    std::uint16_t csr(unsigned index) {
        out16(0x12, index);
        return in16(0x10);
    }
    void csr(unsigned index, unsigned value) {
        out16(0x12, index);
        out16(0x10, value);
    }
    std::uint16_t bcr(unsigned index) {
        out16(0x12, index);
        return in16(0x16);
    }
    void bcr(unsigned index, unsigned value) {
        out16(0x12, index);
        out16(0x16, value);
    }
    void start(unsigned mode = 0, std::uint64_t hashes = 0) {
        in16(0x14);
        bcr(20, style);
        next_tx = next_rx = 0;
        Bytes mac(card_mac.begin(), card_mac.end());
        if (style == 0) {
            poke<std::uint16_t>(block, static_cast<std::uint16_t>(mode));
            put(block + 2, mac);
            poke<std::uint64_t>(block + 8, hashes);
            poke<std::uint32_t>(block + 16, rx_ring | log << 29);
            poke<std::uint32_t>(block + 20, tx_ring | log << 29);
        } else {
            poke<std::uint32_t>(block, mode | log << 20 | log << 28);
            put(block + 4, mac);
            poke<std::uint64_t>(block + 12, hashes);
            poke<std::uint32_t>(block + 20, rx_ring);
            poke<std::uint32_t>(block + 24, tx_ring);
        }
        for (unsigned n = 0; n < entries; ++n) {
            give(n);
            describe(tx_ring, n, 0, 0, 0);
        }
        csr(1, block & 0xffff);
        csr(2, block >> 16);
        csr(0, csr0_init);
        REQUIRE((csr(0) & csr0_done) != 0);
        csr(0, csr0_done | csr0_start | csr0_enable);
    }
    /// `status`: the upper byte of its word.
    void describe(std::uint32_t ring, unsigned n, std::uint32_t buffer, std::size_t bytes,
                  std::uint32_t status) {
        const auto count = static_cast<std::uint32_t>(0x1000 - bytes) & 0xfff;
        if (style == 0) {
            poke<std::uint32_t>(ring + 8 * n, buffer | (status & 0xff000000));
            poke<std::uint32_t>(ring + 8 * n + 4, 0xf000 | count);
        } else {
            poke<std::uint32_t>(ring + 16 * n + (style == 3 ? 8 : 0), buffer);
            poke<std::uint32_t>(ring + 16 * n + (style == 3 ? 0 : 8), 0);
            poke<std::uint32_t>(ring + 16 * n + 4, status | 0xf000 | count);
        }
    }
    [[nodiscard]] std::uint32_t status(std::uint32_t ring, unsigned n) {
        return style == 0 ? peek<std::uint32_t>(ring + 8 * n) & 0xff000000
                          : peek<std::uint32_t>(ring + 16 * n + 4) & 0xffff0000;
    }
    [[nodiscard]] std::uint32_t more(std::uint32_t ring, unsigned n) {
        return style == 0 ? peek<std::uint16_t>(ring + 8 * n + 6)
                          : peek<std::uint32_t>(ring + 16 * n + (style == 3 ? 0 : 8));
    }
    void give(unsigned n, std::size_t bytes = 1544) {
        describe(rx_ring, n, rx + n * 0x1000, bytes, desc_own);
    }
    void send(const Bytes& frame, std::uint32_t extra = 0) {
        put(tx, frame);
        describe(tx_ring, next_tx, tx, frame.size(), desc_own | desc_first | desc_last | extra);
        next_tx = (next_tx + 1) % entries;
        csr(0, csr0_enable | csr0_demand);
    }
};
} // namespace

TEST_CASE("a PCnet-PCI II is probed in both widths") {
    Rig rig;
    rig.in16(0x14);
    CHECK(rig.csr(0) == csr0_stop);
    CHECK(rig.csr(88) == 0x1003);
    CHECK(rig.csr(89) == 0x0262);
    rig.out16(0x12, 88);
    CHECK(rig.in16(0x12) == 88);
    CHECK(rig.in32(0) == 0x123e1600);
    CHECK(rig.in16(14) == 0x5757);
    unsigned sum = 0;
    for (unsigned i = 0; i < 16; ++i)
        sum += i == 12 || i == 13 ? 0 : rig.in8(i);
    CHECK(rig.in16(12) == sum);
    CHECK(rig.bcr(4) == 0x80c0); // the link is up
    rig.wire.up = false;
    CHECK(rig.bcr(4) == 0x00c0);
    rig.out16(0x12, 0);
    rig.out32(0x10, 0); // double words from now on
    rig.out32(0x14, 88);
    CHECK(rig.in32(0x14) == 88);
    CHECK(rig.in32(0x10) == 0x1003);
    rig.in32(0x18);
    CHECK(rig.in32(0x10) == csr0_stop);
    rig.out32(0x14, 20);
    rig.out32(0x1c, 3);
    CHECK(rig.in32(0x1c) == 0x0303);
}

TEST_CASE("a PCnet sends and receives in each software style") {
    Rig rig;
    rig.style = GENERATE(0u, 2u, 3u);
    rig.start();
    CHECK((rig.csr(0) & (csr0_transmitter | csr0_receiver)) == (csr0_transmitter | csr0_receiver));
    for (unsigned i = 0; i < 20; ++i) {
        const auto n = rig.next_tx;
        const auto frame = frame_to(other_mac, 60 + i * 40, i);
        rig.send(frame);
        REQUIRE(rig.wire.sent.size() == i + 1);
        CHECK(rig.wire.sent.back().frame == frame);
        CHECK((rig.status(rig.tx_ring, n) & (desc_own | desc_error)) == 0);
        CHECK((rig.csr(0) & (csr0_sent | csr0_interrupt)) == (csr0_sent | csr0_interrupt));
        CHECK(rig.irq.level);
        rig.csr(0, csr0_sent | csr0_enable);
        CHECK_FALSE(rig.irq.level);
    }
    for (unsigned i = 0; i < 20; ++i) {
        const auto n = rig.next_rx;
        const auto frame = frame_to(card_mac, 60 + i * 40, i);
        rig.wire.offer(frame);
        CHECK((rig.status(rig.rx_ring, n) & (desc_own | desc_first | desc_last | desc_error)) ==
              (desc_first | desc_last));
        if (rig.style != 0)
            CHECK((rig.status(rig.rx_ring, n) & desc_mine) != 0);
        CHECK((rig.more(rig.rx_ring, n) & 0xfff) == frame.size() + 4);
        CHECK(rig.get(rig.rx + n * 0x1000, frame.size()) == frame);
        CHECK(rig.peek<std::uint32_t>(rig.rx + n * 0x1000 + frame.size()) == ethernet_crc(frame));
        CHECK(rig.irq.level);
        rig.csr(0, csr0_received | csr0_enable);
        rig.give(n);
        rig.next_rx = (n + 1) % rig.entries;
    }
    SECTION("a frame in three parts") {
        const auto frame = frame_to(other_mac, 900, 3);
        rig.put(rig.tx, frame);
        const auto n = rig.next_tx;
        rig.describe(rig.tx_ring, (n + 1) % 8, rig.tx + 100, 300, desc_own);
        rig.describe(rig.tx_ring, (n + 2) % 8, rig.tx + 400, 500, desc_own | desc_last);
        rig.describe(rig.tx_ring, n, rig.tx, 100, desc_own | desc_first);
        rig.csr(0, csr0_enable | csr0_demand);
        REQUIRE(rig.wire.sent.size() == 21);
        CHECK(rig.wire.sent.back().frame == frame);
    }
    SECTION("a frame without its end") {
        const auto n = rig.next_tx;
        rig.describe(rig.tx_ring, n, rig.tx, 100, desc_own | desc_first);
        rig.csr(0, csr0_enable | csr0_demand);
        CHECK((rig.status(rig.tx_ring, n) & (desc_own | desc_error)) == desc_error);
        CHECK((rig.more(rig.tx_ring, n) >> (rig.style == 0 ? 14 : 30)) == 3); // buffer and underflow errors
        CHECK((rig.csr(0) & csr0_transmitter) == 0);
        CHECK(rig.wire.sent.size() == 20);
    }
    SECTION("a frame over small buffers, and one that has too few") {
        for (unsigned n = 0; n < 8; ++n)
            rig.give(n, 128);
        const auto n = rig.next_rx;
        rig.wire.offer(frame_to(card_mac, 300, 1));
        CHECK((rig.status(rig.rx_ring, n) & (desc_own | desc_first | desc_last)) == desc_first);
        CHECK((rig.status(rig.rx_ring, (n + 1) % 8) & (desc_own | desc_first | desc_last)) == 0);
        CHECK((rig.status(rig.rx_ring, (n + 2) % 8) & (desc_own | desc_first | desc_last)) == desc_last);
        CHECK((rig.more(rig.rx_ring, (n + 2) % 8) & 0xfff) == 304);
        rig.wire.offer(frame_to(card_mac, 1400, 1));
        CHECK((rig.status(rig.rx_ring, (n + 7) % 8) & (desc_error | desc_no_buffer | desc_last)) ==
              (desc_error | desc_no_buffer));
        rig.csr(0, csr0_received | csr0_enable);
        rig.wire.offer(frame_to(card_mac, 100, 1));
        CHECK((rig.csr(0) & (csr0_missed | csr0_error)) == (csr0_missed | csr0_error));
        CHECK(rig.csr(112) == 1);
    }
}

TEST_CASE("a PCnet takes what its filter lets through") {
    Rig rig;
    const MacAddress group{0x01, 0x00, 0x5e, 0x01, 0x02, 0x03};
    const auto heard = [&](unsigned mode, const MacAddress& to, std::uint64_t hashes = 0) {
        rig.start(mode, hashes);
        rig.wire.offer(frame_to(to, 64));
        return (rig.csr(0) & csr0_received) != 0;
    };
    CHECK(heard(0, card_mac));
    CHECK_FALSE(heard(0, other_mac));
    CHECK_FALSE(heard(mode_no_physical, card_mac));
    CHECK(heard(mode_all, other_mac));
    CHECK(heard(0, everybody));
    CHECK_FALSE(heard(mode_no_broadcast, everybody));
    CHECK_FALSE(heard(0, group));
    CHECK(heard(0, group, std::uint64_t{1} << multicast_hash_right(group)));
    CHECK_FALSE(heard(mode_no_receiver, card_mac));
}

TEST_CASE("a PCnet hears itself in loopback") {
    Rig rig;
    rig.start(mode_loop | mode_internal);
    rig.wire.offer(frame_to(card_mac, 64));
    CHECK((rig.csr(0) & csr0_received) == 0);
    rig.wire.up = false; // it needs no link
    const auto frame = frame_to(card_mac, 100, 4);
    rig.send(frame);
    CHECK(rig.wire.sent.empty());
    CHECK(rig.get(rig.rx, 100) == frame);
    CHECK((rig.more(rig.rx_ring, 0) & 0xfff) == 104);
    SECTION("with a CRC of its own, right or wrong") {
        rig.start(mode_loop | mode_internal | mode_no_crc);
        auto with = frame;
        with.resize(104);
        store_le(std::span{with}, 100, ethernet_crc(frame));
        rig.send(with);
        CHECK((rig.status(rig.rx_ring, 0) & desc_error) == 0);
        with[100] ^= 1;
        rig.send(with);
        CHECK((rig.status(rig.rx_ring, 1) & (desc_error | desc_crc)) == (desc_error | desc_crc));
    }
    SECTION("without a link a frame that is to go out fails") {
        rig.start();
        rig.send(frame);
        CHECK((rig.status(rig.tx_ring, 0) & desc_error) != 0);
        CHECK((rig.more(rig.tx_ring, 0) & more_carrier) != 0);
        CHECK((rig.csr(0) & csr0_collision) != 0);
    }
}

TEST_CASE("a PCnet fills up and strips") {
    Rig rig;
    rig.start();
    rig.csr(4, 0x0915 | csr4_strip);
    rig.send(frame_to(other_mac, 30));
    CHECK(rig.wire.sent.back().frame.size() == 60);
    auto frame = frame_to(card_mac, 60);
    store_be16(frame, 12, 20); // a length
    rig.wire.offer(frame);
    CHECK((rig.more(rig.rx_ring, 0) & 0xfff) == 34);
}

TEST_CASE("a PCnet looks at its ring by itself") {
    Rig rig;
    rig.start();
    rig.put(rig.tx, frame_to(other_mac, 64));
    rig.describe(rig.tx_ring, 0, rig.tx, 64, desc_own | desc_first | desc_last);
    rig.clock.advance(130'000'000);
    CHECK(rig.wire.sent.size() == 1);
    rig.csr(4, 0x0915 | csr4_no_poll);
    rig.clock.advance(ns_per_second);
    rig.describe(rig.tx_ring, 1, rig.tx, 64, desc_own | desc_first | desc_last);
    rig.clock.advance(ns_per_second);
    CHECK(rig.wire.sent.size() == 1);
    rig.csr(0, csr0_enable | csr0_demand);
    CHECK(rig.wire.sent.size() == 2);
    SECTION("not while it is suspended, or the machine is paused") {
        rig.csr(5, csr5_suspend);
        rig.send(frame_to(other_mac, 64)); // its index is one behind; the ring's next is given below
        rig.describe(rig.tx_ring, 2, rig.tx, 64, desc_own | desc_first | desc_last);
        rig.csr(0, csr0_enable | csr0_demand);
        CHECK(rig.wire.sent.size() == 2);
        rig.card.pause();
        rig.csr(5, 0);
        CHECK(rig.wire.sent.size() == 2);
        rig.card.resume();
        CHECK(rig.wire.sent.size() == 3);
    }
    SECTION("nor when it is stopped") {
        rig.csr(0, csr0_stop);
        CHECK(rig.csr(0) == csr0_stop);
        rig.describe(rig.tx_ring, 2, rig.tx, 64, desc_own | desc_first | desc_last);
        rig.csr(0, csr0_demand);
        rig.clock.advance(ns_per_second);
        CHECK(rig.wire.sent.size() == 2);
        rig.csr(0, csr0_start); // goes on where it was
        CHECK(rig.wire.sent.size() == 3);
    }
}

TEST_CASE("a PCnet's interrupts follow masks and enables") {
    Rig rig;
    rig.start();
    rig.csr(3, csr0_received);
    rig.wire.offer(frame_to(card_mac, 64));
    CHECK_FALSE(rig.irq.level);
    rig.csr(3, 0);
    CHECK(rig.irq.level);
    rig.csr(0, 0);
    CHECK_FALSE(rig.irq.level);
    rig.csr(0, csr0_enable);
    CHECK(rig.irq.level);
    rig.csr(0, csr0_enable | csr0_causes);
    CHECK_FALSE(rig.irq.level);
    rig.csr(4, 0x0115 | csr4_user_command);
    CHECK(rig.irq.level);
    CHECK((rig.csr(4) & csr4_user) != 0);
    rig.csr(4, 0x0115 | csr4_user);
    CHECK_FALSE(rig.irq.level);
    rig.csr(5, csr5_no_sent);
    rig.send(frame_to(other_mac, 64));
    CHECK((rig.csr(0) & csr0_sent) == 0);
    rig.csr(5, csr5_no_sent | csr5_last_sent);
    rig.send(frame_to(other_mac, 64), desc_want_sent);
    CHECK((rig.csr(0) & csr0_sent) != 0);
    rig.card.reset(ResetKind::System);
    CHECK_FALSE(rig.irq.level);
}

TEST_CASE("a PCnet whose structures are in no memory stops with an error") {
    Rig rig;
    rig.in16(0x14);
    rig.csr(2, 0xf000);
    rig.csr(0, csr0_init);
    CHECK((rig.csr(0) & (csr0_memory | csr0_error | csr0_done)) == (csr0_memory | csr0_error));
    rig.start();
    rig.csr(0, csr0_stop);
    rig.csr(31, 0xf000);
    rig.csr(0, csr0_start);
    CHECK((rig.csr(0) & (csr0_memory | csr0_transmitter)) == csr0_memory);
    rig.start();
    rig.describe(rig.tx_ring, 0, 0xf0000000, 100, desc_own | desc_first | desc_last);
    rig.csr(0, csr0_demand);
    CHECK((rig.csr(0) & csr0_memory) != 0);
    CHECK(rig.wire.sent.empty());
}
