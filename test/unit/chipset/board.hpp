// SPDX-License-Identifier: GPL-2.0-or-later
// What the tests of this folder plug their device into: buses, a clock that they move, wires that count
// edges.
#pragma once

#include "devmodel/machine/bus.hpp"
#include "devmodel/machine/irq_line.hpp"
#include "devmodel/machine/manual_clock.hpp"

#include <array>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

namespace escalus::test {

/// Remembers what happens on up to 32 wires.
class Probe final : public IrqSink {
  public:
    void set_irq(unsigned input, bool level) override {
        if (level && !levels.at(input)) {
            ++edges.at(input);
            if (clock != nullptr)
                times.push_back(clock->now());
        }
        levels.at(input) = level;
    }
    std::array<bool, 32> levels{};
    std::array<unsigned, 32> edges{};
    std::vector<GuestTime> times; // of rising edges
    const Clock* clock = nullptr;
};

/// Ports and memory as a driver sees them.
class Board {
  public:
    ManualClock clock;
    Bus ports{"ports", 0x10000};
    Bus memory{"memory", 1ull << 40};

    template <typename T>
    T read(Bus& bus, std::uint64_t address) {
        std::array<std::uint8_t, sizeof(T)> bytes{};
        bus.read(address, bytes);
        T value = 0;
        for (std::size_t i = sizeof(T); i-- > 0;)
            value = static_cast<T>(std::uint64_t{value} << 8 | bytes.at(i));
        return value;
    }
    template <typename T>
    void write(Bus& bus, std::uint64_t address, std::type_identity_t<T> value) {
        std::array<std::uint8_t, sizeof(T)> bytes{};
        for (std::size_t i = 0; i < sizeof(T); ++i)
            bytes.at(i) = static_cast<std::uint8_t>(std::uint64_t{value} >> 8 * i);
        bus.write(address, bytes);
    }
    std::uint8_t in(std::uint16_t port) { return read<std::uint8_t>(ports, port); }
    void out(std::uint16_t port, unsigned value) {
        write<std::uint8_t>(ports, port, static_cast<std::uint8_t>(value));
    }
};

} // namespace escalus::test
