// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/unit/net_devices/card_rig.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

TEST_CASE("the CRC of a frame is that of IEEE 802.3") {
    const Bytes text{'1', '2', '3', '4', '5', '6', '7', '8', '9'};
    CHECK(ethernet_crc(text) == 0xcbf43926);
}

TEST_CASE("multicast addresses hash to the bits that drivers set") {
    // 01:00:5e:00:00:01 (all systems): what Linux' ether_crc() >> 26 and ether_crc_le() >> 26 give.
    const MacAddress all_systems{0x01, 0x00, 0x5e, 0x00, 0x00, 0x01};
    const auto left = multicast_hash_left(all_systems), right = multicast_hash_right(all_systems);
    // Both by the definition, bit by bit.
    std::uint32_t big = 0xffffffff, little = 0xffffffff;
    for (auto byte : all_systems)
        for (unsigned i = 0; i < 8; ++i) {
            const std::uint32_t bit = byte >> i & 1u;
            big = big << 1 ^ ((big >> 31 ^ bit) != 0 ? 0x04c11db7u : 0u);
            little = little >> 1 ^ (((little ^ bit) & 1) != 0 ? 0xedb88320u : 0u);
        }
    CHECK(left == big >> 26);
    CHECK(right == little >> 26);
}

TEST_CASE("short frames are filled up with zeros") {
    std::array<std::uint8_t, ethernet_minimum> storage;
    const auto frame = frame_to(card_mac, 20);
    const auto filled = padded(frame, storage);
    REQUIRE(filled.size() == 60);
    CHECK(std::ranges::equal(filled.first(20), frame));
    CHECK(std::ranges::all_of(filled.subspan(20), [](auto byte) { return byte == 0; }));
    const auto long_enough = frame_to(card_mac, 61);
    CHECK(padded(long_enough, storage).data() == long_enough.data());
}

TEST_CASE("Internet packets are found, and their sums judged") {
    auto frame = ip_frame(card_mac, InternetPacket::udp, 33);
    const auto packet = InternetPacket::find(frame);
    REQUIRE(packet);
    CHECK(packet->network == 14);
    CHECK(packet->transport == 34);
    CHECK(packet->end == frame.size());
    CHECK(packet->header_checksum_good(frame));
    CHECK(packet->transport_checksum_good(frame));
    frame[50] ^= 1;
    CHECK_FALSE(packet->transport_checksum_good(frame));
    frame[22] ^= 1;
    CHECK_FALSE(packet->header_checksum_good(frame));

    SECTION("behind a tag") {
        auto tagged = ip_frame(card_mac, InternetPacket::tcp, 5);
        const Bytes tag{0x81, 0x00, 0x00, 0x05};
        tagged.insert(tagged.begin() + 12, tag.begin(), tag.end());
        const auto inner = InternetPacket::find(tagged);
        REQUIRE(inner);
        CHECK(inner->transport == 38);
        CHECK(inner->transport_checksum_good(tagged));
    }
    SECTION("a length beyond the frame is no packet") {
        store_be16(frame, 16, 2000);
        CHECK_FALSE(InternetPacket::find(frame));
    }
    SECTION("fragments have no ports") {
        store_be16(frame, 20, 0x2000);
        CHECK_FALSE(InternetPacket::find(frame)->checksum_offset(frame));
    }
    SECTION("IPv6 with an extension header") {
        Bytes six(14 + 40 + 8 + 20);
        store_be16(six, 12, 0x86dd);
        six[14] = 0x60;
        store_be16(six, 18, 28);
        six[20] = 0; // hop-by-hop
        six[54] = InternetPacket::tcp;
        const auto inner = InternetPacket::find(six);
        REQUIRE(inner);
        CHECK(inner->version6);
        CHECK(inner->protocol == InternetPacket::tcp);
        CHECK(inner->transport == 62);
        six[55] = 200; // an extension longer than the packet
        CHECK_FALSE(InternetPacket::find(six));
    }
}
