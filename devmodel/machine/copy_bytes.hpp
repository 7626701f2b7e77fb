// SPDX-License-Identifier: GPL-2.0-or-later
// Copying bytes of a device's data: std::ranges::copy of libstdc++ 12 goes byte by byte where it copies from
// constant ones.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

namespace escalus {

/// To the beginning of `to`, which is at least as long and does not overlap.
inline void copy_bytes(std::span<const std::uint8_t> from, std::span<std::uint8_t> to) {
    if (!from.empty())
        std::memcpy(to.data(), from.data(), from.size());
}

} // namespace escalus
