// SPDX-License-Identifier: GPL-2.0-or-later
// The bytes of a fuzz target's input, taken one after the other; zeros when they are used up.
#pragma once

#include <cstdint>
#include <span>

namespace escalus::fuzz {

struct Input {
    std::span<const std::uint8_t> bytes;

    [[nodiscard]] bool empty() const { return bytes.empty(); }
    std::uint8_t byte() {
        if (bytes.empty())
            return 0;
        const auto first = bytes.front();
        bytes = bytes.subspan(1);
        return first;
    }
    std::uint32_t dword() {
        std::uint32_t value = 0;
        for (unsigned i = 0; i < 4; ++i)
            value |= std::uint32_t{byte()} << (8 * i);
        return value;
    }
};

} // namespace escalus::fuzz
