// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/unit/net_devices/rtl8139_rig.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::rtl8139;
using namespace escalus::test;

TEST_CASE("an RTL8139C+ is what drivers look for") {
    Rtl8139Rig rig;
    std::array<std::uint8_t, 12> id{};
    rig.card.config_read(0, id);
    CHECK(load_le<std::uint32_t>(id) == 0x813910ec);
    CHECK(id[8] == 0x20);
    CHECK(id[11] == 2);
    CHECK((rig.in32(reg_tx_config) & 0x7cc00000) == 0x74800000);
    CHECK(rig.in32(reg_mac) == 0x123e1600);
    CHECK(rig.in16(reg_mac + 4) == 0x5634);
    std::array<std::uint8_t, 4> bytes{}; // the memory window shows the same
    rig.memory_bus.read(rig.mmio + reg_tx_config, bytes);
    CHECK(load_le<std::uint32_t>(bytes) == rig.in32(reg_tx_config));
    CHECK((rig.in16(reg_phy_status) & 0x24) == 0x24);
    CHECK(rig.in8(reg_cr) == cmd_empty);
}

TEST_CASE("an RTL8139's EEPROM has identity and address") {
    Rtl8139Rig rig;
    const auto read = [&](unsigned address) {
        rig.out8(reg_eeprom, 0x80);
        rig.out8(reg_eeprom, 0x88);
        const auto command = 6u << 6 | address;
        for (unsigned i = 9; i-- > 0;) {
            const auto bit = (command >> i & 1) << 1;
            rig.out8(reg_eeprom, 0x88 | bit);
            rig.out8(reg_eeprom, 0x8c | bit);
        }
        rig.out8(reg_eeprom, 0x88);
        unsigned value = 0;
        for (unsigned i = 0; i < 16; ++i) {
            rig.out8(reg_eeprom, 0x8c);
            value = value << 1 | (rig.in8(reg_eeprom) & 1);
            rig.out8(reg_eeprom, 0x88);
        }
        rig.out8(reg_eeprom, 0);
        return value;
    };
    CHECK(read(0) == 0x8129);
    CHECK(read(1) == 0x10ec);
    CHECK(read(7) == 0x1600);
    CHECK(read(8) == 0x123e);
    CHECK(read(9) == 0x5634);
}

TEST_CASE("an RTL8139's configuration is locked until 9346CR opens it") {
    Rtl8139Rig rig;
    const auto before = rig.in8(reg_config1);
    rig.out8(reg_config1, before ^ 0x20);
    rig.out16(reg_phy_control, 0);
    CHECK(rig.in8(reg_config1) == before);
    CHECK(rig.in16(reg_phy_control) == 0x3100);
    rig.out8(reg_eeprom, 0xc0);
    rig.out8(reg_config1, before ^ 0x20);
    rig.out16(reg_phy_control, 0x2100);
    CHECK(rig.in8(reg_config1) == (before ^ 0x20));
    CHECK(rig.in16(reg_phy_control) == 0x2100);
    rig.out8(reg_eeprom, 0x40); // everything from the EEPROM again
    CHECK(rig.in8(reg_eeprom) == 0);
    CHECK(rig.in8(reg_config1) == before);
}

TEST_CASE("an RTL8139 sends from four slots in turn") {
    Rtl8139Rig rig;
    rig.start_ring();
    for (unsigned i = 0; i < 9; ++i) {
        const auto n = i % 4;
        CHECK((rig.in32(reg_tx_status + 4 * n) & tx_own) != 0);
        rig.send(n, frame_to(other_mac, 60 + 100 * i, i));
        REQUIRE(rig.wire.sent.size() == i + 1);
        CHECK(rig.wire.sent.back().frame == frame_to(other_mac, 60 + 100 * i, i));
        CHECK((rig.in32(reg_tx_status + 4 * n) & (tx_own | tx_ok)) == (tx_own | tx_ok));
        CHECK(rig.in16(reg_isr) == int_tx_ok);
        CHECK(rig.irq.level);
        rig.out16(reg_isr, int_tx_ok);
        CHECK_FALSE(rig.irq.level);
    }
    CHECK((rig.in16(reg_tx_summary) & 0xf00f) == 0xf00f);

    SECTION("out of turn, a slot waits for those before it") { // the next is slot 1
        rig.send(2, frame_to(other_mac, 64));
        CHECK(rig.wire.sent.size() == 9);
        rig.send(1, frame_to(other_mac, 65));
        REQUIRE(rig.wire.sent.size() == 11);
        CHECK(rig.wire.sent[9].frame.size() == 65);
    }
    SECTION("a slot in no memory is aborted") {
        rig.out32(reg_tx_address + 4, 0xf0000000);
        rig.out32(reg_tx_status + 4, 64);
        CHECK(rig.wire.sent.size() == 9);
        CHECK((rig.in32(reg_tx_status + 4) & (tx_own | tx_aborted)) == (tx_own | tx_aborted));
        CHECK(rig.in16(reg_isr) == (int_tx_error | int_bus_error));
    }
    SECTION("a slot that is handed over while the transmitter is off goes when it is on") {
        rig.out8(reg_cr, cmd_receive);
        rig.send(1, frame_to(other_mac, 64));
        CHECK(rig.wire.sent.size() == 9);
        rig.out8(reg_cr, cmd_receive | cmd_transmit);
        CHECK(rig.wire.sent.size() == 10);
    }
    SECTION("and while the machine is paused, afterwards") {
        rig.card.pause();
        rig.send(1, frame_to(other_mac, 64));
        CHECK(rig.wire.sent.size() == 9);
        rig.card.resume();
        CHECK(rig.wire.sent.size() == 10);
    }
    SECTION("a reset forgets the slots") {
        rig.out8(reg_cr, 0);
        rig.send(1, frame_to(other_mac, 64));
        rig.start_ring();
        CHECK(rig.wire.sent.size() == 9);
        rig.send(0, frame_to(other_mac, 64));
        CHECK(rig.wire.sent.size() == 10);
    }
}

