// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/unit/net_devices/rtl8139_rig.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::rtl8139;
using namespace escalus::test;

TEST_CASE("C+ mode gathers frames from descriptors") {
    Rtl8139Rig rig;
    rig.start_cplus();
    const auto frame = frame_to(other_mac, 1400, 3);
    rig.put(rig.buffers, frame);
    rig.describe(rig.tx_ring, 0, desc_own | desc_first | 100, 0, rig.buffers);
    rig.describe(rig.tx_ring, 1, desc_own | 300, 0, rig.buffers + 100);
    rig.describe(rig.tx_ring, 2, desc_own | desc_last | 1000, 0, rig.buffers + 400);
    rig.describe(rig.tx_ring, 3, desc_own | desc_end | desc_first | desc_last | 1400, 0, rig.buffers);
    rig.out8(reg_poll, poll_normal);
    REQUIRE(rig.wire.sent.size() == 2);
    CHECK(rig.wire.sent[0].frame == frame);
    CHECK(rig.wire.sent[1].frame == frame);
    for (unsigned n = 0; n < 4; ++n)
        CHECK((rig.peek<std::uint32_t>(rig.tx_ring + 16 * n) & desc_own) == 0);
    CHECK(rig.in16(reg_isr) == (int_tx_ok | int_no_tx_descriptor));
    CHECK(rig.in8(reg_poll) == 0);
    CHECK(rig.irq.level);

    SECTION("a frame whose rest is not there yet waits for the next poll") {
        rig.describe(rig.tx_ring, 0, desc_own | desc_first | 100, 0, rig.buffers);
        rig.out8(reg_poll, poll_normal);
        CHECK(rig.wire.sent.size() == 2);
        rig.describe(rig.tx_ring, 1, desc_own | desc_last | 1300, 0, rig.buffers + 100);
        rig.out8(reg_poll, poll_normal);
        REQUIRE(rig.wire.sent.size() == 3);
        CHECK(rig.wire.sent[2].frame == frame);
    }
    SECTION("the high priority ring is one of its own") {
        rig.describe(rig.high_ring, 0, desc_own | desc_first | desc_last | 1400, 0, rig.buffers);
        rig.out8(reg_poll, poll_high);
        CHECK(rig.wire.sent.size() == 3);
    }
    SECTION("a part in no memory fails the frame") {
        rig.describe(rig.tx_ring, 0, desc_own | desc_first | desc_last | 100, 0, std::uint64_t{1} << 45);
        rig.out8(reg_poll, poll_normal);
        CHECK(rig.wire.sent.size() == 2);
        CHECK((rig.peek<std::uint32_t>(rig.tx_ring) & (desc_own | desc_tx_summary)) == desc_tx_summary);
        CHECK((rig.in16(reg_isr) & (int_tx_error | int_bus_error)) == (int_tx_error | int_bus_error));
    }
    SECTION("a ring outside memory ends the poll") {
        rig.out32(reg_tx_ring, 0xfffff000);
        rig.out8(reg_poll, poll_normal);
        CHECK(rig.in8(reg_poll) == 0);
        CHECK((rig.in16(reg_isr) & int_bus_error) != 0);
    }
    SECTION("frames without end are not gathered without end") {
        for (unsigned n = 0; n < 63; ++n)
            rig.describe(rig.tx_ring, n, desc_own | (n == 0 ? desc_first : 0u) | 0xffff, 0, rig.buffers);
        rig.describe(rig.tx_ring, 63, desc_own | desc_end | desc_last | 0xffff, 0, rig.buffers);
        rig.out8(reg_poll, poll_normal);
        CHECK(rig.wire.sent.size() == 2);
        CHECK((rig.peek<std::uint32_t>(rig.tx_ring + 16 * 63) & desc_tx_summary) != 0);
    }
}

