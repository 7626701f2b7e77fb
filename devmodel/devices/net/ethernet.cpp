// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/net/ethernet.hpp"

#include <zlib.h>

namespace escalus {

std::uint32_t ethernet_crc(Frame frame) {
    return static_cast<std::uint32_t>(crc32(0, frame.data(), static_cast<uInt>(frame.size())));
}

namespace {
// The register before its bits are inverted and sent, lowest first.
std::uint32_t crc_register(Frame address) {
    return ~ethernet_crc(address.first(6));
}
} // namespace

unsigned multicast_hash_left(Frame address) {
    const auto crc = crc_register(address);
    unsigned hash = 0;
    for (unsigned i = 0; i < 6; ++i)
        hash |= (crc >> i & 1) << (5 - i);
    return hash;
}

unsigned multicast_hash_right(Frame address) {
    return crc_register(address) >> 26;
}

} // namespace escalus
