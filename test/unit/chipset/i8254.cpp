// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/i8254.hpp"

#include "devmodel/devices/chipset/oscillator.hpp"
#include "test/unit/chipset/board.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using test::Board;
using test::Probe;

namespace {

constexpr std::uint16_t control = 0x43, port_b = 0x61;

struct Pit {
    Board board;
    Probe probe;
    I8254 pit{board.clock, board.ports, IrqLine{probe, 0}};

    Pit() {
        probe.clock = &board.clock;
        pit.reset(ResetKind::PowerOn);
        // Stand in the middle of a tick, so that whole ticks can be added without thinking of fractions.
        board.clock.advance(100 * 838 + 400);
    }
    [[nodiscard]] std::uint64_t tick() const { return pit_oscillator.ticks(board.clock.now()); }
    void ticks(std::uint64_t count) {
        board.clock.advance(pit_oscillator.time_of(tick() + count) - board.clock.now());
    }
    void program(unsigned channel, unsigned mode, unsigned count, bool bcd = false) {
        board.out(control, channel << 6 | 0x30 | mode << 1 | (bcd ? 1 : 0));
        board.out(static_cast<std::uint16_t>(0x40 + channel), count & 0xff);
        board.out(static_cast<std::uint16_t>(0x40 + channel), count >> 8);
    }
    unsigned word(unsigned channel) {
        const unsigned low = board.in(static_cast<std::uint16_t>(0x40 + channel));
        return low | static_cast<unsigned>(board.in(static_cast<std::uint16_t>(0x40 + channel)) << 8);
    }
    unsigned latched(unsigned channel) {
        board.out(control, channel << 6);
        return word(channel);
    }
    unsigned status(unsigned channel) {
        board.out(control, 0xe0 | 2u << channel);
        return board.in(static_cast<std::uint16_t>(0x40 + channel));
    }
    bool out2() { return (board.in(port_b)&0x20) != 0; }
    void gate2(bool level) { board.out(port_b, level ? 1 : 0); }
    [[nodiscard]] bool irq0() const { return probe.levels[0]; }
};

} // namespace

TEST_CASE("PIT mode 0: OUT falls at programming and rises N + 1 ticks later, once") {
    Pit p;
    p.program(0, 0, 1000);
    REQUIRE_FALSE(p.irq0());
    REQUIRE((p.status(0) & 0xc0) == 0x40); // null count until the next tick
    p.ticks(1);
    REQUIRE((p.status(0) & 0xc0) == 0x00);
    REQUIRE(p.latched(0) == 1000);
    p.ticks(999);
    REQUIRE(p.latched(0) == 1);
    REQUIRE_FALSE(p.irq0());
    p.ticks(1);
    REQUIRE(p.latched(0) == 0);
    REQUIRE(p.irq0());
    p.ticks(1);
    REQUIRE(p.latched(0) == 0xffff); // goes on counting
    p.ticks(1'000'000);
    REQUIRE(p.probe.edges[0] == 1);
    REQUIRE((p.status(0) & 0x80) == 0x80);
}

TEST_CASE("PIT mode 0: the first byte of a new count stops the counter") {
    Pit p;
    p.program(0, 0, 1000);
    p.ticks(101);
    p.board.out(0x40, 0x10);
    p.ticks(5000);
    REQUIRE_FALSE(p.irq0());
    REQUIRE(p.latched(0) == 900);
    p.board.out(0x40, 0x00);
    p.ticks(17);
    REQUIRE(p.irq0());
}

TEST_CASE("PIT mode 2: a pulse every N ticks, and the count never shows 0") {
    Pit p;
    p.program(0, 2, 100);
    REQUIRE(p.probe.edges[0] == 1); // OUT was low before the control word
    p.ticks(1);
    REQUIRE(p.latched(0) == 100);
    p.ticks(99);
    REQUIRE(p.latched(0) == 1);
    REQUIRE((p.status(0) & 0x80) == 0);
    REQUIRE(p.probe.edges[0] == 1);
    p.ticks(1);
    REQUIRE(p.latched(0) == 100);
    REQUIRE(p.probe.edges[0] == 2);
    for (int i = 0; i < 1000; ++i)
        p.ticks(100);
    REQUIRE(p.probe.edges[0] == 1002);
}

