// SPDX-License-Identifier: GPL-2.0-or-later
// Little-endian numbers in bytes: registers as an access of any width sees them, descriptors in guest memory.
#pragma once

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace escalus {

static_assert(std::endian::native == std::endian::little, "what follows copies; a monitor's CPU is an x86");

/// The number at `offset`; all its bytes must be there.
template <std::unsigned_integral T>
[[nodiscard]] T load_le(std::span<const std::uint8_t> bytes, std::size_t offset = 0) {
    T value{};
    std::memcpy(&value, bytes.subspan(offset, sizeof value).data(), sizeof value);
    return value;
}

template <std::unsigned_integral T>
void store_le(std::span<std::uint8_t> bytes, std::size_t offset, T value) {
    std::memcpy(bytes.subspan(offset, sizeof value).data(), &value, sizeof value);
}

/// Any number of bytes up to eight; further ones are not touched, and do not count.
[[nodiscard]] inline std::uint64_t load_some(std::span<const std::uint8_t> bytes) {
    if (bytes.size() == 4) // as most accesses are
        return load_le<std::uint32_t>(bytes);
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < std::min<std::size_t>(bytes.size(), 8); ++i)
        value |= std::uint64_t{bytes[i]} << (8 * i);
    return value;
}
inline void store_some(std::span<std::uint8_t> bytes, std::uint64_t value) {
    if (bytes.size() == 4)
        return store_le(bytes, 0, static_cast<std::uint32_t>(value));
    for (std::size_t i = 0; i < std::min<std::size_t>(bytes.size(), 8); ++i)
        bytes[i] = static_cast<std::uint8_t>(value >> (8 * i));
}

} // namespace escalus
