// SPDX-License-Identifier: GPL-2.0-or-later
// An RTL8029AS, and the habits of its drivers (ne2k-pci of Linux, ne of NetBSD, ed of FreeBSD).
#include "devmodel/devices/net/ne2000.hpp"
#include "test/unit/net_devices/card_rig.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::dp8390;
using namespace escalus::test;

namespace {
struct Rig : CardRig<Ne2000> {
    static constexpr std::uint8_t tx_page = 0x40, start_page = 0x46, stop_page = 0x80;
    std::uint8_t next = start_page;

    Rig() : CardRig{io | 1, 0} {}
    void remote(std::uint8_t command, unsigned address, unsigned bytes) {
        out8(0, cmd_no_dma | cmd_start);
        out8(10, bytes & 0xff);
        out8(11, bytes >> 8);
        out8(8, address & 0xff);
        out8(9, address >> 8);
        out8(0, command | cmd_start);
    }
    Bytes read_block(unsigned address, unsigned bytes, unsigned width = 2) {
        remote(cmd_read, address, bytes);
        Bytes data(bytes);
        if (width == 4)
            ports.read_repeated(io + 16, 4, data);
        else
            ports.read_repeated(io + 16, 2, data);
        return data;
    }
    void write_block(unsigned address, const Bytes& data) {
        remote(cmd_write, address, static_cast<unsigned>(data.size()));
        ports.write_repeated(io + 16, 2, data);
    }
    void start(std::uint8_t receive = rcr_broadcast) {
        in8(0x1f); // reset
        out8(0x1f, 0);
        out8(0, cmd_no_dma | cmd_stop);
        out8(14, 0x49);
        out8(12, 0x20);
        out8(13, 2);
        out8(4, tx_page);
        out8(1, start_page);
        out8(3, stop_page - 1);
        out8(2, stop_page);
        out8(7, 0xff);
        out8(15, 0x3f);
        out8(0, 0x40 | cmd_no_dma | cmd_stop);
        for (unsigned i = 0; i < 6; ++i)
            out8(1 + i, card_mac[i]);
        out8(7, start_page);
        out8(0, cmd_no_dma | cmd_start);
        out8(13, 0);
        out8(12, receive);
        next = start_page;
    }
    void send(const Bytes& frame) {
        write_block(tx_page * 256u, frame);
        CHECK((in8(7) & int_remote_done) != 0);
        out8(7, int_remote_done);
        out8(5, frame.size() & 0xff);
        out8(6, static_cast<unsigned>(frame.size()) >> 8);
        out8(0, cmd_no_dma | cmd_start | cmd_transmit);
    }
    void offer(const Bytes& frame) {
        wire.offer(frame);
        clock.advance(Ne2000::wire_time(ethernet_maximum));
    }
    std::uint8_t current() {
        out8(0, 0x40 | cmd_no_dma | cmd_start);
        const auto page = in8(7);
        out8(0, cmd_no_dma | cmd_start);
        return page;
    }
    std::optional<Bytes> take(std::uint8_t& status) {
        if (current() == next)
            return {};
        const auto header = read_block(next * 256u, 4);
        status = header[0];
        const unsigned bytes = header[2] | header[3] << 8;
        auto frame = read_block(next * 256u + 4, (bytes - 4 + 1) & ~1u); // around the end by itself
        frame.resize(bytes - 4);
        next = header[1];
        out8(3, next == start_page ? stop_page - 1 : next - 1);
        return frame;
    }
};
} // namespace

TEST_CASE("an NE2000 is probed by its PROM and its ID") {
    Rig rig;
    CHECK((rig.in8(0x1f), rig.in8(7)) == int_reset);
    rig.out8(0, cmd_no_dma | cmd_stop);
    CHECK(rig.in8(10) == 'P');
    CHECK(rig.in8(11) == 'C');
    rig.out8(14, 0x49); // words
    rig.out8(10, 32);
    rig.out8(11, 0);
    rig.out8(8, 0);
    rig.out8(9, 0);
    rig.out8(0, cmd_read | cmd_start);
    Bytes prom;
    for (unsigned i = 0; i < 16; ++i)
        prom.push_back(rig.in8(16)); // a byte of each word
    CHECK(std::equal(card_mac.begin(), card_mac.end(), prom.begin()));
    CHECK(prom[14] == 0x57);
    CHECK(prom[15] == 0x57);
    CHECK((rig.in8(7) & int_remote_done) != 0);
    rig.out8(14, 0x48); // bytes
    rig.remote(cmd_read, 0, 4);
    CHECK(rig.in8(16) == card_mac[0]);
    CHECK(rig.in8(16) == card_mac[0]);
    CHECK(rig.in8(16) == card_mac[1]);
    rig.out8(0, 0xc0 | cmd_no_dma | cmd_stop);
    CHECK(rig.in8(14) == 0x29);
    CHECK(rig.in8(15) == 0x80);
}

