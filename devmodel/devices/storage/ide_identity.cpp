// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/storage/ide_identity.hpp"

#include <algorithm>
#include <numeric>

namespace escalus {

bool TransferModes::select(std::uint8_t mode) {
    const unsigned number = mode & 7;
    switch (mode >> 3) {
    case 0: // PIO default, with (0) or without (1) flow control
        return number <= 1;
    case 1: // PIO with flow control
        return number <= 4;
    case 4:
        if (number > 2)
            return false;
        multiword = static_cast<std::uint8_t>(1u << number);
        ultra = 0;
        return true;
    case 8:
        if (number > 5)
            return false;
        ultra = static_cast<std::uint8_t>(1u << number);
        multiword = 0;
        return true;
    default: // single-word DMA is obsolete
        return false;
    }
}

std::uint8_t checksum(std::span<const std::uint8_t> bytes) {
    return static_cast<std::uint8_t>(0u - std::accumulate(bytes.begin(), bytes.end(), 0u));
}

IdentifyData::IdentifyData(std::span<std::uint8_t> block) : block_{block.first(512)} {
    std::ranges::fill(block_, std::uint8_t{0});
}

void IdentifyData::word(unsigned index, unsigned value) {
    block_[2 * index] = static_cast<std::uint8_t>(value);
    block_[2 * index + 1] = static_cast<std::uint8_t>(value >> 8);
}

void IdentifyData::dword(unsigned index, std::uint32_t value) {
    word(index, value & 0xffff);
    word(index + 1, value >> 16);
}

void IdentifyData::text(unsigned index, unsigned words, std::string_view value) {
    for (unsigned i = 0; i < 2 * words; ++i) {
        const char c = i < value.size() && value[i] >= ' ' && value[i] <= '~' ? value[i] : ' ';
        block_[2 * index + (i ^ 1)] = static_cast<std::uint8_t>(c);
    }
}

void IdentifyData::modes(const TransferModes& modes) {
    word(63, 0x07u | unsigned{modes.multiword} << 8);
    word(64, 3); // PIO 3 and 4
    for (unsigned i = 65; i <= 68; ++i)
        word(i, 120); // nanoseconds a cycle
    word(88, 0x3fu | unsigned{modes.ultra} << 8);
}

void IdentifyData::serial_ata(unsigned depth) {
    if (depth != 0)
        word(75, depth - 1);
    word(76, 0x0006u | (depth != 0 ? 0x0100u : 0u)); // 1.5 and 3 Gb/s
    word(222, 0x101f);                               // a serial transport, to Serial ATA 2.6
}

void IdentifyData::seal() {
    block_[510] = 0xa5;
    block_[511] = checksum(block_.first(511));
}

} // namespace escalus
