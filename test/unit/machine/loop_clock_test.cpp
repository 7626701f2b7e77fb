// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/device_lock.hpp"
#include "devmodel/machine/guest_clock.hpp"
#include "devmodel/machine/loop_clock.hpp"

#include <string>

#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>

using namespace escalus;

namespace {
std::uint64_t fake_tsc = 0;
constexpr std::uint64_t hz = 2'000'000'000;

struct Fixture {
    boost::asio::io_context machines, network;
    DeviceLock lock;
    GuestClock machine{machines, lock, [] { return fake_tsc; }};
    LoopClock clock{network, lock, machine};
    std::string fired;
    Timer of_machine{machine, [&] { fired += 'm'; }}, of_card{clock, [&] { fired += 'c'; }};

    Fixture() {
        fake_tsc = 1'000'000'000'000;
        machine.set_frequency(hz);
    }
    void go_on() {
        machine.resume();
        clock.resumed();
    }
    void pause() {
        machine.pause();
        clock.paused();
    }
};
} // namespace

TEST_CASE_METHOD(Fixture, "two loops fire timers by the same time, each its own") {
    go_on();
    fake_tsc += hz;
    CHECK(clock.now() == ns_per_second);
    of_machine.arm(ns_per_second);
    of_card.arm(ns_per_second);
    CHECK(fired.empty());
    machines.poll();
    CHECK(fired == "m");
    network.poll();
    CHECK(fired == "mc");
}

TEST_CASE_METHOD(Fixture, "no timer of the other loop fires while time stands still, and none is lost") {
    of_card.arm(0);
    network.poll();
    CHECK(fired.empty());
    go_on();
    network.poll();
    CHECK(fired == "c");
    of_card.arm(0); // on its way through the loop
    pause();
    network.poll();
    CHECK(fired == "c");
    go_on();
    network.poll();
    CHECK(fired == "cc");
}