TEST_CASE("C+ mode fills in checksums as far as descriptors ask") {
    Rtl8139Rig rig;
    rig.start_cplus();
    const auto protocol = GENERATE(InternetPacket::tcp, InternetPacket::udp);
    const auto frame = ip_frame(other_mac, protocol, 500, false);
    rig.put(rig.buffers, frame);
    const auto size = static_cast<std::uint32_t>(frame.size());
    const auto both = desc_ip_sum | (protocol == InternetPacket::tcp ? desc_tcp_sum : desc_udp_sum);
    rig.describe(rig.tx_ring, 0, desc_own | desc_first | desc_last | both | size, 0, rig.buffers);
    rig.describe(rig.tx_ring, 1, desc_own | desc_first | desc_last | desc_end | size, 0, rig.buffers);
    rig.out8(reg_poll, poll_normal);
    REQUIRE(rig.wire.sent.size() == 2);
    const auto& [sent, offload] = rig.wire.sent[0];
    const auto packet = InternetPacket::find(sent);
    REQUIRE(packet);
    CHECK(packet->header_checksum_good(sent));
    CHECK(offload.needs_checksum);
    CHECK(offload.checksum_start == 34);
    CHECK(offload.checksum_offset == (protocol == InternetPacket::tcp ? 16 : 6));
    // What whoever finishes it gets is what the frame with good sums has.
    auto finished = sent;
    store_be16(finished, offload.checksum_start + offload.checksum_offset,
               static_cast<std::uint16_t>(~fold_sum(add_words(std::span{finished}.subspan(34)))));
    CHECK(finished == ip_frame(other_mac, protocol, 500));
    CHECK(rig.wire.sent[1].frame == frame);
    CHECK_FALSE(rig.wire.sent[1].offload.needs_checksum);
}

TEST_CASE("C+ mode sends large ones in segments, with a tag") {
    Rtl8139Rig rig;
    rig.start_cplus();
    const auto frame = ip_frame(other_mac, InternetPacket::tcp, 20000, false);
    rig.put(rig.buffers, frame);
    rig.describe(rig.tx_ring, 0,
                 desc_own | desc_first | desc_last | desc_end | desc_large | 1448u << 16 |
                     static_cast<std::uint32_t>(frame.size()),
                 desc_add_tag | 0x0a30, rig.buffers);
    rig.out8(reg_poll, poll_normal);
    REQUIRE(rig.wire.sent.size() == 1);
    const auto& [sent, offload] = rig.wire.sent[0];
    CHECK(sent.size() == frame.size() + 4);
    CHECK(load_be16(sent, 12) == 0x8100);
    CHECK(load_be16(sent, 14) == 0x300a); // memory's byte order is the wire's
    CHECK(offload.segmentation == NetOffload::Segmentation::Tcp4);
    CHECK(offload.segment_bytes == 1448);
    CHECK(offload.header_bytes == 58);
    CHECK(offload.checksum_start == 38);
    CHECK((rig.peek<std::uint32_t>(rig.tx_ring) & 0x03ff0000) == 0); // the segment's size is status now
}

