// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/net/finish_frame.hpp"

#include "devmodel/backends/net/internet_packet.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace escalus {

namespace {
using Bytes = std::span<std::uint8_t>;
using ConstBytes = std::span<const std::uint8_t>;

constexpr std::size_t ethernet_header = 14, vlan_tag = 4;
constexpr std::uint16_t type_ip4 = 0x0800, type_ip6 = 0x86dd, type_vlan = 0x8100;
// IPv4 (RFC 791), IPv6 (RFC 8200), TCP (RFC 9293).
constexpr std::size_t ip4_length = 2, ip4_id = 4, ip4_protocol = 9, ip4_sum = 10, ip4_addresses = 12,
                      ip4_least = 20;
constexpr std::size_t ip6_length = 4, ip6_addresses = 8, ip6_header = 40;
constexpr std::size_t tcp_sequence = 4, tcp_data_offset = 12, tcp_flags = 13, tcp_sum = 16, tcp_least = 20;
constexpr std::uint8_t protocol_tcp = 6, flag_fin = 1, flag_psh = 8, flag_cwr = 0x80;

void store16(Bytes bytes, std::size_t at, std::uint32_t value) {
    bytes[at] = static_cast<std::uint8_t>(value >> 8);
    bytes[at + 1] = static_cast<std::uint8_t>(value);
}
std::uint32_t load32(ConstBytes bytes, std::size_t at) {
    return std::uint32_t{load_be16(bytes, at)} << 16 | load_be16(bytes, at + 2);
}
void store32(Bytes bytes, std::size_t at, std::uint32_t value) {
    store16(bytes, at, value >> 16);
    store16(bytes, at + 2, value);
}

/// Where the headers of a TCP segment begin, and the payload.
struct Layout {
    std::size_t ip, tcp, payload;
};

std::optional<Layout> find_headers(ConstBytes frame, const NetOffload& offload, std::uint16_t least) {
    if (!offload.needs_checksum || offload.checksum_offset != tcp_sum ||
        offload.segment_bytes < std::max<std::uint16_t>(least, 1) || frame.size() < ethernet_header)
        return {};
    std::size_t type_at = ethernet_header - 2;
    if (load_be16(frame, type_at) == type_vlan)
        type_at += vlan_tag;
    Layout layout{type_at + 2, offload.checksum_start, 0};
    if (frame.size() < layout.tcp + tcp_least || layout.tcp < layout.ip)
        return {};
    const auto type = load_be16(frame, type_at);
    const auto ip = frame.subspan(layout.ip, layout.tcp - layout.ip);
    if (offload.segmentation == NetOffload::Segmentation::Tcp4) {
        if (type != type_ip4 || ip.size() < ip4_least || ip[0] >> 4 != 4 ||
            std::size_t{ip[0] & 15u} * 4 != ip.size() || ip[ip4_protocol] != protocol_tcp)
            return {};
    } else if (type != type_ip6 || ip.size() < ip6_header || ip[0] >> 4 != 6) {
        return {}; // what lies between the IPv6 header and the TCP one is copied unseen
    }
    const auto tcp_header = std::size_t{frame[layout.tcp + tcp_data_offset]} / 16 * 4;
    layout.payload = layout.tcp + tcp_header;
    if (tcp_header < tcp_least || layout.payload >= frame.size())
        return {};
    return layout;
}

/// The sum of what TCP's checksum covers beside the segment.
std::uint64_t pseudo_header(ConstBytes segment, const Layout& layout, bool ip6) {
    const auto addresses =
        ip6 ? segment.subspan(layout.ip + ip6_addresses, 32) : segment.subspan(layout.ip + ip4_addresses, 8);
    return add_words(addresses, protocol_tcp + ((segment.size() - layout.tcp) & 0xffff));
}

/// Makes the headers of a segment, copied from the whole one's, its own.
void mend_headers(Bytes segment, const Layout& layout, bool ip6, unsigned number, std::size_t position) {
    if (ip6) {
        store16(segment, layout.ip + ip6_length,
                static_cast<std::uint32_t>(segment.size() - layout.ip - ip6_header));
    } else {
        const auto ip = segment.subspan(layout.ip, layout.tcp - layout.ip);
        store16(ip, ip4_length, static_cast<std::uint32_t>(segment.size() - layout.ip));
        store16(ip, ip4_id, load_be16(ip, ip4_id) + number);
        store16(ip, ip4_sum, 0);
        store16(ip, ip4_sum, ~std::uint32_t{fold_sum(add_words(ip))});
    }
    const auto tcp = segment.subspan(layout.tcp);
    store32(tcp, tcp_sequence, load32(tcp, tcp_sequence) + static_cast<std::uint32_t>(position));
    store16(tcp, tcp_sum, 0);
    store16(tcp, tcp_sum, ~std::uint32_t{fold_sum(add_words(tcp, pseudo_header(segment, layout, ip6)))});
}

} // namespace

bool complete_checksum(std::span<std::uint8_t> frame, const NetOffload& offload) {
    const std::size_t start = offload.checksum_start, at = start + offload.checksum_offset;
    if (at + 2 > frame.size())
        return false;
    // The field holds the pseudo header's sum. Zero would mean "no checksum" to UDP (RFC 768).
    const auto sum = static_cast<std::uint16_t>(~fold_sum(add_words(frame.subspan(start))));
    store16(frame, at, sum == 0 ? 0xffff : sum);
    return true;
}

bool FrameFinisher::begin(std::span<const std::uint8_t> frame, const NetOffload& offload,
                          std::uint16_t least) {
    drop();
    offload_ = offload;
    position_ = number_ = 0;
    if (offload.segmentation != NetOffload::Segmentation::None) {
        const auto layout = find_headers(frame, offload, least);
        if (!layout)
            return false;
        ip_ = layout->ip;
        payload_ = layout->payload;
    } else if (offload.needs_checksum) {
        piece_.assign(frame.begin(), frame.end());
        if (!complete_checksum(piece_, offload))
            return false;
    }
    frame_ = frame;
    return true;
}

std::span<const std::uint8_t> FrameFinisher::next() {
    if (offload_.segmentation != NetOffload::Segmentation::None)
        return next_segment();
    const auto whole = std::exchange(frame_, {});
    return offload_.needs_checksum ? ConstBytes{piece_} : whole;
}

std::span<const std::uint8_t> FrameFinisher::next_segment() {
    const Layout layout{ip_, offload_.checksum_start, payload_};
    const bool ip6 = offload_.segmentation == NetOffload::Segmentation::Tcp6;
    const auto header = frame_.first(payload_);
    const auto rest = frame_.subspan(payload_ + position_);
    const auto part = rest.first(std::min<std::size_t>(offload_.segment_bytes, rest.size()));
    piece_.assign(header.begin(), header.end());
    piece_.insert(piece_.end(), part.begin(), part.end());
    auto& flags = piece_[layout.tcp + tcp_flags];
    if (part.size() != rest.size()) // the end is the last one's to announce
        flags = static_cast<std::uint8_t>(flags & ~(flag_fin | flag_psh));
    if (number_ != 0 && offload_.has_ecn) // a reduced window, the first one's (RFC 3168, 6.1.2)
        flags = static_cast<std::uint8_t>(flags & ~flag_cwr);
    mend_headers(piece_, layout, ip6, static_cast<unsigned>(number_), position_);
    position_ += part.size();
    ++number_;
    if (part.size() == rest.size())
        drop();
    return piece_;
}

} // namespace escalus