TEST_CASE("PIT mode 2: a new count takes effect at the end of the period") {
    Pit p;
    p.program(0, 2, 1000);
    p.ticks(1 + 400);
    p.board.out(0x40, 500 & 0xff);
    p.board.out(0x40, 500 >> 8);
    REQUIRE(p.latched(0) == 600);
    REQUIRE((p.status(0) & 0x40) != 0); // null count
    p.ticks(600);
    REQUIRE(p.latched(0) == 500);
    REQUIRE((p.status(0) & 0x40) == 0);
    p.probe.edges[0] = 0;
    p.ticks(500);
    REQUIRE(p.probe.edges[0] == 1);
}

TEST_CASE("PIT: half a count written between two reads or periods changes nothing") {
    Pit p;
    p.program(0, 2, 0x1000);
    p.ticks(1);
    p.board.out(0x40, 0x34);
    p.ticks(0x1000);
    REQUIRE(p.latched(0) == 0x1000);
    p.board.out(0x40, 0x12);
    p.ticks(0x1000);
    REQUIRE(p.latched(0) == 0x1234);
}

TEST_CASE("PIT: a new control word between the two bytes starts over") {
    Pit p;
    p.board.out(control, 0x34);
    p.board.out(0x40, 0x11);
    p.board.out(control, 0x34);
    p.board.out(0x40, 0x22);
    p.board.out(0x40, 0x33);
    p.ticks(1);
    REQUIRE(p.latched(0) == 0x3322);
}

TEST_CASE("PIT mode 3: square wave that counts by two") {
    Pit p;
    p.gate2(true);
    SECTION("even") {
        p.program(2, 3, 10);
        p.ticks(1);
        for (int period = 0; period < 3; ++period)
            for (unsigned i = 0; i < 10; ++i) {
                REQUIRE(p.latched(2) == 10 - 2 * (i % 5));
                REQUIRE(p.out2() == (i < 5));
                p.ticks(1);
            }
    }
    SECTION("odd: high for (N + 1) / 2, low for (N - 1) / 2, from an even value") {
        p.program(2, 3, 9);
        p.ticks(1);
        for (int period = 0; period < 3; ++period)
            for (unsigned i = 0; i < 9; ++i) {
                REQUIRE(p.latched(2) == 8 - 2 * (i < 5 ? i : i - 5));
                REQUIRE(p.out2() == (i < 5));
                p.ticks(1);
            }
    }
    SECTION("a new count begins with the next half cycle") {
        p.program(2, 3, 100);
        p.ticks(1 + 20);
        p.board.out(0x42, 40);
        p.board.out(0x42, 0);
        REQUIRE(p.latched(2) == 60);
        p.ticks(30); // end of the high half
        REQUIRE_FALSE(p.out2());
        REQUIRE(p.latched(2) == 40);
        p.ticks(20);
        REQUIRE(p.out2());
    }
}

