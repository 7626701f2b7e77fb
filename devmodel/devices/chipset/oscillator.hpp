// SPDX-License-Identifier: GPL-2.0-or-later
// The oscillators of a PC, as exact rational frequencies over guest time.
//
// A PC's timers hang on one 14.31818 MHz crystal (exactly 315/22 MHz): the 8254 gets a twelfth of it, the
// ACPI PM timer a quarter. Guests measure one timer by another, so no frequency here is rounded to hertz.
#pragma once

#include "devmodel/machine/clock.hpp"

#include <cstdint>

namespace escalus {

/// An oscillator of numerator / denominator ticks a nanosecond, with edge 0 at guest time 0.
struct Oscillator {
    std::uint64_t numerator;
    std::uint64_t denominator;

    /// Ticks that have passed at `now` (floor).
    [[nodiscard]] constexpr std::uint64_t ticks(GuestTime now) const {
        return static_cast<std::uint64_t>(static_cast<Wide>(now) * numerator / denominator);
    }
    /// The first guest time at which `count` ticks have passed. Beyond the end of guest time it is the end.
    [[nodiscard]] constexpr GuestTime time_of(std::uint64_t count) const {
        const auto time = (static_cast<Wide>(count) * denominator + numerator - 1) / numerator;
        constexpr auto last = static_cast<Wide>(INT64_MAX);
        return static_cast<GuestTime>(time < last ? time : last);
    }
};

inline constexpr Oscillator pit_oscillator{105, 88'000};      ///< 14.31818 MHz / 12 = 105/88 MHz
inline constexpr Oscillator pm_timer_oscillator{315, 88'000}; ///< 14.31818 MHz / 4 = 315/88 MHz
inline constexpr Oscillator hpet_oscillator{1, 10};           ///< 100 MHz

} // namespace escalus
