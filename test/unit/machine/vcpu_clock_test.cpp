// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/vcpu_clock.hpp"

#include <string>

#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>

using namespace escalus;

namespace {
std::uint64_t fake_tsc = 0;
constexpr std::uint64_t hz = 2'000'000'000; // two ticks a nanosecond

struct Fixture {
    boost::asio::io_context loop;
    DeviceLock lock;
    GuestClock machine{loop, lock, [] { return fake_tsc; }};
    unsigned called = 0;
    VcpuClock clock{machine, [this] { ++called; }};
    std::string fired;
    Timer a{clock, [this] { fired += 'a'; }}, b{clock, [this] { fired += 'b'; }};

    Fixture() {
        fake_tsc = 1'000'000'000'000;
        machine.set_frequency(hz);
    }
};
} // namespace

TEST_CASE_METHOD(Fixture, "a vCPU's timers are due by the host's TSC, and fire when it says so") {
    machine.resume();
    const auto start = fake_tsc;
    CHECK(clock.deadline() == TimerList::never);
    CHECK(clock.deadline_tsc() == 0);
    a.arm(5'000);
    b.arm(3'000);
    CHECK(clock.deadline() == 3'000);
    CHECK(clock.deadline_tsc() >= start + 6'000);
    CHECK(clock.deadline_tsc() <= start + 6'010);
    fake_tsc = start + 5'999;
    clock.fire_due();
    CHECK(fired.empty());
    fake_tsc = clock.deadline_tsc();
    clock.fire_due();
    CHECK(fired == "b");
    CHECK(clock.deadline() == 5'000);
    b.arm(4'000);
    fake_tsc = start + 20'000;
    clock.fire_due();
    CHECK(fired == "bba");
    CHECK(clock.deadline_tsc() == 0);
    a.arm(50'000);
    a.cancel();
    CHECK(clock.deadline_tsc() == 0);
}

TEST_CASE_METHOD(Fixture, "a vCPU is called when its nearest timer comes nearer, but not by what it fires") {
    machine.resume();
    a.arm(5'000);
    CHECK(called == 1);
    b.arm(6'000);
    a.arm(5'500);
    CHECK(called == 1);
    b.arm(1'000);
    CHECK(called == 2);
    Timer again{clock, [&] {
                    fired += 'c';
                    again.arm(clock.now() - 10); // and so once only
                }};
    again.arm(500);
    CHECK(called == 3);
    fake_tsc += 2 * 700;
    clock.fire_due();
    CHECK(fired == "c");
    CHECK(called == 3);
    CHECK(clock.deadline() == 690);
}

TEST_CASE_METHOD(Fixture, "a vCPU's timers wait while the machine's time stands still") {
    a.arm(1'000);
    fake_tsc += hz;
    clock.fire_due();
    CHECK(fired.empty());
    machine.resume();
    clock.resumed();
    CHECK(clock.deadline_tsc() >= fake_tsc + 2'000);
    fake_tsc += 2 * 400;
    machine.pause();
    fake_tsc += hz;
    clock.fire_due();
    CHECK(fired.empty());
    machine.resume();
    clock.resumed();
    CHECK(clock.deadline_tsc() >= fake_tsc + 2 * 600);
    CHECK(clock.deadline_tsc() <= fake_tsc + 2 * 600 + 10);
    fake_tsc += 2 * 601;
    clock.fire_due();
    CHECK(fired == "a");
}
