// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/device_lock.hpp"
#include "devmodel/machine/guest_clock.hpp"

#include <string>
#include <thread>

#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>

using namespace escalus;

namespace {
std::uint64_t fake_tsc = 0;
constexpr std::uint64_t hz = 2'000'000'000;

struct Fixture {
    boost::asio::io_context loop;
    DeviceLock lock;
    GuestClock clock{loop, lock, [] { return fake_tsc; }};
    Fixture() {
        fake_tsc = 1'000'000'000'000;
        clock.set_frequency(hz);
    }
};
} // namespace

TEST_CASE("ticks and nanoseconds convert exactly") {
    const TscScale scale{2'495'999'996};
    CHECK(scale.to_ns(2'495'999'996) >= ns_per_second - 1);
    CHECK(scale.to_ns(2'495'999'996) <= ns_per_second);
    CHECK(scale.time_of(2'495'999'996) == ns_per_second);
    CHECK(scale.to_ticks(ns_per_second) == 2'495'999'996);
    const std::uint64_t century = 2'495'999'996ull * 3'155'760'000ull;
    CHECK(scale.to_ns(century) / ns_per_second >= 3'155'759'999);
    CHECK(scale.time_of(~0ull) <= INT64_MAX);
    for (const std::uint64_t ticks : {1ull, 12345ull, 99'999'999'999ull})
        CHECK(scale.to_ticks(scale.time_of(ticks)) >= ticks);
}

TEST_CASE_METHOD(Fixture, "guest time follows the TSC and stands still while paused") {
    CHECK(clock.now() == 0);
    fake_tsc += hz;
    CHECK(clock.now() == 0);
    const auto first = clock.resume();
    CHECK(first == fake_tsc); // base was 0
    fake_tsc += hz / 4;
    CHECK(clock.now() == ns_per_second / 4);
    clock.pause();
    fake_tsc += 10 * hz;
    CHECK(clock.now() == ns_per_second / 4);
    const auto reference = clock.reference_tsc();
    CHECK(clock.resume() == 10 * hz);
    CHECK(clock.now() == ns_per_second / 4);
    CHECK(clock.reference_tsc() == reference + 10 * hz);
    fake_tsc += hz;
    CHECK(clock.now() == ns_per_second * 5 / 4);
}

TEST_CASE_METHOD(Fixture, "timers fire in order of their deadlines, once due") {
    std::string fired;
    Timer a{clock, [&] { fired += 'a'; }}, b{clock, [&] { fired += 'b'; }}, c{clock, [&] { fired += 'c'; }};
    clock.resume();
    a.arm(2000);
    b.arm(1000);
    c.arm(3000);
    clock.fire_due();
    CHECK(fired.empty());
    fake_tsc += 2 * 2000; // 2 us
    clock.fire_due();
    CHECK(fired == "ba");
    CHECK_FALSE(a.armed());
    CHECK(c.armed());
    c.cancel();
    fake_tsc += hz;
    clock.fire_due();
    CHECK(fired == "ba");
}

TEST_CASE_METHOD(Fixture, "the TSC when a timer is due: it fires then, and not before") {
    unsigned fired = 0;
    Timer timer{clock, [&] { ++fired; }};
    CHECK(clock.tsc_when_due(TimerList::never) == 0);
    clock.set_frequency(2'495'999'996);
    clock.resume();
    timer.arm(2'000'000'003);
    const auto tsc = clock.tsc_when_due(2'000'000'003);
    CHECK(tsc - clock.base() >= 4'991'999'999);
    CHECK(tsc - clock.base() <= 4'992'000'010);
    fake_tsc = tsc - 10;
    clock.fire_due();
    CHECK(fired == 0);
    fake_tsc = tsc;
    clock.fire_due();
    CHECK(fired == 1);
}

TEST_CASE_METHOD(Fixture, "what is due already comes through the loop at once, and as often as it is armed") {
    unsigned fired = 0;
    Timer timer{clock, [&] { ++fired; }};
    clock.resume();
    fake_tsc += hz;
    timer.arm(0);
    CHECK(fired == 0); // never from within arm()
    loop.poll();
    CHECK(fired == 1);
    timer.arm(ns_per_second); // now
    timer.cancel();
    loop.poll();
    CHECK(fired == 1);
    timer.arm(ns_per_second);
    loop.poll();
    CHECK(fired == 2);
}

TEST_CASE_METHOD(Fixture, "a timer may re-arm, cancel and move others from its callback") {
    unsigned count = 0;
    bool other_fired = false;
    Timer other{clock, [&] { other_fired = true; }};
    Timer periodic{clock, [] {}};
    struct Again {
        GuestClock& clock;
        unsigned& count;
        Timer& other;
        Timer timer{clock, [this] {
                        ++count;
                        other.cancel();
                        timer.arm(timer.deadline()); // long past: not again in this round
                    }};
    } again{clock, count, other};
    clock.resume();
    again.timer.arm(10);
    other.arm(20);
    fake_tsc += hz;
    clock.fire_due();
    CHECK(count == 1);
    CHECK_FALSE(other_fired);
    clock.fire_due();
    CHECK(count == 2);
}

TEST_CASE("the real clock fires through the loop with the lock held") {
    boost::asio::io_context loop;
    DeviceLock lock;
    GuestClock clock{loop, lock};
    const TscMeter meter;
    const auto measured = meter.result();
    CHECK(measured > 100'000'000);
    clock.set_frequency(measured);
    bool locked = false;
    Timer far{clock, [] {}};
    Timer near{clock, [&] {
                   std::thread{[&] {
                       locked = !lock.try_lock();
                       if (!locked)
                           lock.unlock();
                   }}.join();
                   loop.stop();
               }};
    {
        const std::lock_guard guard{lock};
        clock.resume();
        far.arm(ns_per_second * 1000);
        near.arm(20'000'000);
    }
    loop.run();
    CHECK(locked);
    CHECK(clock.now() >= 20'000'000);
    CHECK(clock.now() < 10 * ns_per_second);
}
