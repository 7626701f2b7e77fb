// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/acpi_pm_timer.hpp"

#include "devmodel/devices/chipset/oscillator.hpp"
#include "devmodel/machine/manual_clock.hpp"

#include <catch2/catch.hpp>

using namespace escalus;

TEST_CASE("PM timer: 3.579545 MHz over a day, 24 and 32 bits") {
    ManualClock clock;
    const AcpiPmTimer narrow{clock}, wide{clock, AcpiPmTimer::Width::Bits32};
    REQUIRE(narrow.value() == 0);
    clock.advance(88 * ns_per_second); // 315,000,000 ticks exactly
    REQUIRE(wide.value() == 315'000'000);
    REQUIRE(narrow.value() == 315'000'000 % (1 << 24));
    clock.advance(86'400 * ns_per_second);
    const std::uint64_t ticks = (86'400ull + 88) * 315'000'000 / 88;
    REQUIRE(wide.value() == static_cast<std::uint32_t>(ticks));
    REQUIRE(narrow.value() == (ticks & 0xffffff));
}

TEST_CASE("PM timer: the status bit's events are the toggles of the top bit") {
    ManualClock clock;
    const AcpiPmTimer timer{clock};
    REQUIRE(timer.msb_toggles() == 0);
    for (unsigned toggle = 1; toggle < 6; ++toggle) {
        const GuestTime next = timer.next_msb_toggle();
        clock.advance(next - clock.now() - 1);
        REQUIRE(timer.msb_toggles() == toggle - 1);
        clock.advance(1);
        REQUIRE(timer.msb_toggles() == toggle);
        REQUIRE((timer.value() & 0x7fffff) == 0);
        REQUIRE((timer.value() >> 23 & 1) == (toggle & 1));
    }
}
