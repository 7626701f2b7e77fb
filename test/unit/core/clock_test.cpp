// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/clock.hpp"
#include "devmodel/machine/manual_clock.hpp"

#include <vector>

#include <catch2/catch.hpp>

using namespace escalus;

TEST_CASE("ticks and times are inverse for every frequency") {
    for (const std::uint64_t hz :
         {1'193'182ull, 3'579'545ull, 14'318'180ull, 32'768ull, 1'000'000'000ull, 2'596'068'000ull})
        for (const std::uint64_t tick : {0ull, 1ull, 2ull, 65'535ull, 1'193'181ull, 123'456'789'012ull}) {
            INFO(hz << " Hz, tick " << tick);
            const auto at = time_of_tick(tick, hz);
            CHECK(ticks_at(at, hz) >= tick);
            if (tick != 0 && hz < ns_per_second)
                CHECK(ticks_at(at - 1, hz) == tick - 1);
        }
    // A century does not overflow.
    CHECK(ticks_at(100ll * 366 * 86400 * ns_per_second, 4'000'000'000) ==
          100ull * 366 * 86400 * 4'000'000'000);
}

TEST_CASE("timers fire in order, at their own time, and can be re-armed from within") {
    ManualClock clock;
    std::vector<std::pair<int, GuestTime>> fired;
    Timer late{clock, [&] { fired.emplace_back(2, clock.now()); }};
    Timer periodic{clock, [&] {
                       fired.emplace_back(1, clock.now());
                       if (fired.size() < 4)
                           periodic.arm(periodic.deadline() + 100);
                   }};
    late.arm(250);
    periodic.arm(100);
    CHECK(periodic.armed());
    clock.advance(50);
    CHECK(fired.empty());
    clock.advance(1000);
    CHECK(fired == std::vector<std::pair<int, GuestTime>>{{1, 100}, {1, 200}, {2, 250}, {1, 300}});
    CHECK_FALSE(periodic.armed());
    CHECK(clock.now() == 1050);
}

TEST_CASE("a cancelled or destroyed timer does not fire") {
    ManualClock clock;
    int count = 0;
    Timer timer{clock, [&] { ++count; }};
    timer.arm(10);
    timer.cancel();
    {
        Timer gone{clock, [&] { ++count; }};
        gone.arm(10);
    }
    clock.advance(100);
    CHECK(count == 0);
    timer.arm(5); // in the past: as soon as possible, not from within arm()
    CHECK(count == 0);
    clock.advance(0);
    CHECK(count == 1);
}