namespace {
/// Takes a frame out of the buffer as 8139too does.
struct Reader {
    Rtl8139Rig& rig;
    std::uint32_t bytes = 8192;
    std::uint32_t position = 0;
    bool contiguous = false;

    std::optional<Bytes> take(std::uint16_t& status) {
        if ((rig.in8(reg_cr) & cmd_empty) != 0)
            return {};
        const auto at = [&](std::uint32_t i) {
            return rig.peek<std::uint8_t>(rig.rx + (contiguous ? position + i : (position + i) % bytes));
        };
        status = static_cast<std::uint16_t>(at(0) | at(1) << 8);
        const unsigned size = at(2) | at(3) << 8;
        Bytes frame;
        for (std::uint32_t i = 0; i < size; ++i)
            frame.push_back(at(4 + i));
        position = ((position + size + 4 + 3) & ~3u) % bytes;
        rig.out16(reg_read_pointer, position - 16);
        return frame;
    }
};
} // namespace

TEST_CASE("an RTL8139 receives into a ring, around its end") {
    Rtl8139Rig rig;
    const bool no_wrap = GENERATE(false, true);
    rig.start_ring(no_wrap ? 0x8f : 0xf);
    Reader reader{rig, 8192, 0, no_wrap};
    for (unsigned i = 0; i < 40; ++i) {
        const auto frame = frame_to(card_mac, 60 + i * 37, i);
        rig.wire.offer(frame);
        CHECK((rig.in16(reg_isr) & int_rx_ok) != 0);
        rig.out16(reg_isr, int_rx_ok);
        std::uint16_t status = 0;
        auto got = reader.take(status);
        REQUIRE(got);
        CHECK(status == (head_ok | head_mine));
        REQUIRE(got->size() == frame.size() + 4);
        CHECK(load_le<std::uint32_t>(*got, frame.size()) == ethernet_crc(frame));
        got->resize(frame.size());
        CHECK(*got == frame);
        CHECK(rig.in16(reg_write_pointer) == reader.position);
    }
    CHECK((rig.in8(reg_cr) & cmd_empty) != 0);
}

TEST_CASE("an RTL8139's ring that is full holds frames back until the guest has read") {
    Rtl8139Rig rig;
    rig.start_ring();
    for (unsigned i = 0; i < 10; ++i)
        rig.wire.offer(frame_to(card_mac, 1500, i));
    CHECK(rig.wire.waiting.size() == 5);
    Reader reader{rig};
    for (unsigned i = 0; i < 10; ++i) {
        std::uint16_t status = 0;
        auto got = reader.take(status);
        REQUIRE(got);
        got->resize(1500);
        CHECK(*got == frame_to(card_mac, 1500, i));
    }
    CHECK(rig.wire.waiting.empty());
    // One longer than what is left is lost, and the guest is told.
    for (unsigned i = 0; i < 4; ++i)
        rig.wire.offer(frame_to(card_mac, 1500, i));
    rig.card.receive(frame_to(card_mac, 2500), {});
    CHECK((rig.in16(reg_isr) & int_rx_overflow) != 0);
    CHECK(rig.in32(reg_missed) == 1);
    rig.out32(reg_missed, 0);
    CHECK(rig.in32(reg_missed) == 0);
    // The way out that Realtek recommends: the receiver off and on.
    rig.out8(reg_cr, cmd_transmit);
    rig.out8(reg_cr, cmd_transmit | cmd_receive);
    CHECK((rig.in8(reg_cr) & cmd_empty) != 0);
    rig.wire.offer(frame_to(card_mac, 60, 77));
    CHECK(rig.peek<std::uint16_t>(rig.rx + 2) == 64);
}