TEST_CASE(
    "an NE2000 that was started runs until it is stopped, whatever else its command register is used for") {
    Rig rig;
    rig.start();
    rig.out8(0, cmd_no_dma); // page 0, as Linux turns to it in its interrupt handler
    const auto frame = frame_to(card_mac, 200);
    rig.offer(frame);
    std::uint8_t status = 0;
    CHECK(rig.take(status) == frame);
    rig.out8(0, cmd_no_dma | cmd_stop);
    rig.out8(0, cmd_no_dma); // and stays stopped
    rig.offer(frame);
    CHECK(rig.current() == rig.next);
}

TEST_CASE("an NE2000 receives no faster than its wire") {
    Rig rig;
    rig.start();
    for (unsigned i = 0; i < 3; ++i)
        rig.wire.offer(frame_to(card_mac, 1000, i));
    std::uint8_t status = 0;
    for (unsigned i = 0; i < 3; ++i) {
        CHECK(rig.take(status) == frame_to(card_mac, 1000, i));
        CHECK_FALSE(rig.take(status));
        rig.clock.advance(Ne2000::wire_time(1000) - 1);
        CHECK_FALSE(rig.take(status));
        rig.clock.advance(1);
    }
}

TEST_CASE("an NE2000's memory is behind the data port, in words and double words") {
    Rig rig;
    rig.start();
    const auto data = frame_to(other_mac, 1000);
    rig.write_block(0x4000, data);
    CHECK(rig.read_block(0x4000, 1000) == data);
    CHECK(rig.read_block(0x4000, 1000, 4) == data);
    CHECK(rig.read_block(0x2000, 2) == Bytes{0xff, 0xff}); // nothing is there
    CHECK(rig.in16(16) == 0xffff);                         // and nothing is transferred any more
    rig.out8(7, 0xff);
    rig.remote(cmd_read, 0x4000, 0);
    CHECK((rig.in8(7) & int_remote_done) != 0);
    rig.write_block(0, {1, 2, 3, 4}); // the PROM is one
    CHECK(rig.read_block(0, 2) == Bytes{card_mac[0], card_mac[0]});
    rig.write_block(0x7ffe, {1, 2, 3, 4}); // the ring's end
    CHECK(rig.read_block(0x4600, 2) == Bytes{3, 4});
}

TEST_CASE("an NE2000 sends") {
    Rig rig;
    rig.start();
    const auto frame = frame_to(other_mac, 600);
    rig.send(frame);
    REQUIRE(rig.wire.sent.size() == 1);
    CHECK(rig.wire.sent[0].frame == frame);
    CHECK((rig.in8(0) & cmd_transmit) == 0);
    CHECK(rig.in8(4) == 1);
    CHECK(rig.in8(7) == int_sent);
    CHECK(rig.irq.level);
    rig.out8(7, int_sent);
    CHECK_FALSE(rig.irq.level);

    SECTION("but not in loopback: the FIFO has what came back") {
        rig.out8(13, 2);
        rig.send(frame);
        CHECK(rig.wire.sent.size() == 1);
        CHECK(rig.in8(4) == 0x53);
        CHECK(rig.in8(12) == rsr_crc);
        CHECK(rig.in8(7) == int_sent);
        CHECK(rig.in8(6) == frame.back());
        for (unsigned i = 0; i < 4; ++i)
            CHECK(rig.in8(6) == static_cast<std::uint8_t>(ethernet_crc(frame) >> (8 * i)));
        CHECK(rig.in8(6) == (604 & 0xff));
        CHECK(rig.in8(6) == 604 >> 8);
    }
    SECTION("but not while it is stopped") {
        rig.out8(0, cmd_no_dma | cmd_stop | cmd_transmit);
        CHECK(rig.wire.sent.size() == 1);
        CHECK((rig.in8(7) & int_reset) != 0);
        rig.out8(0, cmd_no_dma | cmd_start);
        CHECK((rig.in8(7) & int_reset) == 0);
    }
    SECTION("after a pause") {
        rig.card.pause();
        rig.out8(0, cmd_no_dma | cmd_start | cmd_transmit);
        CHECK(rig.wire.sent.size() == 1);
        CHECK((rig.in8(0) & cmd_transmit) != 0);
        rig.card.resume();
        CHECK(rig.wire.sent.size() == 2);
    }
}

