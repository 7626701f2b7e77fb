// SPDX-License-Identifier: GPL-2.0-or-later
// Frames of TCP over IPv4 and IPv6, made and taken apart without the code under test.
#pragma once

#include "devmodel/backends/net/net_backend.hpp"

#include <algorithm>
#include <vector>

namespace escalus::test {

using Frame = std::vector<std::uint8_t>;

inline void put16(Frame& frame, std::size_t at, std::size_t value) {
    frame[at] = static_cast<std::uint8_t>(value >> 8);
    frame[at + 1] = static_cast<std::uint8_t>(value);
}
inline unsigned get16(std::span<const std::uint8_t> frame, std::size_t at) {
    return frame[at] * 256u + frame[at + 1];
}
/// Slow and plain: 0xffff for what carries a right checksum.
inline unsigned plain_sum(std::span<const std::uint8_t> bytes, unsigned sum = 0) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        sum += i % 2 == 0 ? bytes[i] * 256u : bytes[i];
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

struct TcpFrame {
    Frame frame;
    std::size_t ip_at, tcp_at, payload_at;
    bool ip6;
    static constexpr unsigned sequence = 0xfffffe00u, id = 0xfffe;

    void set_flags(unsigned flags) { frame[tcp_at + 13] = static_cast<std::uint8_t>(flags); }
    [[nodiscard]] Frame payload() const {
        return {frame.begin() + static_cast<std::ptrdiff_t>(payload_at), frame.end()};
    }
    [[nodiscard]] NetOffload checksum() const {
        return {.needs_checksum = true,
                .header_bytes = static_cast<std::uint16_t>(payload_at),
                .checksum_start = static_cast<std::uint16_t>(tcp_at),
                .checksum_offset = 16};
    }
    [[nodiscard]] NetOffload segmented(unsigned bytes) const {
        auto offload = checksum();
        offload.segmentation = ip6 ? NetOffload::Segmentation::Tcp6 : NetOffload::Segmentation::Tcp4;
        offload.segment_bytes = static_cast<std::uint16_t>(bytes);
        return offload;
    }
};

/// As a driver hands it over: the pseudo header's sum is in TCP's checksum field.
inline TcpFrame tcp_frame(bool ip6, std::size_t payload, bool vlan = false) {
    const std::size_t ip_at = vlan ? 18 : 14, tcp_at = ip_at + (ip6 ? 40 : 20), payload_at = tcp_at + 32;
    TcpFrame tcp{Frame(payload_at + payload), ip_at, tcp_at, payload_at, ip6};
    Frame& f = tcp.frame;
    for (std::size_t i = 0; i < 12; ++i)
        f[i] = static_cast<std::uint8_t>(0x52 + i);
    if (vlan)
        put16(f, 12, 0x8100);
    put16(f, ip_at - 2, ip6 ? 0x86dd : 0x0800);
    const auto segment = f.size() - tcp_at;
    if (ip6) {
        f[ip_at] = 0x60;
        put16(f, ip_at + 4, segment);
        f[ip_at + 6] = 6;
    } else {
        f[ip_at] = 0x45;
        put16(f, ip_at + 2, 20 + segment);
        put16(f, ip_at + 4, TcpFrame::id);
        f[ip_at + 8] = 64;
        f[ip_at + 9] = 6;
    }
    const auto addresses = ip_at + (ip6 ? 8 : 12);
    for (std::size_t i = addresses; i < tcp_at; ++i)
        f[i] = static_cast<std::uint8_t>(i * 29);
    if (!ip6)
        put16(f, ip_at + 10, ~plain_sum(std::span{f}.subspan(ip_at, 20)));
    put16(f, tcp_at + 4, TcpFrame::sequence >> 16);
    put16(f, tcp_at + 6, TcpFrame::sequence & 0xffff);
    f[tcp_at + 12] = 0x80; // 32 bytes
    f[tcp_at + 13] = 0x10;
    for (std::size_t i = 0; i < payload; ++i)
        f[payload_at + i] = static_cast<std::uint8_t>(i * 7 + i / 256);
    put16(f, tcp_at + 16,
          plain_sum(std::span{f}.subspan(addresses, tcp_at - addresses),
                    6 + static_cast<unsigned>(segment & 0xffff)));
    return tcp;
}

struct TcpView {
    TcpView(const Frame& f, bool is_ip6, bool vlan = false)
        : frame{f}, ip6{is_ip6}, ip{vlan ? 18u : 14u}, tcp{ip + (ip6 ? 40u : 20u)} {}
    const Frame& frame;
    bool ip6;
    std::size_t ip, tcp;

    [[nodiscard]] std::span<const std::uint8_t> payload() const {
        return std::span{frame}.subspan(tcp + frame[tcp + 12] / 16 * 4u);
    }
    [[nodiscard]] std::uint32_t sequence() const {
        return get16(frame, tcp + 4) << 16 | get16(frame, tcp + 6);
    }
    [[nodiscard]] unsigned flags() const { return frame[tcp + 13]; }
    [[nodiscard]] bool ip_length_is_right() const {
        return ip6 ? get16(frame, ip + 4) == frame.size() - ip - 40
                   : get16(frame, ip + 2) == frame.size() - ip;
    }
    [[nodiscard]] unsigned ip4_header_sum() const { return plain_sum(std::span{frame}.subspan(ip, 20)); }
    [[nodiscard]] unsigned ip4_id() const { return get16(frame, ip + 4); }
};

inline bool tcp_checksum_is_good(const Frame& frame, bool ip6, bool vlan = false) {
    const TcpView view{frame, ip6, vlan};
    const auto addresses = view.ip + (ip6 ? 8 : 12);
    const auto segment = std::span{frame}.subspan(view.tcp);
    const auto pseudo = plain_sum(std::span{frame}.subspan(addresses, ip6 ? 32 : 8),
                                  6 + static_cast<unsigned>(segment.size() & 0xffff));
    return plain_sum(segment, pseudo) == 0xffff;
}

} // namespace escalus::test