TEST_CASE("an RTL8139 takes what its filter lets through") {
    Rtl8139Rig rig;
    const MacAddress group{0x01, 0x00, 0x5e, 0x01, 0x02, 0x03};
    const auto heard = [&](const MacAddress& to) -> unsigned {
        rig.start_ring(rig.in32(reg_rx_config));
        rig.wire.offer(frame_to(to, 64));
        return (rig.in8(reg_cr) & cmd_empty) != 0 ? 0 : rig.peek<std::uint16_t>(rig.rx);
    };
    const auto with = [&](std::uint32_t config, const MacAddress& to) {
        rig.out32(reg_rx_config, config);
        return heard(to);
    };
    CHECK(with(0, card_mac) == 0);
    CHECK(with(2, card_mac) == (head_ok | head_mine));
    CHECK(with(2, other_mac) == 0);
    CHECK(with(1, other_mac) == head_ok);
    CHECK(with(2, everybody) == 0);
    CHECK(with(8, everybody) == (head_ok | head_broadcast));
    CHECK(with(4, group) == 0);
    const auto hash = multicast_hash_left(group);
    rig.out32(reg_multicast + hash / 32 * 4, 1u << hash % 32);
    CHECK(with(4, group) == (head_ok | head_multicast));
    CHECK(with(8, group) == 0);
}

TEST_CASE("an RTL8139 hears itself in loopback, and nobody else") {
    Rtl8139Rig rig;
    rig.start_ring();
    rig.out32(reg_tx_config, 0x60000);
    rig.wire.offer(frame_to(card_mac, 64));
    CHECK((rig.in8(reg_cr) & cmd_empty) != 0);
    rig.send(0, frame_to(card_mac, 100));
    CHECK(rig.wire.sent.empty());
    CHECK(rig.peek<std::uint16_t>(rig.rx + 2) == 104);
    CHECK(rig.in16(reg_isr) == (int_rx_ok | int_tx_ok));
}

TEST_CASE("an RTL8139's timer interrupts when it reaches its target") {
    Rtl8139Rig rig;
    rig.start_ring();
    rig.out32(reg_timer, 0);
    rig.out32(reg_timer_target, 33'000); // a millisecond
    rig.clock.advance(999'000);
    CHECK(rig.in16(reg_isr) == 0);
    rig.clock.advance(1'001);
    CHECK(rig.in16(reg_isr) == int_timer);
    CHECK(rig.in32(reg_timer) == 33'000);
    CHECK(rig.irq.level);
    rig.out16(reg_isr, int_timer);
    rig.clock.advance(10'000'000);
    CHECK(rig.in16(reg_isr) == 0);
    rig.out32(reg_timer, 0);
    rig.clock.advance(1'000'001);
    CHECK(rig.in16(reg_isr) == int_timer);
    rig.out8(reg_cr, cmd_reset);
    rig.clock.advance(ns_per_second);
    CHECK(rig.in16(reg_isr) == 0);
}

TEST_CASE("an RTL8139's interrupts follow the mask") {
    Rtl8139Rig rig;
    rig.start_ring();
    rig.out16(reg_imr, 0);
    rig.wire.offer(frame_to(everybody, 64));
    CHECK(rig.in16(reg_isr) == int_rx_ok);
    CHECK_FALSE(rig.irq.level);
    rig.out16(reg_imr, int_rx_ok);
    CHECK(rig.irq.level);
    rig.out8(reg_isr + 1, 0xff); // the other byte
    CHECK(rig.irq.level);
    rig.out8(reg_isr, 0xff);
    CHECK_FALSE(rig.irq.level);
    rig.out16(reg_imr, int_link);
    rig.wire.up = false;
    rig.card.link_changed(false);
    CHECK(rig.irq.level);
    CHECK((rig.in16(reg_phy_status) & 4) == 0);
    CHECK((rig.in8(reg_media) & 4) != 0);
    rig.card.reset(ResetKind::System);
    CHECK_FALSE(rig.irq.level);
}

TEST_CASE("an RTL8139 takes an answer from within its own sending") {
    Rtl8139Rig rig;
    rig.start_ring();
    rig.wire.answer = frame_to(card_mac, 300, 5);
    rig.send(0, frame_to(other_mac, 500, 6));
    CHECK(rig.wire.sent.back().frame == frame_to(other_mac, 500, 6));
    CHECK(rig.get(rig.rx + 4, 300) == frame_to(card_mac, 300, 5));
}

TEST_CASE("an RTL8139 that may not master the bus touches no memory") {
    Rtl8139Rig rig;
    rig.start_ring();
    rig.config(0x04, 3);
    rig.wire.offer(frame_to(card_mac, 64));
    rig.send(0, frame_to(other_mac, 64));
    CHECK(rig.wire.sent.empty());
    CHECK(rig.wire.waiting.size() == 1);
    rig.config(0x04, 7);
    CHECK(rig.wire.sent.size() == 1);
    CHECK(rig.wire.waiting.empty());
}
