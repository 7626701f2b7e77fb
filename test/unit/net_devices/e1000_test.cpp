// SPDX-License-Identifier: GPL-2.0-or-later
// An 82540EM, and the habits of its drivers (e1000 of Linux, em and wm of the BSDs, e1000g).
#include "devmodel/devices/net/e1000.hpp"
#include "test/unit/net_devices/card_rig.hpp"

#include <numeric>

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::e1000;
using namespace escalus::test;

namespace {
struct Rig : CardRig<E1000> {
    static constexpr std::uint32_t rx_ring = 0x10000, tx_ring = 0x20000, rx = 0x100000, tx = 0x200000;
    static constexpr unsigned entries = 16;
    unsigned tail = 0;

    Rig() : CardRig{mmio, 0} { config(0x18, io | 1); }
    std::uint32_t get(unsigned offset) {
        std::array<std::uint8_t, 4> bytes{};
        memory_bus.read(mmio + offset, bytes);
        return load_le<std::uint32_t>(bytes);
    }
    void set(unsigned offset, std::uint32_t value) {
        std::array<std::uint8_t, 4> bytes{};
        store_le(bytes, 0, value);
        memory_bus.write(mmio + offset, bytes);
    }
    void start(std::uint32_t receive = rctl_broadcast) {
        set(reg_ctrl, get(reg_ctrl) | ctrl_reset);
        tail = 0;
        set(reg_rdbal, rx_ring);
        set(reg_rdlen, entries * 16);
        set(reg_tdbal, tx_ring);
        set(reg_tdlen, entries * 16);
        for (unsigned n = 0; n < entries; ++n) {
            poke<std::uint64_t>(rx_ring + 16 * n, rx + n * 0x1000u);
            poke<std::uint64_t>(rx_ring + 16 * n + 8, 0);
        }
        set(reg_rctl, receive | rctl_enable);
        set(reg_tctl, tctl_enable | tctl_pad);
        set(reg_rdt, entries - 1);
        set(reg_ims, int_all);
    }
    void describe(std::uint64_t low, std::uint64_t high) {
        poke(tx_ring + 16 * tail, low);
        poke(tx_ring + 16 * tail + 8, high);
        tail = (tail + 1) % entries;
    }
    void ring() { set(reg_tdt, tail); }
    void send(const Bytes& frame, std::uint32_t command = tx_end | tx_report, std::uint16_t special = 0) {
        put(tx, frame);
        describe(tx, frame.size() | command | std::uint64_t{special} << 48);
        ring();
    }
    void context(unsigned ip, unsigned transport, unsigned field, unsigned header = 0, unsigned segment = 0,
                 std::uint32_t flags = tx_context_tcp | tx_context_ipv4) {
        describe(ip | (ip + 10u) << 8 | std::uint64_t{transport - 1} << 16 | std::uint64_t{transport} << 32 |
                     std::uint64_t{field} << 40,
                 flags | tx_extended | std::uint64_t{header} << 40 | std::uint64_t{segment} << 48);
    }
    [[nodiscard]] std::uint8_t status(unsigned n) { return peek<std::uint8_t>(rx_ring + 16 * n + 12); }
    [[nodiscard]] Bytes received(unsigned n, std::size_t size) { return get_bytes(rx + n * 0x1000u, size); }
    [[nodiscard]] Bytes get_bytes(std::size_t at, std::size_t size) { return CardRig::get(at, size); }
    std::uint16_t phy(unsigned index) {
        set(reg_mdic, 2u << 26 | 1u << 21 | index << 16);
        CHECK((get(reg_mdic) & 3u << 28) == 1u << 28);
        return static_cast<std::uint16_t>(get(reg_mdic));
    }
    void set_phy(unsigned index, std::uint16_t value) {
        set(reg_mdic, 1u << 26 | 1u << 21 | index << 16 | value);
    }
};
} // namespace

