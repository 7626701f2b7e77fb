// SPDX-License-Identifier: GPL-2.0-or-later
// All timers of a machine against each other: guests measure one by another at boot, and over days.
#include "devmodel/devices/chipset/acpi_pm_timer.hpp"
#include "devmodel/devices/chipset/hpet.hpp"
#include "devmodel/devices/chipset/i8254.hpp"
#include "devmodel/devices/chipset/mc146818.hpp"
#include "devmodel/devices/chipset/oscillator.hpp"
#include "test/unit/chipset/apic_fixture.hpp"

#include <catch2/catch.hpp>

using namespace escalus;

namespace {

struct Timers : test::ApicBoard {
    test::Probe probe;
    LegacyRouting legacy{IrqLine{probe, 0}, IrqLine{probe, 8}};
    I8254 pit{board.clock, board.ports, IrqLine{legacy, LegacyRouting::pit}};
    Mc146818 rtc{board.clock, board.ports, IrqLine{legacy, LegacyRouting::rtc}, {1'000'000'000, false}};
    Hpet hpet{board.clock, board.memory, legacy, probe, 0x00f00000};
    AcpiPmTimer pm{board.clock, AcpiPmTimer::Width::Bits32};

    Timers() {
        pit.reset(ResetKind::PowerOn);
        rtc.reset(ResetKind::PowerOn);
        enable_all();
        board.out(0x43, 0x34); // channel 0, mode 2, 65536
        board.out(0x40, 0);
        board.out(0x40, 0);
        board.write<std::uint64_t>(board.memory, Hpet::mmio_base + 0x10, 1);
        set(0x3e0, 0xb);
        set(0x320, 0x20040);
        set(0x380, 1'000'000);
    }
    unsigned pit_count() {
        board.out(0x43, 0);
        const unsigned low = board.in(0x40);
        return low | static_cast<unsigned>(board.in(0x40) << 8);
    }
    std::uint64_t hpet_counter() { return board.read<std::uint64_t>(board.memory, Hpet::mmio_base + 0xf0); }
};

} // namespace

TEST_CASE("oscillators: ticks and times are inverse, and nothing drifts in a century") {
    for (const Oscillator& o : {pit_oscillator, pm_timer_oscillator, hpet_oscillator})
        for (std::uint64_t tick : {0ull, 1ull, 2ull, 17ull, 65'535ull, 1'193'182ull, 1'234'567'890'123ull,
                                   3'765'000'000'000'000ull}) {
            const GuestTime time = o.time_of(tick);
            REQUIRE(o.ticks(time) == tick);
            if (tick != 0)
                REQUIRE(o.ticks(time - 1) == tick - 1);
        }
    REQUIRE(pit_oscillator.time_of(~0ull) == INT64_MAX);
    constexpr GuestTime century = ns_per_second * 36'525 * 86'400;
    REQUIRE(pm_timer_oscillator.ticks(century) / 3 == pit_oscillator.ticks(century));
}

TEST_CASE("ratios of all timers are exact, read at odd moments over days") {
    Timers t;
    t.set(0x320, 0x30040); // the count goes on while masked
    std::uint64_t seed = 1;
    const std::uint64_t pit_start =
        pit_oscillator.ticks(t.board.clock.now()) + 1; // loaded with the next tick
    for (int i = 0; i < 60; ++i) {
        seed = seed * 6364136223846793005 + 1442695040888963407;
        // No interrupt is looked at here, so let time pass in pieces of up to 1.2 hours.
        t.board.clock.advance(static_cast<GuestTime>(seed >> 22));
        const auto now = static_cast<std::uint64_t>(t.board.clock.now());
        const std::uint64_t pit_ticks = pit_oscillator.ticks(t.board.clock.now());
        const std::uint64_t pm_ticks = pm_timer_oscillator.ticks(t.board.clock.now());
        REQUIRE(t.pit_count() == static_cast<std::uint16_t>(0x10000 - (pit_ticks - pit_start) % 0x10000));
        REQUIRE(t.pm.value() == static_cast<std::uint32_t>(pm_ticks));
        REQUIRE(pm_ticks / 3 == pit_ticks); // same crystal: exactly three to one
        REQUIRE(t.hpet_counter() == now / 10);
        REQUIRE(t.get(0x390) == 1'000'000 - now % 1'000'000);
        REQUIRE(t.rtc.unix_seconds() == 1'000'000'000 + static_cast<std::int64_t>(now / 1'000'000'000));
        REQUIRE(t.tsc.tsc_at(t.board.clock.now()) == now * 5 / 2);
        // 14.31818 MHz against the nanosecond, to within a tick.
        REQUIRE(static_cast<std::uint64_t>(static_cast<double>(pm_ticks) * 88'000 / 315) <= now + 300);
    }
    REQUIRE(t.board.clock.now() > 86'400 * ns_per_second);
}

TEST_CASE("interrupts come at the rates of their counters") {
    Timers t;
    t.board.out(0x43, 0x34);
    t.board.out(0x40, 0x9c);
    t.board.out(0x40, 0x2e); // 11932: what 100 Hz systems use
    t.board.out(0x70, 0x0a);
    t.board.out(0x71, 0x26);
    t.board.out(0x70, 0x0b);
    t.board.out(0x71, 0x42); // 1024 Hz
    const auto hpet_write = [&](std::uint64_t offset, std::uint64_t value) {
        t.board.write<std::uint64_t>(t.board.memory, Hpet::mmio_base + offset, value);
    };
    hpet_write(0x140, 0x4c | 20 << 9); // timer 2, periodic, input 20
    hpet_write(0x148, t.hpet_counter() + 1'000'000);
    hpet_write(0x148, 1'000'000); // 100 Hz
    t.probe.edges = {};
    unsigned apic_interrupts = 0;
    for (int ms = 0; ms < 60'000; ++ms) {
        t.board.clock.advance(1'000'000);
        while (const auto vector = t[0].pending_interrupt()) {
            t[0].accept(*vector);
            t.set(0xb0, 0);
            ++apic_interrupts;
        }
    }
    REQUIRE(t.probe.edges[0] == 60ull * 105'000'000 / 88 / 11'932); // 5999
    REQUIRE(t.probe.edges[8] == 60 * 1024);
    REQUIRE(t.probe.edges[20] == 6000);
    REQUIRE(apic_interrupts == 60'000);
}
