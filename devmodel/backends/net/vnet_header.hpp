// SPDX-License-Identifier: GPL-2.0-or-later
// NetOffload as it stands before a frame: the first ten bytes of virtio_net_hdr (Virtual I/O Device 1.1,
// 5.1.6), little-endian. Virtio cards use it, and TAP devices with IFF_VNET_HDR.
#pragma once

#include "devmodel/backends/net/net_backend.hpp"
#include "devmodel/machine/little_endian.hpp"

#include <optional>

namespace escalus {

struct VnetHeader {
    static constexpr std::size_t bytes = 10;
    static constexpr std::uint8_t needs_checksum = 1, data_valid = 2;
    static constexpr std::uint8_t none = 0, tcp4 = 1, tcp6 = 4, ecn = 0x80;

    static void encode(std::span<std::uint8_t> out, const NetOffload& offload) {
        using enum NetOffload::Segmentation;
        out[0] = static_cast<std::uint8_t>((offload.needs_checksum ? needs_checksum : 0) |
                                           (offload.checksum_is_good ? data_valid : 0));
        out[1] = offload.segmentation == Tcp4 ? tcp4 : offload.segmentation == Tcp6 ? tcp6 : none;
        if (offload.has_ecn)
            out[1] |= ecn;
        store_le(out, 2, offload.header_bytes);
        store_le(out, 4, offload.segment_bytes);
        store_le(out, 6, offload.checksum_start);
        store_le(out, 8, offload.checksum_offset);
    }
    /// Nothing for kinds of segmentation that are not ours (UDP's).
    static std::optional<NetOffload> decode(std::span<const std::uint8_t> in) {
        using enum NetOffload::Segmentation;
        NetOffload offload;
        offload.needs_checksum = (in[0] & needs_checksum) != 0;
        offload.checksum_is_good = (in[0] & data_valid) != 0;
        const auto kind = in[1] & ~ecn;
        if (kind != none && kind != tcp4 && kind != tcp6)
            return {};
        offload.segmentation = kind == tcp4 ? Tcp4 : kind == tcp6 ? Tcp6 : None;
        offload.has_ecn = (in[1] & ecn) != 0;
        offload.header_bytes = load_le<std::uint16_t>(in, 2);
        offload.segment_bytes = load_le<std::uint16_t>(in, 4);
        offload.checksum_start = load_le<std::uint16_t>(in, 6);
        offload.checksum_offset = load_le<std::uint16_t>(in, 8);
        return offload;
    }
};

} // namespace escalus
