// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/acpi_pm_timer.hpp"

#include "devmodel/devices/chipset/oscillator.hpp"

namespace escalus {

std::uint32_t AcpiPmTimer::value() const {
    const std::uint64_t ticks = pm_timer_oscillator.ticks(clock_.now());
    return static_cast<std::uint32_t>(ticks & ((1ull << static_cast<unsigned>(width_)) - 1));
}

std::uint64_t AcpiPmTimer::msb_toggles() const {
    return pm_timer_oscillator.ticks(clock_.now()) >> (static_cast<unsigned>(width_) - 1);
}

GuestTime AcpiPmTimer::next_msb_toggle() const {
    return pm_timer_oscillator.time_of((msb_toggles() + 1) << (static_cast<unsigned>(width_) - 1));
}

} // namespace escalus
