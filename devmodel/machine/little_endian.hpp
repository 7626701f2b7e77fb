// SPDX-License-Identifier: GPL-2.0-or-later
// Little-endian numbers in bytes: registers as an access of any width sees them, descriptors in guest memory.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

namespace escalus {

/// The number at `offset`; all its bytes must be there.
template <std::unsigned_integral T>
[[nodiscard]] T load_le(std::span<const std::uint8_t> bytes, std::size_t offset = 0) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i)
        value |= std::uint64_t{bytes[offset + i]} << (8 * i);
    return static_cast<T>(value);
}

template <std::unsigned_integral T>
void store_le(std::span<std::uint8_t> bytes, std::size_t offset, T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i)
        bytes[offset + i] = static_cast<std::uint8_t>(std::uint64_t{value} >> (8 * i));
}

/// Any number of bytes up to eight; further ones are not touched, and do not count.
[[nodiscard]] inline std::uint64_t load_some(std::span<const std::uint8_t> bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < std::min<std::size_t>(bytes.size(), 8); ++i)
        value |= std::uint64_t{bytes[i]} << (8 * i);
    return value;
}
inline void store_some(std::span<std::uint8_t> bytes, std::uint64_t value) {
    for (std::size_t i = 0; i < std::min<std::size_t>(bytes.size(), 8); ++i)
        bytes[i] = static_cast<std::uint8_t>(value >> (8 * i));
}

} // namespace escalus