TEST_CASE("an 82540EM's EEPROM is read both ways, and sums to 0xbaba") {
    Rig rig;
    const auto by_register = [&](unsigned word) {
        rig.set(reg_eerd, word << 8 | 1);
        CHECK((rig.get(reg_eerd) & 0x10) != 0);
        return rig.get(reg_eerd) >> 16;
    };
    std::uint32_t sum = 0;
    for (unsigned i = 0; i < 64; ++i)
        sum += by_register(i);
    CHECK((sum & 0xffff) == 0xbaba);
    CHECK(by_register(0) == 0x1600);
    rig.set(reg_eecd, eecd_request);
    REQUIRE((rig.get(reg_eecd) & (eecd_grant | eecd_present)) == (eecd_grant | eecd_present));
    const auto clock = [&](bool bit) {
        const auto in = bit ? eecd_in : 0u;
        rig.set(reg_eecd, eecd_request | eecd_select | in);
        rig.set(reg_eecd, eecd_request | eecd_select | eecd_clock | in);
    };
    clock(false);
    for (unsigned i = 9; i-- > 0;)
        clock(((6u << 6 | 2u) >> i & 1) != 0);
    unsigned word = 0;
    for (unsigned i = 0; i < 16; ++i) {
        clock(false);
        word = word << 1 | ((rig.get(reg_eecd) & eecd_out) != 0 ? 1u : 0u);
    }
    CHECK(word == 0x5634);
    CHECK(rig.get(reg_ra) == 0x123e1600);
    CHECK(rig.get(reg_ra + 4) == 0x80005634);
}

TEST_CASE("an 82540EM's PHY has a link that is negotiated") {
    Rig rig;
    CHECK(rig.phy(2) == 0x0141);
    CHECK((rig.phy(3) & 0xfff0) == 0x0c20);
    CHECK((rig.get(reg_device_status) & 0xc3) == 0x83); // up, full duplex, 1000 Mbit/s
    rig.set(reg_ims, int_link);
    rig.set_phy(0, 0x1340);
    CHECK((rig.get(reg_device_status) & 2) == 0);
    CHECK((rig.phy(1) & 0x24) == 0);
    CHECK(rig.irq.level);
    CHECK(rig.get(reg_icr) == int_link);
    CHECK_FALSE(rig.irq.level);
    rig.clock.advance(GigabitPhy::negotiation_time);
    CHECK((rig.phy(1) & 0x24) == 0x24);
    CHECK((rig.phy(17) & 0xec00) == 0xac00);
    CHECK(rig.get(reg_icr) == int_link);
    rig.wire.up = false;
    rig.card.link_changed(false);
    CHECK((rig.get(reg_device_status) & 2) == 0);
    CHECK(rig.get(reg_icr) == int_link);
    rig.set(reg_mdic, 2u << 26 | 2u << 21); // no PHY there
    CHECK((rig.get(reg_mdic) & 1u << 30) != 0);
    rig.out32(0, reg_device_status); // the window of two ports
    CHECK(rig.in32(4) == rig.get(reg_device_status));
}