TEST_CASE("an NE2000 receives around its ring") {
    Rig rig;
    rig.start();
    for (unsigned i = 0; i < 60; ++i) {
        const auto frame = frame_to(i % 3 == 0 ? everybody : card_mac, 60 + i * 24, i);
        rig.offer(frame);
        CHECK((rig.in8(7) & int_received) != 0);
        CHECK(rig.irq.level);
        rig.out8(7, int_received | int_remote_done);
        std::uint8_t status = 0;
        const auto got = rig.take(status);
        REQUIRE(got);
        CHECK(*got == frame);
        CHECK(status == (i % 3 == 0 ? rsr_good | rsr_group : rsr_good));
    }
    SECTION("and holds frames back when it is full") {
        for (unsigned i = 0; i < 12; ++i)
            rig.offer(frame_to(card_mac, 1500, i));
        CHECK(rig.wire.waiting.size() == 3);
        rig.card.receive(frame_to(card_mac, 1514), {});
        rig.card.receive(frame_to(card_mac, 1514), {});
        CHECK((rig.in8(7) & int_overwritten) != 0);
        CHECK(rig.in8(15) != 0);
        CHECK(rig.in8(15) == 0); // cleared by being read
        for (unsigned i = 0; i < 12; ++i) {
            std::uint8_t status = 0;
            const auto got = rig.take(status);
            rig.clock.advance(Ne2000::wire_time(ethernet_maximum));
            REQUIRE(got);
            if (i < 9)
                CHECK(*got == frame_to(card_mac, 1500, i));
        }
    }
    SECTION("and does not wait for ever for a driver that has cleared an interrupt too early") {
        for (unsigned i = 0; i < 12; ++i)
            rig.offer(frame_to(card_mac, 1500, i));
        rig.out8(7, 0x7f); // between its last look at the ring and now nine frames came
        CHECK_FALSE(rig.irq.level);
        rig.clock.advance(Ne2000::patience);
        CHECK(rig.irq.level);
        CHECK((rig.in8(7) & int_overwritten) != 0);
        rig.out8(7, 0x7f);
        std::uint8_t status = 0;
        for (unsigned i = 0; i < 12; ++i) {
            CHECK(rig.take(status) == frame_to(card_mac, 1500, i));
            rig.clock.advance(Ne2000::wire_time(ethernet_maximum));
        }
        rig.out8(7, 0x7f);
        rig.clock.advance(10 * Ne2000::patience); // it has room
        CHECK_FALSE(rig.irq.level);
    }
    SECTION("and after an overflow is started as the datasheet has it") {
        for (unsigned i = 0; i < 11; ++i)
            rig.card.receive(frame_to(card_mac, 1514, i), {});
        REQUIRE((rig.in8(7) & int_overwritten) != 0);
        rig.out8(0, cmd_no_dma | cmd_stop);
        rig.out8(10, 0);
        rig.out8(11, 0);
        rig.out8(13, 2);
        rig.out8(0, cmd_no_dma | cmd_start);
        std::uint8_t status = 0;
        while (rig.take(status)) {
        }
        rig.out8(7, int_overwritten);
        rig.out8(13, 0);
        rig.offer(frame_to(card_mac, 100, 7));
        CHECK(*rig.take(status) == frame_to(card_mac, 100, 7));
    }
    SECTION("the command for the frame at the boundary knows its length") {
        rig.offer(frame_to(card_mac, 100));
        rig.out8(3, rig.next);
        rig.out8(0, cmd_send_packet | cmd_start);
        CHECK((rig.in16(16) & 0xff) == rsr_good);
        CHECK(rig.in16(16) == 104);
    }
}

TEST_CASE("an NE2000 takes what its filter lets through") {
    Rig rig;
    const MacAddress group{0x01, 0x00, 0x5e, 0x01, 0x02, 0x03};
    const auto heard = [&](std::uint8_t config, const MacAddress& to, bool hash = false) {
        rig.start(config);
        rig.out8(0, 0x40 | cmd_no_dma | cmd_start);
        for (unsigned i = 0; i < 8; ++i)
            rig.out8(8 + i,
                     hash && multicast_hash_left(group) / 8 == i ? 1u << multicast_hash_left(group) % 8 : 0u);
        rig.out8(0, cmd_no_dma | cmd_start);
        rig.offer(frame_to(to, 64));
        return rig.current() != rig.next;
    };
    CHECK(heard(0, card_mac));
    CHECK_FALSE(heard(0, other_mac));
    CHECK(heard(rcr_all, other_mac));
    CHECK_FALSE(heard(0, everybody));
    CHECK(heard(rcr_broadcast, everybody));
    CHECK_FALSE(heard(rcr_multicast, group));
    CHECK(heard(rcr_multicast, group, true));
    CHECK_FALSE(heard(rcr_broadcast, group, true));
    CHECK_FALSE(heard(rcr_monitor, card_mac));
    CHECK(rig.in8(15) == 1); // counted
    CHECK(rig.in8(12) == rsr_disabled);
}

TEST_CASE("an NE2000 with a ring that makes no sense harms nobody") {
    Rig rig;
    rig.start();
    for (const auto& [start, stop, boundary] :
         {std::array<unsigned, 3>{0, 0, 0}, {0xff, 0, 0x10}, {0x80, 0x40, 0x50}, {0x46, 0x47, 0x46}}) {
        rig.out8(1, start);
        rig.out8(2, stop);
        rig.out8(3, boundary);
        for (unsigned i = 0; i < 5; ++i)
            rig.card.receive(frame_to(card_mac, 1514), {});
        CHECK(rig.card.can_receive() == rig.card.can_receive());
        rig.out8(5, 0xff);
        rig.out8(6, 0xff);
        rig.out8(0, cmd_no_dma | cmd_start | cmd_transmit);
        CHECK(rig.wire.sent.back().frame.size() == 0xffff);
    }
    rig.card.reset(ResetKind::System);
    CHECK_FALSE(rig.irq.level);
}
