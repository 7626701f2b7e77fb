// SPDX-License-Identifier: GPL-2.0-or-later
// What every Ethernet controller has in its receiver: addresses, the CRC (IEEE 802.3, 3.2.9), and the sizes
// of frames on the wire.
#pragma once

#include "devmodel/backends/net/net_backend.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace escalus {

inline constexpr std::size_t ethernet_header = 14, ethernet_minimum = 60, ethernet_maximum = 1514,
                             ethernet_crc_bytes = 4;
using Frame = std::span<const std::uint8_t>;

/// The frame check sequence, as the number whose low byte is sent first.
[[nodiscard]] std::uint32_t ethernet_crc(Frame frame);

/// The six bits of an address's CRC that multicast filters of 64 bits are indexed with: the register's
/// leftmost as DP8390 and RTL8139 shift it, or its rightmost as LANCE has them.
[[nodiscard]] unsigned multicast_hash_left(Frame address);
[[nodiscard]] unsigned multicast_hash_right(Frame address);

[[nodiscard]] inline bool is_multicast(Frame frame) {
    return (frame[0] & 1) != 0;
}
[[nodiscard]] inline bool is_broadcast(Frame frame) {
    return std::all_of(frame.begin(), frame.begin() + 6, [](auto byte) { return byte == 0xff; });
}
[[nodiscard]] inline bool is_sent_to(Frame frame, Frame address) {
    return std::equal(address.begin(), address.end(), frame.begin());
}

/// The frame as it is on the wire: the sender of a shorter one has filled it up. `storage` holds the copy.
[[nodiscard]] inline Frame padded(Frame frame, std::array<std::uint8_t, ethernet_minimum>& storage) {
    if (frame.size() >= storage.size())
        return frame;
    std::ranges::fill(storage, std::uint8_t{0});
    std::ranges::copy(frame, storage.begin());
    return storage;
}

} // namespace escalus