TEST_CASE("C+ mode receives into descriptors") {
    Rtl8139Rig rig;
    rig.start_cplus(cplus_checksum | cplus_untag);
    rig.give_buffers(3);
    const auto frame = ip_frame(card_mac, InternetPacket::tcp, 700);
    rig.wire.offer(frame);
    const auto status = rig.peek<std::uint32_t>(rig.rx_ring);
    CHECK((status & (desc_own | desc_first | desc_last | desc_mine)) == (desc_first | desc_last | desc_mine));
    CHECK((status & 0x30000) == desc_tcp);
    CHECK((status & (desc_ip_bad | desc_tcp_bad)) == 0);
    CHECK((status & desc_rx_size) == frame.size() + 4);
    CHECK(rig.get(rig.buffers, frame.size()) == frame);
    CHECK(rig.peek<std::uint32_t>(rig.buffers + frame.size()) == ethernet_crc(frame));
    CHECK(rig.in16(reg_isr) == int_rx_ok);

    SECTION("a bad sum is told") {
        auto bad = ip_frame(card_mac, InternetPacket::udp, 700);
        bad[100] ^= 1;
        rig.wire.offer(bad);
        CHECK((rig.peek<std::uint32_t>(rig.rx_ring + 16) & (0x30000 | desc_udp_bad | desc_ip_bad)) ==
              (desc_udp | desc_udp_bad));
    }
    SECTION("a tag is taken out") {
        auto tagged = frame_to(card_mac, 100);
        store_be16(tagged, 12, 0x8100);
        store_be16(tagged, 14, 0x300a);
        rig.wire.offer(tagged);
        CHECK((rig.peek<std::uint32_t>(rig.rx_ring + 16) & desc_rx_size) == 100);
        CHECK(rig.peek<std::uint32_t>(rig.rx_ring + 20) == (desc_tag_there | 0x0a30));
        CHECK(rig.peek<std::uint8_t>(rig.buffers + 0x1000 + 12) == tagged[16]);
    }
    SECTION("no descriptor: the frame is lost and counted, the ring goes on") {
        for (unsigned i = 0; i < 4; ++i)
            rig.wire.offer(frame_to(card_mac, 64, i));
        CHECK((rig.in16(reg_isr) & int_rx_overflow) != 0);
        CHECK(rig.in32(reg_missed) == 2);
        CHECK((rig.peek<std::uint32_t>(rig.rx_ring + 32) & desc_end) != 0);
        rig.give_buffers(3);
        rig.wire.offer(frame_to(card_mac, 64, 9));
        CHECK((rig.peek<std::uint32_t>(rig.rx_ring) & desc_own) == 0);
        CHECK(rig.get(rig.buffers, 64) == frame_to(card_mac, 64, 9));
    }
    SECTION("the counters are written where the guest wants them") {
        rig.wire.offer(frame_to(everybody, 64));
        rig.out32(reg_tally + 4, 0);
        rig.out32(reg_tally, 0x70000 | tally_dump);
        CHECK((rig.in32(reg_tally) & tally_dump) == 0);
        CHECK(rig.peek<std::uint64_t>(0x70008) == 2);
        CHECK(rig.peek<std::uint64_t>(0x70028) == 1);
        CHECK(rig.peek<std::uint64_t>(0x70030) == 1);
    }
}

TEST_CASE("C+ mode spreads a frame over small buffers") {
    Rtl8139Rig rig;
    rig.start_cplus();
    rig.give_buffers(8, 256);
    const auto frame = frame_to(card_mac, 700, 1);
    rig.wire.offer(frame);
    Bytes got;
    for (unsigned n = 0; n < 3; ++n) {
        const auto status = rig.peek<std::uint32_t>(rig.rx_ring + 16 * n);
        CHECK(((status & desc_first) != 0) == (n == 0));
        CHECK(((status & desc_last) != 0) == (n == 2));
        const auto part = rig.get(rig.buffers + n * 0x1000, 256);
        got.insert(got.end(), part.begin(), part.end());
    }
    CHECK((rig.peek<std::uint32_t>(rig.rx_ring + 32) & desc_rx_size) == 704);
    got.resize(700);
    CHECK(got == frame);
}

TEST_CASE("C+ mode sends a bounded number of frames at a time") {
    Rtl8139Rig rig;
    rig.start_cplus();
    // A one-entry ring lies in the buffer of which it sends: it never ends by itself.
    rig.put(rig.buffers, frame_to(other_mac, 64));
    for (unsigned n = 0; n < 64; ++n)
        rig.describe(rig.tx_ring, n, desc_own | desc_first | desc_last | 64, 0, rig.buffers);
    for (unsigned n = 0; n < 64; ++n)
        rig.describe(rig.high_ring, n, desc_own | desc_first | desc_last | 64, 0, rig.buffers);
    rig.out8(reg_poll, poll_normal | poll_high);
    CHECK(rig.wire.sent.size() == 64);
    CHECK(rig.in8(reg_poll) != 0);
    SECTION("the rest follows from the loop") {
        rig.clock.advance(EthernetCard::breather);
        CHECK(rig.wire.sent.size() == 128);
        rig.clock.advance(EthernetCard::breather);
        CHECK(rig.in8(reg_poll) == 0);
    }
    SECTION("unless the card was reset meanwhile") {
        rig.out8(reg_cr, cmd_reset);
        rig.clock.advance(2 * EthernetCard::breather);
        CHECK(rig.wire.sent.size() == 64);
    }
    SECTION("or the machine paused") {
        rig.card.pause();
        rig.clock.advance(2 * EthernetCard::breather);
        CHECK(rig.wire.sent.size() == 64);
        rig.card.resume();
        rig.clock.advance(EthernetCard::breather);
        CHECK(rig.wire.sent.size() == 128);
    }
}