TEST_CASE("an 82540EM sends legacy frames around its ring") {
    Rig rig;
    rig.start();
    for (unsigned i = 0; i < 40; ++i) {
        const auto frame = frame_to(other_mac, 60 + i * 20, i);
        const auto n = rig.tail;
        rig.send(frame);
        REQUIRE(rig.wire.sent.size() == i + 1);
        CHECK(rig.wire.sent.back().frame == frame);
        CHECK((rig.peek<std::uint8_t>(rig.tx_ring + 16 * n + 12) & tx_done) != 0);
        CHECK(rig.get(reg_tdh) == rig.tail);
        CHECK(rig.irq.level);
        CHECK(rig.get(reg_icr) == (int_tx_written | int_tx_empty));
        CHECK_FALSE(rig.irq.level);
    }
    CHECK(rig.get(stat_tx_good) == 40);
    CHECK(rig.get(stat_tx_good) == 0);

    SECTION("short ones are filled up, in parts or not") {
        const auto frame = frame_to(other_mac, 40);
        rig.put(rig.tx, frame);
        rig.describe(rig.tx, 14);
        rig.describe(rig.tx + 14, 26 | tx_end);
        rig.ring();
        CHECK(rig.wire.sent.back().frame.size() == 60);
        CHECK(std::equal(frame.begin(), frame.end(), rig.wire.sent.back().frame.begin()));
        CHECK(rig.get(reg_icr) == int_tx_empty); // nobody asked to be told
    }
    SECTION("with a tag") {
        rig.set(reg_ctrl, rig.get(reg_ctrl) | ctrl_vlan);
        rig.send(frame_to(other_mac, 100), tx_end | tx_vlan, 0x3005);
        CHECK(rig.wire.sent.back().frame.size() == 104);
        CHECK(load_be16(rig.wire.sent.back().frame, 12) == 0x8100);
        CHECK(load_be16(rig.wire.sent.back().frame, 14) == 0x3005);
    }
    SECTION("and looped") {
        rig.set_phy(0, 0x4140);
        rig.send(frame_to(card_mac, 100));
        CHECK(rig.wire.sent.size() == 40);
        CHECK(rig.received(0, 100) == frame_to(card_mac, 100));
    }
    SECTION("a frame in no memory is not sent, a ring in none is not read") {
        rig.describe(std::uint64_t{1} << 50, 100 | tx_end | tx_report);
        rig.ring();
        CHECK(rig.wire.sent.size() == 40);
        CHECK(rig.get(reg_tdh) == rig.tail);
        rig.set(reg_tdbah, 0x80000000);
        rig.send(frame_to(other_mac, 100));
        rig.clock.advance(ns_per_second);
        CHECK(rig.wire.sent.size() == 40);
    }
    SECTION("an index beyond the ring ends at its beginning") {
        rig.set(reg_tdh, 0xffff);
        rig.set(reg_tdt, 1);
        CHECK(rig.get(reg_tdh) == 1);
        const auto before = rig.wire.sent.size();
        rig.set(reg_tdt, 16); // the ring has 0 to 15
        rig.clock.advance(ns_per_second);
        CHECK(rig.wire.sent.size() == before);
    }
}

