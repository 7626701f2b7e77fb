// SPDX-License-Identifier: GPL-2.0-or-later
// What cards and backends know about what is inside a frame: where IP and TCP or UDP begin, and the Internet
// checksum (RFC 1071). Pure functions; nothing here trusts a length that it has not compared with the frame.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

namespace escalus {

[[nodiscard]] inline std::uint16_t load_be16(std::span<const std::uint8_t> bytes, std::size_t offset) {
    return static_cast<std::uint16_t>(bytes[offset] << 8 | bytes[offset + 1]);
}
inline void store_be16(std::span<std::uint8_t> bytes, std::size_t offset, std::uint16_t value) {
    bytes[offset] = static_cast<std::uint8_t>(value >> 8);
    bytes[offset + 1] = static_cast<std::uint8_t>(value);
}

[[nodiscard]] inline std::uint16_t fold_sum(std::uint64_t sum) {
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(sum);
}
/// A sum of 16-bit words in network order, not folded yet. Only the last piece may have an odd size.
[[nodiscard]] inline std::uint64_t add_words(std::span<const std::uint8_t> bytes, std::uint64_t sum = 0) {
    static_assert(std::endian::native == std::endian::little);
    // The sum of swapped words is the swapped sum (RFC 1071, 2B), and wider words fold to it (2A).
    std::uint64_t swapped = 0;
    std::size_t i = 0;
    for (; i + 8 <= bytes.size(); i += 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes.data() + i, 8);
        swapped += (word & 0xffffffff) + (word >> 32);
    }
    for (unsigned shift = 0; i < bytes.size(); ++i, shift = (shift + 8) % 32)
        swapped += std::uint64_t{bytes[i]} << shift;
    return sum + __builtin_bswap16(fold_sum(swapped));
}

/// An Ethernet frame that carries IP.
struct InternetPacket {
    static constexpr std::uint8_t tcp = 6, udp = 17;

    std::size_t network = 0;   ///< where the IP header begins, behind at most two VLAN tags
    std::size_t transport = 0; ///< where what it carries begins
    std::size_t end = 0;       ///< of the packet by its own length: padding may follow
    std::uint8_t protocol = 0; ///< of the transport, behind IPv6's extension headers
    bool version6 = false;
    bool fragment = false; ///< a part of a datagram: there are no ports to be found

    [[nodiscard]] static std::optional<InternetPacket> find(std::span<const std::uint8_t> frame);

    /// The part of TCP's and UDP's sum that comes from the addresses, for `bytes` of header and data.
    [[nodiscard]] std::uint64_t pseudo_header(std::span<const std::uint8_t> frame, std::size_t bytes) const {
        const auto addresses = version6 ? frame.subspan(network + 8, 32) : frame.subspan(network + 12, 8);
        return add_words(addresses, protocol + std::uint64_t{bytes >> 16} + (bytes & 0xffff));
    }
    /// Where the checksum field is, from `transport` on; nothing for protocols without one known here.
    [[nodiscard]] std::optional<std::size_t> checksum_offset(std::span<const std::uint8_t> frame) const {
        if (fragment)
            return {};
        if (protocol == tcp && transport + 20 <= frame.size())
            return 16;
        if (protocol == udp && transport + 8 <= frame.size())
            return 6;
        return {};
    }
    /// The IPv4 header's own sum is right; true for IPv6, which has none.
    [[nodiscard]] bool header_checksum_good(std::span<const std::uint8_t> frame) const {
        return version6 || fold_sum(add_words(frame.subspan(network, header_bytes(frame)))) == 0xffff;
    }
    /// TCP's or UDP's sum over the packet is right; a UDP sum of 0 over IPv4 was not made, and is good.
    [[nodiscard]] bool transport_checksum_good(std::span<const std::uint8_t> frame) const {
        const auto offset = checksum_offset(frame);
        if (!offset)
            return false;
        if (protocol == udp && !version6 && load_be16(frame, transport + *offset) == 0)
            return true;
        const auto bytes = end - transport;
        return fold_sum(add_words(frame.subspan(transport, bytes), pseudo_header(frame, bytes))) == 0xffff;
    }
    void fill_header_checksum(std::span<std::uint8_t> frame) const {
        if (version6)
            return;
        const auto header = frame.subspan(network, header_bytes(frame));
        store_be16(header, 10, 0);
        store_be16(header, 10, static_cast<std::uint16_t>(~fold_sum(add_words(header))));
    }
    [[nodiscard]] std::size_t header_bytes(std::span<const std::uint8_t> frame) const {
        return version6 ? 40u : (frame[network] & 15u) * 4u;
    }
};

inline std::optional<InternetPacket> InternetPacket::find(std::span<const std::uint8_t> frame) {
    InternetPacket packet;
    std::size_t type = 12;
    for (unsigned tags = 0; tags < 2 && type + 2 <= frame.size(); ++tags)
        if (const auto value = load_be16(frame, type); value == 0x8100 || value == 0x88a8)
            type += 4;
    packet.network = type + 2;
    if (packet.network + 20 > frame.size())
        return {};
    const auto ip = frame.subspan(packet.network);
    if (load_be16(frame, type) == 0x0800 && ip[0] >> 4 == 4) {
        const std::size_t header = (ip[0] & 15u) * 4u, total = load_be16(ip, 2);
        if (header < 20 || total < header || total > ip.size())
            return {};
        packet.protocol = ip[9];
        packet.fragment = (load_be16(ip, 6) & 0x3fff) != 0;
        packet.transport = packet.network + header;
        packet.end = packet.network + total;
        return packet;
    }
    if (load_be16(frame, type) != 0x86dd || ip.size() < 40 || ip[0] >> 4 != 6)
        return {};
    packet.version6 = true;
    packet.protocol = ip[6];
    packet.transport = packet.network + 40;
    packet.end = packet.transport + load_be16(ip, 4);
    if (packet.end > frame.size())
        return {};
    // Extension headers (RFC 8200, 4): hop-by-hop, routing and destination options in any number.
    while (packet.protocol == 0 || packet.protocol == 43 || packet.protocol == 60) {
        if (packet.transport + 8 > packet.end)
            return {};
        packet.protocol = frame[packet.transport];
        packet.transport += 8 + frame[packet.transport + 1] * std::size_t{8};
    }
    packet.fragment = packet.protocol == 44;
    if (packet.transport > packet.end)
        return {};
    return packet;
}

} // namespace escalus
