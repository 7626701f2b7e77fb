// SPDX-License-Identifier: GPL-2.0-or-later
// The bytes of a fuzz target's input, taken one after the other; zeros when they are used up. And what all
// targets do with them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
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

/// A fuzz target: the input is a program, each of whose steps has as many bytes as it needs.
template <typename Guest>
int run(const std::uint8_t* bytes, std::size_t size) {
    const auto guest = std::make_unique<Guest>();
    Input in{{bytes, size}};
    while (!in.empty())
        guest->step(in);
    if constexpr (requires { guest->finish(); })
        guest->finish();
    return 0;
}

} // namespace escalus::fuzz