TEST_CASE("an 82540EM leaves sums and segments to the wire") {
    Rig rig;
    rig.start();
    SECTION("a sum") {
        auto frame = ip_frame(other_mac, InternetPacket::udp, 300, false);
        const auto packet = InternetPacket::find(frame);
        store_be16(frame, 40, fold_sum(packet->pseudo_header(frame, 308)));
        rig.put(rig.tx, frame);
        rig.context(14, 34, 40, 0, 0, tx_context_ipv4);
        rig.describe(rig.tx, frame.size() | tx_end | tx_extended | tx_kind_data |
                                 std::uint64_t{tx_ip_sum | tx_transport_sum} << 32);
        rig.ring();
        REQUIRE(rig.wire.sent.size() == 1);
        const auto& [sent, offload] = rig.wire.sent[0];
        CHECK(offload.needs_checksum);
        CHECK(offload.checksum_start == 34);
        CHECK(offload.checksum_offset == 6);
        CHECK(InternetPacket::find(sent)->header_checksum_good(sent));
        auto finished = sent;
        store_be16(finished, 40,
                   static_cast<std::uint16_t>(~fold_sum(add_words(std::span{finished}.subspan(34)))));
        CHECK(finished == ip_frame(other_mac, InternetPacket::udp, 300));
    }
    SECTION("a large TCP packet, whose lengths the driver leaves 0") {
        auto frame = ip_frame(other_mac, InternetPacket::tcp, 30000, false);
        const auto packet = InternetPacket::find(frame);
        const auto pseudo = packet->pseudo_header(frame, 0);
        store_be16(frame, 16, 0);
        store_be16(frame, 50, fold_sum(pseudo));
        rig.put(rig.tx, frame);
        const bool as_tcp = GENERATE(true, false);
        rig.context(14, 34, 50, 54, 1448, (as_tcp ? tx_context_tcp : 0u) | tx_context_ipv4 | tx_segment);
        const auto data = tx_extended | tx_kind_data | tx_segment;
        const auto sums = std::uint64_t{tx_ip_sum | tx_transport_sum} << 32;
        rig.describe(rig.tx, 54 | data | sums);
        rig.describe(rig.tx + 54, (frame.size() - 54) | data | tx_end | tx_report);
        rig.ring();
        if (as_tcp) {
            REQUIRE(rig.wire.sent.size() == 1);
            const auto& [sent, offload] = rig.wire.sent[0];
            CHECK(offload.segmentation == NetOffload::Segmentation::Tcp4);
            CHECK(offload.segment_bytes == 1448);
            CHECK(offload.header_bytes == 54);
            CHECK(load_be16(sent, 16) == frame.size() - 14);
            CHECK(InternetPacket::find(sent)->header_checksum_good(sent));
            CHECK(load_be16(sent, 50) == fold_sum(packet->pseudo_header(frame, frame.size() - 34)));
        } else { // what the wire does not know is cut here
            REQUIRE(rig.wire.sent.size() == 21);
            std::size_t payload = 0;
            for (unsigned n = 0; n < 21; ++n) {
                const auto& sent = rig.wire.sent[n].frame;
                CHECK(load_be16(sent, 16) == sent.size() - 14);
                CHECK(load_be16(sent, 18) == 0x1234 + n);
                CHECK(InternetPacket::find(sent)->header_checksum_good(sent));
                CHECK(std::equal(sent.begin() + 54, sent.end(),
                                 frame.begin() + 54 + static_cast<int>(payload)));
                payload += sent.size() - 54;
            }
            CHECK(payload == 30000);
        }
        CHECK(rig.get(stat_tx_segmented) == 1);
        CHECK(rig.get(stat_tx_good) == 21);
    }
}

TEST_CASE("an 82540EM receives what its filters let through") {
    Rig rig;
    const MacAddress group{0x01, 0x00, 0x5e, 0x01, 0x02, 0x03};
    const auto heard = [&](std::uint32_t control, const MacAddress& to, bool hash = false) {
        rig.start(control);
        if (hash) {
            const auto bits = (group[4] >> 4 | group[5] << 4) & 0xfff;
            rig.set(reg_mta + static_cast<unsigned>(bits / 32 * 4), 1u << bits % 32);
        }
        rig.wire.offer(frame_to(to, 100));
        return (rig.status(0) & rx_done) != 0;
    };
    CHECK(heard(0, card_mac));
    CHECK_FALSE(heard(0, other_mac));
    CHECK(heard(rctl_all_unicast, other_mac));
    CHECK_FALSE(heard(0, everybody));
    CHECK(heard(rctl_broadcast, everybody));
    CHECK_FALSE(heard(0, group));
    CHECK(heard(rctl_all_multicast, group));
    CHECK(heard(0, group, true));
    CHECK(rig.get(stat_rx_multicast) == 1);
    rig.start();
    rig.set(reg_ra + 8, load_le<std::uint32_t>(other_mac)); // a second address
    rig.set(reg_ra + 12, 1u << 31 | load_le<std::uint16_t>(other_mac, 4));
    rig.wire.offer(frame_to(other_mac, 100));
    CHECK((rig.status(0) & rx_done) != 0);
}

