// SPDX-License-Identifier: GPL-2.0-or-later
// Two buses, a clock, and port accesses as a guest makes them.
#pragma once

#include "devmodel/machine/bus.hpp"
#include "devmodel/machine/manual_clock.hpp"
#include "devmodel/machine/pci.hpp"

#include <array>
#include <cstdint>
#include <vector>

namespace escalus::test {

struct PortRig {
    template <typename T>
    T in(std::uint16_t port) {
        std::array<std::uint8_t, sizeof(T)> bytes{};
        ports.read(port, bytes);
        std::uint32_t value = 0;
        for (unsigned i = 0; i < sizeof(T); ++i)
            value |= std::uint32_t{bytes[i]} << (8 * i);
        return static_cast<T>(value);
    }
    template <typename T>
    void out(std::uint16_t port, T value) {
        std::array<std::uint8_t, sizeof(T)> bytes{};
        for (unsigned i = 0; i < sizeof(T); ++i)
            bytes[i] = static_cast<std::uint8_t>(std::uint64_t{value} >> (8 * i));
        ports.write(port, bytes);
    }
    std::uint8_t inb(std::uint16_t port) { return in<std::uint8_t>(port); }
    std::uint16_t inw(std::uint16_t port) { return in<std::uint16_t>(port); }
    std::uint32_t inl(std::uint16_t port) { return in<std::uint32_t>(port); }
    void outb(std::uint16_t port, std::uint8_t value) { out(port, value); }
    void outw(std::uint16_t port, std::uint16_t value) { out(port, value); }
    void outl(std::uint16_t port, std::uint32_t value) { out(port, value); }

    Bus ports{"ports", 0x10000};
    Bus memory{"memory", std::uint64_t{1} << 52};
    PciSpaces spaces{ports, memory};
    ManualClock clock;
};

/// Remembers the level of each line.
struct Levels final : IrqSink {
    void set_irq(unsigned input, bool level) override { up.at(input) = level; }
    std::array<bool, 16> up{};
    [[nodiscard]] std::vector<unsigned> asserted() const {
        std::vector<unsigned> result;
        for (unsigned i = 0; i < up.size(); ++i)
            if (up[i])
                result.push_back(i);
        return result;
    }
};

} // namespace escalus::test