TEST_CASE("PIT mode 3 on channel 0: one IRQ a period") {
    Pit p;
    p.program(0, 3, 0); // 65536: the BIOS tick
    p.probe.edges[0] = 0;
    p.ticks(1 + 65536 * 18);
    REQUIRE(p.probe.edges[0] == 18);
    // The rate guests know: 1193182 / 65536 a second.
    p.probe.times.clear();
    p.board.clock.advance(3600 * ns_per_second);
    REQUIRE(p.probe.times.size() == 65'543);
    for (std::size_t i = 1; i < p.probe.times.size(); ++i)
        REQUIRE(p.probe.times[i] - p.probe.times[i - 1] >= 54'925'000);
}

TEST_CASE("PIT mode 3: a new count on channel 0 keeps interrupts coming") {
    Pit p;
    p.program(0, 3, 1000);
    p.ticks(100);
    p.board.out(0x40, 0x64);
    p.board.out(0x40, 0x00); // 100, from the end of the high half on
    p.probe.edges[0] = 0;
    p.ticks(401 + 50 + 1000);
    REQUIRE(p.probe.edges[0] >= 10);
    REQUIRE(p.probe.edges[0] <= 11);
}

TEST_CASE("PIT mode 1: the gate of channel 2 triggers a one-shot, again and again") {
    Pit p;
    p.program(2, 1, 50);
    REQUIRE(p.out2());
    p.ticks(1000);
    REQUIRE(p.out2()); // not triggered yet
    p.gate2(true);
    p.ticks(1);
    REQUIRE_FALSE(p.out2());
    p.ticks(30);
    p.gate2(false); // falling has no effect
    p.gate2(true);  // retrigger
    p.ticks(50);
    REQUIRE_FALSE(p.out2());
    p.ticks(1);
    REQUIRE(p.out2());
}

TEST_CASE("PIT mode 4: software strobe") {
    Pit p;
    p.gate2(true);
    p.program(2, 4, 20);
    REQUIRE(p.out2());
    p.ticks(20);
    REQUIRE(p.out2());
    p.ticks(1);
    REQUIRE_FALSE(p.out2()); // one tick
    p.ticks(1);
    REQUIRE(p.out2());
    p.ticks(100'000);
    REQUIRE(p.out2());

    p.program(0, 4, 20);
    p.probe.edges[0] = 0;
    p.ticks(21);
    REQUIRE(p.probe.edges[0] == 0);
    p.ticks(1);
    REQUIRE(p.probe.edges[0] == 1);
    p.ticks(200'000);
    REQUIRE(p.probe.edges[0] == 1);
}

TEST_CASE("PIT mode 5: hardware strobe") {
    Pit p;
    p.program(2, 5, 20);
    p.ticks(100);
    REQUIRE(p.out2());
    p.gate2(true);
    p.ticks(1 + 19);
    REQUIRE(p.out2());
    p.ticks(1);
    REQUIRE_FALSE(p.out2());
    p.ticks(1);
    REQUIRE(p.out2());
}

TEST_CASE("PIT: the gate suspends modes 0 and 4 and restarts mode 2") {
    Pit p;
    p.program(2, 0, 1000); // gate is low
    p.ticks(10);
    REQUIRE(p.latched(2) == 1000); // loaded, not counting
    p.gate2(true);
    p.ticks(100);
    REQUIRE(p.latched(2) == 900);
    p.gate2(false);
    p.ticks(5000);
    REQUIRE(p.latched(2) == 900);
    REQUIRE_FALSE(p.out2());
    p.gate2(true);
    p.ticks(900);
    REQUIRE(p.out2()); // what Linux and Solaris wait for at port 0x61

    p.program(2, 2, 1000);
    p.ticks(1 + 300);
    REQUIRE(p.latched(2) == 700);
    p.gate2(false);
    REQUIRE(p.out2());
    p.ticks(77);
    REQUIRE(p.latched(2) == 700);
    p.gate2(true);
    p.ticks(1);
    REQUIRE(p.latched(2) == 1000);
}

TEST_CASE("PIT: Solaris' check: read-back gives status, low, high, in that order") {
    Pit p;
    p.program(0, 0, 0xffff);
    p.ticks(0x123);
    p.board.out(control, 0xc2);
    p.ticks(500);
    p.board.out(control, 0xc2); // a second latch before the read is ignored
    REQUIRE(p.board.in(0x40) == 0x30);
    REQUIRE(p.word(0) == 0xffff - 0x122);
    REQUIRE(p.word(0) == 0xffff - 0x122 - 500); // the latch is used up
}

TEST_CASE("PIT: read-back of several counters at once") {
    Pit p;
    p.gate2(true);
    p.program(0, 2, 0x8000);
    p.program(1, 2, 18);
    p.program(2, 0, 0x8000);
    p.ticks(0x101);
    p.board.out(control, 0xc0 | 0x20 | 0x0e); // status of all
    REQUIRE(p.board.in(0x40) == 0xb4);
    REQUIRE((p.board.in(0x41) & 0x3f) == 0x34);
    REQUIRE(p.board.in(0x42) == 0x30);
    p.board.out(control, 0xc0 | 0x10 | 0x0a); // counts of 0 and 2
    p.ticks(3);
    REQUIRE(p.word(0) == 0x8000 - 0x100);
    REQUIRE(p.word(2) == 0x8000 - 0x100);
}

TEST_CASE("PIT: a latched count is one moment, however late its bytes are read") {
    Pit p;
    p.program(0, 2, 0);
    p.ticks(0x101); // count 0xff00, about to borrow
    p.board.out(control, 0x00);
    const unsigned low = p.board.in(0x40);
    p.ticks(0x200);
    REQUIRE((low | p.board.in(0x40) << 8u) == 0xff00);
}

TEST_CASE("PIT: single-byte access modes") {
    Pit p;
    p.board.out(control, 0x14); // low byte only, mode 2
    p.board.out(0x40, 200);
    p.ticks(1);
    REQUIRE(p.board.in(0x40) == 200);
    p.ticks(1);
    REQUIRE(p.board.in(0x40) == 199);
    p.board.out(control, 0x24); // high byte only
    p.board.out(0x40, 0x12);
    p.ticks(1);
    REQUIRE(p.board.in(0x40) == 0x12);
    p.ticks(1);
    REQUIRE(p.board.in(0x40) == 0x11);
    p.board.out(control, 0x00);
    REQUIRE(p.board.in(0x40) == 0x11);
    p.ticks(0x100);
    REQUIRE(p.board.in(0x40) == 0x10);
}

TEST_CASE("PIT: reading and writing have toggles of their own") {
    Pit p;
    p.program(0, 2, 0x4444);
    p.ticks(1);
    p.board.out(control, 0x00);
    REQUIRE(p.board.in(0x40) == 0x44);
    p.board.out(0x40, 0x00);
    REQUIRE(p.board.in(0x40) == 0x44);
    p.board.out(0x40, 0x20);
    p.ticks(0x4444);
    REQUIRE(p.latched(0) == 0x2000);
}

TEST_CASE("PIT: BCD") {
    Pit p;
    p.program(0, 2, 0x1000, true);
    p.ticks(1);
    REQUIRE(p.latched(0) == 0x1000);
    p.ticks(1);
    REQUIRE(p.latched(0) == 0x0999);
    p.ticks(899);
    REQUIRE(p.latched(0) == 0x0100);
    p.program(0, 0, 0, true); // 10,000
    p.ticks(1);
    REQUIRE(p.latched(0) == 0);
    p.ticks(1);
    REQUIRE(p.latched(0) == 0x9999);
    p.ticks(9998);
    REQUIRE_FALSE(p.irq0());
    p.ticks(1);
    REQUIRE(p.irq0());
    p.ticks(1);
    REQUIRE(p.latched(0) == 0x9999);
    p.program(0, 2, 0xffff, true); // not BCD at all
    p.ticks(100'000);
    static_cast<void>(p.latched(0));
}

TEST_CASE("PIT: Haiku's loop on channel 2: restarts at 0xffff, wraps, latch by latch") {
    Pit p;
    p.gate2(false);
    p.program(2, 0, 0xffff);
    p.gate2(true);
    p.ticks(1);
    unsigned previous = p.latched(2);
    REQUIRE(previous >> 8 == 0xff);
    for (int i = 0; i < 60; ++i) {
        p.ticks(1000);
        const unsigned now = p.latched(2);
        REQUIRE(now == previous - 1000);
        previous = now;
    }
}

TEST_CASE("port 0x61: stored bits, refresh toggle") {
    Pit p;
    p.board.out(port_b, 0xff);
    REQUIRE((p.board.in(port_b)&0xcf) == 0x0f);
    p.board.out(port_b, 0);
    unsigned toggles = 0;
    unsigned last = p.board.in(port_b)&0x10;
    for (int i = 0; i < 1800; ++i) {
        p.ticks(1);
        const unsigned now = p.board.in(port_b)&0x10;
        toggles += now != last ? 1 : 0;
        last = now;
    }
    REQUIRE(toggles == 100); // every 18 ticks
}

TEST_CASE("PIT: no timer is armed when channel 0 cannot interrupt") {
    struct CountingClock final : Clock {
        [[nodiscard]] GuestTime now() const override { return 1000; }
        void schedule(Timer&, GuestTime) override { ++armed; }
        void cancel(Timer&) override { armed = 0; }
        int armed = 0;
    } clock;
    Bus ports{"ports", 0x10000};
    I8254 pit{clock, ports, IrqLine{}};
    const auto out = [&](std::uint16_t port, std::uint8_t value) { ports.write(port, {&value, 1}); };
    pit.reset(ResetKind::PowerOn);
    out(control, 0xb4); // channel 2, mode 2
    out(0x42, 1);
    out(0x42, 0);
    out(control, 0x30);
    REQUIRE(clock.armed == 0);
    out(0x40, 1);
    REQUIRE(clock.armed == 0);
    out(0x40, 0);
    REQUIRE(clock.armed == 1);
    out(control, 0x32); // mode 1: needs a gate that channel 0 does not have
    REQUIRE(clock.armed == 0);
}

namespace {
/// A host that is busy: timers fire only when it finds the time.
struct LateClock final : Clock {
    [[nodiscard]] GuestTime now() const override { return time; }
    void schedule(Timer& timer, GuestTime at) override { armed = &timer, deadline = at; }
    void cancel(Timer&) override { armed = nullptr; }
    bool fire_due() {
        if (armed == nullptr || deadline > time)
            return false;
        Timer* timer = std::exchange(armed, nullptr);
        timer->fire();
        return true;
    }
    GuestTime time = 0;
    Timer* armed = nullptr;
    GuestTime deadline = 0;
};
} // namespace

TEST_CASE("PIT: missed periods: no storm, short stalls are made up for, long ones are not") {
    LateClock clock;
    Bus ports{"ports", 0x10000};
    Probe probe;
    I8254 pit{clock, ports, IrqLine{probe, 0}};
    const auto out = [&](std::uint16_t port, std::uint8_t value) { ports.write(port, {&value, 1}); };
    pit.reset(ResetKind::PowerOn);
    out(control, 0x34);
    out(0x40, 0xa9);
    out(0x40, 0x04); // 1193: 1 kHz
    probe.edges[0] = 0;
    const auto run_until = [&](GuestTime end) {
        while (clock.time < end) {
            clock.time += 10'000;
            clock.fire_due();
        }
    };
    run_until(100'000'000);
    REQUIRE(probe.edges[0] == 100);
    clock.time += 8'000'000; // eight periods without the host
    clock.fire_due();
    REQUIRE(probe.edges[0] == 101); // one at once
    run_until(200'000'000);
    REQUIRE(probe.edges[0] == 200); // the others followed
    clock.time += 2 * ns_per_second;
    clock.fire_due();
    run_until(2'300'000'000);
    REQUIRE(probe.edges[0] == 200 + 16 + 100); // the backlog is bounded
}

TEST_CASE("PIT: an absurd rate does not spin the host") {
    Pit p;
    p.program(0, 2, 1); // illegal, counts as 2: 600 kHz
    p.probe.edges[0] = 0;
    p.board.clock.advance(ns_per_second / 10);
    REQUIRE(p.probe.edges[0] <= 2500);
    REQUIRE(p.probe.edges[0] >= 2000);
    p.program(0, 3, 1);
    p.board.clock.advance(ns_per_second / 100);
    p.program(0, 0, 0);
    p.program(2, 3, 1);
    p.gate2(true);
    p.board.clock.advance(ns_per_second * 3600);
    static_cast<void>(p.latched(2));
}

TEST_CASE("PIT: reset stops it and lowers the line") {
    Pit p;
    p.program(0, 2, 100);
    REQUIRE(p.irq0());
    p.pit.reset(ResetKind::System);
    REQUIRE_FALSE(p.irq0());
    p.probe.edges[0] = 0;
    p.board.clock.advance(ns_per_second);
    REQUIRE(p.probe.edges[0] == 0);
}