TEST_CASE("an 82540EM receives around its ring, and holds frames back when it is full") {
    Rig rig;
    rig.start();
    unsigned next = 0;
    for (unsigned i = 0; i < 50; ++i) {
        const auto frame = frame_to(card_mac, 60 + i * 13, i);
        rig.wire.offer(frame);
        REQUIRE((rig.status(next) & (rx_done | rx_end)) == (rx_done | rx_end));
        CHECK(rig.peek<std::uint16_t>(rig.rx_ring + 16 * next + 8) == frame.size() + 4);
        CHECK(rig.received(next, frame.size()) == frame);
        CHECK((rig.get(reg_icr) & int_rx_timer) != 0);
        rig.poke<std::uint8_t>(rig.rx_ring + 16 * next + 12, 0);
        rig.set(reg_rdt, next);
        next = (next + 1) % rig.entries;
    }
    CHECK(rig.get(stat_rx_good) == 50);
    for (unsigned i = 0; i < 20; ++i)
        rig.wire.offer(frame_to(card_mac, 60, i));
    CHECK(rig.wire.waiting.size() == 5);
    CHECK((rig.get(reg_icr) & int_rx_threshold) != 0);
    rig.card.receive(frame_to(card_mac, 60), {});
    CHECK((rig.get(reg_icr) & int_rx_overrun) != 0);
    CHECK(rig.get(stat_missed) == 1);
    rig.set(reg_rdt, (rig.get(reg_rdt) + 8) % rig.entries);
    CHECK(rig.wire.waiting.empty());

    SECTION("larger than a buffer") {
        rig.start(rctl_long | 3u << 16); // 256 bytes each
        const auto frame = frame_to(card_mac, 1000, 1);
        rig.wire.offer(frame);
        for (unsigned n = 0; n < 4; ++n) {
            CHECK((rig.status(n) & rx_done) != 0);
            CHECK(((rig.status(n) & rx_end) != 0) == (n == 3));
        }
        CHECK(rig.received(2, 256) == Bytes(frame.begin() + 512, frame.begin() + 768));
    }
    SECTION("larger than allowed") {
        rig.start();
        rig.wire.offer(frame_to(card_mac, 1600));
        CHECK(rig.status(0) == 0);
        CHECK(rig.get(stat_oversize) == 1);
    }
    SECTION("a pause and a receiver that is off") {
        rig.start();
        rig.card.pause();
        rig.wire.offer(frame_to(card_mac, 60));
        CHECK(rig.wire.waiting.size() == 1);
        rig.card.resume();
        CHECK(rig.wire.waiting.empty());
        CHECK(rig.status(0) != 0);
        rig.set(reg_rctl, 0);
        rig.wire.offer(frame_to(card_mac, 60));
        CHECK(rig.wire.waiting.empty());
        CHECK(rig.status(1) == 0);
    }
}

TEST_CASE("an 82540EM judges sums and takes tags out") {
    Rig rig;
    rig.start(rctl_strip_crc);
    rig.set(reg_rxcsum, rxcsum_ip | rxcsum_transport);
    rig.set(reg_ctrl, rig.get(reg_ctrl) | ctrl_vlan);
    auto frame = ip_frame(card_mac, InternetPacket::tcp, 200);
    rig.wire.offer(frame);
    CHECK((rig.status(0) & (rx_no_sums | rx_tcp_summed | rx_ip_summed)) == (rx_tcp_summed | rx_ip_summed));
    CHECK(rig.peek<std::uint8_t>(rig.rx_ring + 13) == 0);
    CHECK(rig.peek<std::uint16_t>(rig.rx_ring + 8) == frame.size());
    frame[100] ^= 1;
    rig.wire.offer(frame);
    CHECK(rig.peek<std::uint8_t>(rig.rx_ring + 16 + 13) == rx_tcp_bad);
    rig.wire.offer(frame_to(card_mac, 100));
    CHECK((rig.status(2) & rx_no_sums) != 0);
    auto tagged = frame_to(card_mac, 100);
    store_be16(tagged, 12, 0x8100);
    store_be16(tagged, 14, 0x2005);
    rig.wire.offer(tagged);
    CHECK((rig.status(3) & rx_vlan) != 0);
    CHECK(rig.peek<std::uint16_t>(rig.rx_ring + 48 + 14) == 0x2005);
    CHECK(rig.peek<std::uint16_t>(rig.rx_ring + 48 + 8) == 96);
    rig.set(reg_rctl, rctl_enable | rctl_strip_crc | rctl_vlan_filter);
    rig.wire.offer(tagged);
    CHECK(rig.status(4) == 0);
    rig.set(reg_vfta, 1u << 5);
    rig.wire.offer(tagged);
    CHECK(rig.status(4) != 0);
}

