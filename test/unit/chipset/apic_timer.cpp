// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/apic_timer.hpp"

#include "test/unit/chipset/apic_fixture.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using test::ApicBoard;

namespace {

constexpr unsigned eoi = 0xb0, lvt_timer = 0x320, initial = 0x380, current = 0x390, divide = 0x3e0;
constexpr std::uint32_t masked = 0x10000, periodic = 0x20000, deadline_mode = 0x40000;
constexpr std::uint32_t msr_deadline = 0x6e0;

struct Timed : ApicBoard {
    Timed() {
        enable_all();
        set(divide, 0xb); // by 1
    }
    void pass(GuestTime ns) { board.clock.advance(ns); }
    /// Takes all timer interrupts; how many there were.
    unsigned take() {
        unsigned count = 0;
        while (const auto vector = apic[0]->pending_interrupt()) {
            apic[0]->accept(*vector);
            set(eoi, 0);
            ++count;
        }
        return count;
    }
};

} // namespace

TEST_CASE("APIC timer: one-shot") {
    Timed t;
    t.set(lvt_timer, 0x40);
    t.set(initial, 1'000'000);
    t.pass(400'000);
    REQUIRE(t.get(current) == 600'000);
    t.pass(599'999);
    REQUIRE(t.get(current) == 1);
    REQUIRE(t.take() == 0);
    t.pass(1);
    REQUIRE(t.get(current) == 0);
    REQUIRE(t.take() == 1);
    t.pass(10'000'000);
    REQUIRE(t.take() == 0);
    REQUIRE(t.get(initial) == 1'000'000);
    t.set(initial, 500);
    t.set(initial, 0); // stops it
    t.pass(1000);
    REQUIRE(t.take() == 0);
}

TEST_CASE("APIC timer: every divider") {
    Timed t;
    for (const auto& [code, by] :
         {std::pair{0u, 2u}, {1u, 4u}, {2u, 8u}, {3u, 16u}, {8u, 32u}, {9u, 64u}, {10u, 128u}, {11u, 1u}}) {
        t.set(divide, code);
        REQUIRE(t.get(divide) == code);
        t.set(initial, 1'000'000);
        t.pass(1000 * by);
        REQUIRE(t.get(current) == 999'000);
    }
}

TEST_CASE("APIC timer: NetBSD's calibration: masked, free-running from 0x80000000") {
    Timed t;
    t.set(lvt_timer, masked | 0x40);
    t.set(initial, 0x80000000);
    t.pass(100'000'000);
    REQUIRE(t.get(current) == 0x80000000 - 100'000'000);
    t.pass(3 * ns_per_second);
    REQUIRE(t.get(current) == 0);
    REQUIRE(t.take() == 0);
    t.set(lvt_timer, 0x40); // it expired while masked
    t.pass(ns_per_second);
    REQUIRE(t.take() == 0);
}

TEST_CASE("APIC timer: periodic, without drift") {
    Timed t;
    t.set(lvt_timer, periodic | 0x40);
    t.set(initial, 333'333);
    unsigned count = 0;
    for (int i = 0; i < 3000; ++i) {
        t.pass(333'333);
        count += t.take();
    }
    REQUIRE(count == 3000);
    t.pass(111'111);
    REQUIRE(t.get(current) == 222'222);
    t.set(lvt_timer, periodic | masked | 0x40);
    t.pass(10 * 333'333);
    REQUIRE(t.get(current) == 222'222);
    REQUIRE(t.take() == 0);
    t.set(lvt_timer, periodic | 0x40); // resumes in phase
    t.pass(222'221);
    REQUIRE(t.take() == 0);
    t.pass(1);
    REQUIRE(t.take() == 1);
}

TEST_CASE("APIC timer: a new divider keeps the count") {
    Timed t;
    t.set(lvt_timer, 0x40);
    t.set(initial, 1000);
    t.pass(400);
    t.set(divide, 0); // by 2
    REQUIRE(t.get(current) == 600);
    t.pass(1199);
    REQUIRE(t.take() == 0);
    t.pass(1);
    REQUIRE(t.take() == 1);
}

TEST_CASE("APIC timer: an absurd period does not spin the host") {
    Timed t;
    t.set(lvt_timer, periodic | 0x40);
    t.set(initial, 1);
    unsigned kicks = t.cpu[0]->kicks;
    for (int i = 0; i < 1000; ++i) {
        t.pass(10'000);
        t.take();
    }
    REQUIRE(t.cpu[0]->kicks - kicks <= 251);
    REQUIRE(t.get(current) == 1);
    t.set(initial, 0xffffffff);
    t.set(divide, 0xa);
    t.pass(3600 * ns_per_second);
    static_cast<void>(t.get(current));
}

TEST_CASE("APIC timer: TSC deadline") {
    Timed t;
    t.set(lvt_timer, deadline_mode | 0x40);
    LocalApic& apic = t[0];
    REQUIRE(apic.write_msr(msr_deadline, 2'500'000)); // 1 ms
    REQUIRE(apic.read_msr(msr_deadline) == 2'500'000);
    t.pass(999'999);
    REQUIRE(t.take() == 0);
    t.pass(1);
    REQUIRE(t.take() == 1);
    REQUIRE(apic.read_msr(msr_deadline) == 0); // disarmed
    SECTION("in the past: at once") {
        REQUIRE(apic.write_msr(msr_deadline, 5));
        REQUIRE(t.take() == 1);
    }
    SECTION("zero disarms") {
        REQUIRE(apic.write_msr(msr_deadline, 5'000'000));
        REQUIRE(apic.write_msr(msr_deadline, 0));
        t.pass(ns_per_second);
        REQUIRE(t.take() == 0);
    }
    SECTION("the guest sets its TSC forward") {
        REQUIRE(apic.write_msr(msr_deadline, 1'000'000'000));
        t.tsc.offset = 999'000'000;
        apic.tsc_changed();
        REQUIRE(t.take() == 1);
    }
    SECTION("the guest sets its TSC back") {
        REQUIRE(apic.write_msr(msr_deadline, 5'000'000));
        t.pass(900'000);
        t.tsc.offset = 0 - std::uint64_t{2'000'000};
        apic.tsc_changed();
        t.pass(200'000);
        REQUIRE(t.take() == 0);
        t.pass(700'000);
        REQUIRE(t.take() == 1);
    }
    SECTION("the count registers are out of use, the mode change disarms") {
        t.set(initial, 1000);
        REQUIRE(t.get(initial) == 0);
        REQUIRE(t.get(current) == 0);
        REQUIRE(apic.write_msr(msr_deadline, 9'000'000));
        t.set(lvt_timer, 0x40);
        t.pass(ns_per_second);
        REQUIRE(t.take() == 0);
        REQUIRE(apic.write_msr(msr_deadline, 1)); // ignored in this mode
        REQUIRE(apic.read_msr(msr_deadline) == 0);
        REQUIRE(t.take() == 0);
    }
    SECTION("masked, it passes unseen") {
        t.set(lvt_timer, deadline_mode | masked | 0x40);
        REQUIRE(apic.write_msr(msr_deadline, 5'000'000));
        t.pass(ns_per_second);
        t.set(lvt_timer, deadline_mode | 0x40);
        t.pass(ns_per_second);
        REQUIRE(t.take() == 0);
    }
    SECTION("out of reach") {
        REQUIRE(apic.write_msr(msr_deadline, ~0ull));
        t.pass(ns_per_second);
        REQUIRE(t.take() == 0);
    }
}

TEST_CASE("APIC timer: TSC deadline is refused where it is not offered") {
    ManualClock clock;
    ApicBus bus;
    test::Cpu cpu;
    LocalApic apic{clock, nullptr, bus, cpu, {}};
    REQUIRE_FALSE(apic.write_msr(msr_deadline, 1));
    REQUIRE_FALSE(apic.read_msr(msr_deadline));
    apic.write_mmio(0xf0, std::array<std::uint8_t, 4>{0xff, 1, 0, 0});
    apic.write_mmio(lvt_timer, std::array<std::uint8_t, 4>{0x40, 0, 4, 0});
    std::array<std::uint8_t, 4> lvt{};
    apic.read_mmio(lvt_timer, lvt);
    REQUIRE(lvt == std::array<std::uint8_t, 4>{0x40, 0, 0, 0});
}

TEST_CASE("APIC timer: the reserved mode does no harm") {
    Timed t;
    t.set(lvt_timer, periodic | deadline_mode | 0x40);
    t.set(initial, 100);
    t.pass(1000);
    t.take();
    t.set(lvt_timer, periodic | 0x40);
    t.pass(1000);
    t.take();
    static_cast<void>(t.get(current));
}