TEST_CASE("an 82540EM holds interrupts back") {
    Rig rig;
    rig.start();
    SECTION("by the throttle") {
        rig.set(reg_itr, 1000); // 256 microseconds
        rig.wire.offer(frame_to(card_mac, 60));
        CHECK(rig.irq.edges == 1);
        rig.get(reg_icr);
        rig.wire.offer(frame_to(card_mac, 60));
        CHECK_FALSE(rig.irq.level);
        rig.clock.advance(255'000);
        CHECK_FALSE(rig.irq.level);
        rig.clock.advance(1'001);
        CHECK(rig.irq.level);
        CHECK(rig.irq.edges == 2);
    }
    SECTION("until no frame has come for a time, or one has waited long enough") {
        rig.set(reg_rdtr, 100);
        rig.set(reg_radv, 250);
        for (unsigned i = 0; i < 3; ++i) {
            rig.wire.offer(frame_to(card_mac, 60));
            rig.clock.advance(70 * 1024);
            CHECK_FALSE(rig.irq.level);
        }
        rig.wire.offer(frame_to(card_mac, 60));
        rig.clock.advance(40 * 1024); // 250 units after the first
        CHECK(rig.irq.level);
        rig.get(reg_icr);
        rig.wire.offer(frame_to(card_mac, 60));
        rig.clock.advance(100 * 1024);
        CHECK(rig.irq.level);
        rig.get(reg_icr);
        rig.wire.offer(frame_to(card_mac, 60));
        rig.set(reg_rdtr, 1u << 31); // told at once
        CHECK(rig.irq.level);
    }
    SECTION("of sending, where the descriptor says so") {
        rig.set(reg_imc, ~0u);
        rig.set(reg_ims, int_tx_written);
        rig.set(reg_tidv, 50);
        rig.send(frame_to(other_mac, 60), tx_end | tx_report | tx_delay);
        CHECK_FALSE(rig.irq.level);
        rig.clock.advance(50 * 1024);
        CHECK(rig.irq.level);
    }
    SECTION("and a reset forgets them") {
        rig.set(reg_rdtr, 100);
        rig.wire.offer(frame_to(card_mac, 60));
        rig.set(reg_ctrl, ctrl_reset);
        rig.set(reg_ims, ~0u);
        rig.clock.advance(ns_per_second);
        CHECK_FALSE(rig.irq.level);
        CHECK(rig.get(reg_icr) == 0);
    }
}

TEST_CASE("an 82540EM sends a bounded number of frames at a time") {
    Rig rig;
    rig.start();
    constexpr unsigned many = 200;
    rig.set(reg_tdlen, 256 * 16);
    for (unsigned n = 0; n < many; ++n) {
        rig.poke<std::uint64_t>(rig.tx_ring + 16 * n, rig.tx);
        rig.poke<std::uint64_t>(rig.tx_ring + 16 * n + 8, 100 | tx_end);
    }
    rig.set(reg_tdt, many);
    CHECK(rig.wire.sent.size() == 64);
    rig.clock.advance(EthernetCard::breather);
    rig.clock.advance(EthernetCard::breather);
    rig.clock.advance(EthernetCard::breather);
    CHECK(rig.wire.sent.size() == many);
    CHECK(rig.get(reg_tdh) == many);
    rig.set(reg_tdt, many - 1); // all around
    rig.card.reset(ResetKind::System);
    rig.clock.advance(2 * EthernetCard::breather);
    CHECK(rig.wire.sent.size() == many + 64);
}
