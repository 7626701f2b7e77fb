// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/mc146818.hpp"

#include "test/unit/chipset/board.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using test::Board;
using test::Probe;

namespace {

constexpr std::int64_t new_years_eve = 946'684'799; // 1999-12-31 23:59:59, a Friday
constexpr std::uint8_t pie = 0x40, aie = 0x20, uie = 0x10;

struct Rtc {
    Board board;
    Probe probe;
    Mc146818 rtc;

    explicit Rtc(std::int64_t seconds = new_years_eve, bool need_c = true)
        : rtc{board.clock, board.ports, IrqLine{probe, 8}, {seconds, need_c}} {
        probe.clock = &board.clock;
        rtc.reset(ResetKind::PowerOn);
    }
    unsigned get(unsigned index) {
        board.out(0x70, index);
        return board.in(0x71);
    }
    void set(unsigned index, unsigned value) {
        board.out(0x70, index);
        board.out(0x71, value);
    }
    void pass(GuestTime ns) { board.clock.advance(ns); }
    [[nodiscard]] unsigned edges() const { return probe.edges[8]; }
    [[nodiscard]] bool irq() const { return probe.levels[8]; }
};

} // namespace

TEST_CASE("RTC: the turn of the century, BCD and 24 hours") {
    Rtc r;
    REQUIRE(r.get(0) == 0x59);
    REQUIRE(r.get(2) == 0x59);
    REQUIRE(r.get(4) == 0x23);
    REQUIRE(r.get(6) == 6); // Friday
    REQUIRE(r.get(7) == 0x31);
    REQUIRE(r.get(8) == 0x12);
    REQUIRE(r.get(9) == 0x99);
    REQUIRE(r.get(0x32) == 0x19);
    REQUIRE(r.get(0x37) == 0x19);
    r.pass(ns_per_second);
    REQUIRE(r.get(0) == 0);
    REQUIRE(r.get(4) == 0);
    REQUIRE(r.get(6) == 7);
    REQUIRE(r.get(7) == 1);
    REQUIRE(r.get(8) == 1);
    REQUIRE(r.get(9) == 0);
    REQUIRE(r.get(0x32) == 0x20);
    REQUIRE(r.get(0x37) == 0x20);
    REQUIRE(r.rtc.unix_seconds() == new_years_eve + 1);
}

TEST_CASE("RTC: leap years, and a long time without a look") {
    Rtc r{951'782'399}; // 2000-02-28 23:59:59
    r.pass(ns_per_second);
    REQUIRE(r.get(7) == 0x29);
    r.pass(86'400 * ns_per_second);
    REQUIRE(r.get(7) == 0x01);
    REQUIRE(r.get(8) == 0x03);
    r.pass(1000 * 86'400 * ns_per_second);
    REQUIRE(r.rtc.unix_seconds() == 951'782'399 + 1 + 1001 * 86'400);
    REQUIRE(r.get(6) == (4 - 1 + 1000) % 7 + 1); // 2000-03-01 was a Wednesday
}

TEST_CASE("RTC: binary and 12-hour formats") {
    Rtc r{946'684'800 + 13 * 3600 + 45 * 60};
    REQUIRE(r.get(4) == 0x13);
    r.set(0x0b, 0x06);
    REQUIRE(r.get(4) == 13);
    REQUIRE(r.get(2) == 45);
    r.set(0x0b, 0x04);
    REQUIRE(r.get(4) == 0x81); // 1 pm
    r.set(0x0b, 0x00);
    REQUIRE(r.get(4) == 0x81);
    REQUIRE(r.get(2) == 0x45);
    r.pass(11 * 3600 * ns_per_second);
    REQUIRE(r.get(4) == 0x12); // midnight is 12 am
    r.pass(12 * 3600 * ns_per_second);
    REQUIRE(r.get(4) == 0x92);
}

TEST_CASE("RTC: setting the time under SET, as systems do") {
    Rtc r;
    r.pass(300'000'000);
    r.set(0x0b, 0x82);
    r.pass(5 * ns_per_second);
    REQUIRE(r.get(0) == 0x59); // stopped
    r.set(0, 0x30);
    r.set(2, 0x45);
    r.set(4, 0x12);
    r.set(6, 3);
    r.set(7, 0x05);
    r.set(8, 0x06);
    r.set(9, 0x07);
    r.set(0x32, 0x20);
    REQUIRE(r.get(0x37) == 0x20);
    r.set(0x0b, 0x02);
    REQUIRE(r.rtc.unix_seconds() == 1'181'047'530); // 2007-06-05 12:45:30
    r.pass(700'000'000);                            // the divider chain went on: next update now
    REQUIRE(r.get(0) == 0x31);
    REQUIRE(r.get(6) == 3);
}

TEST_CASE("RTC: registers written one by one without SET keep what was written") {
    Rtc r{951'782'300}; // 28 February
    r.set(7, 0x31);     // 31 February, for a moment
    REQUIRE(r.get(7) == 0x31);
    r.set(8, 0x03);
    r.pass(ns_per_second);
    REQUIRE(r.get(7) == 0x31);
    REQUIRE(r.get(8) == 0x03);
}

TEST_CASE("RTC: nonsense in the time registers does no harm") {
    Rtc r;
    for (unsigned value : {0x00u, 0x7fu, 0xc0u, 0xffu}) {
        for (unsigned index = 0; index < 10; ++index)
            r.set(index, value);
        r.set(0x32, value);
        r.set(0x0b, 0x70 | (value & 6));
        r.pass(3 * ns_per_second);
        for (unsigned index = 0; index < 10; ++index)
            static_cast<void>(r.get(index));
        static_cast<void>(r.get(0x0c));
    }
}

TEST_CASE("RTC: divider reset stops the clock; the first update comes half a second after its release") {
    Rtc r;
    r.set(0x0a, 0x76);
    r.pass(10 * ns_per_second);
    REQUIRE(r.get(0) == 0x59);
    REQUIRE((r.get(0x0a) & 0x80) == 0);
    r.set(0x0a, 0x26);
    r.pass(499'999'999);
    REQUIRE(r.get(0) == 0x59);
    r.pass(1);
    REQUIRE(r.get(0) == 0x00);
    r.pass(ns_per_second);
    REQUIRE(r.get(0) == 0x01);
}

TEST_CASE("RTC: UIP is set for the 244 us before an update and no longer") {
    Rtc r;
    REQUIRE((r.get(0x0a) & 0x80) == 0);
    r.pass(ns_per_second - Mc146818::uip_lead - 1);
    REQUIRE((r.get(0x0a) & 0x80) == 0);
    r.pass(1);
    REQUIRE((r.get(0x0a) & 0x80) != 0);
    REQUIRE(r.get(0) == 0x59);
    r.pass(Mc146818::uip_lead);
    REQUIRE((r.get(0x0a) & 0x80) == 0);
    REQUIRE(r.get(0) == 0);
    r.set(0x0b, 0x82); // not while SET
    r.pass(ns_per_second - 1000);
    REQUIRE((r.get(0x0a) & 0x80) == 0);
}

TEST_CASE("RTC: periodic interrupt rises with IRQF, falls with the read of C, is coalesced between") {
    Rtc r;
    r.set(0x0a, 0x26); // 1024 Hz
    static_cast<void>(r.get(0x0c));
    r.set(0x0b, 0x02 | pie);
    REQUIRE(r.edges() == 0);
    r.pass(976'563);
    REQUIRE(r.edges() == 1);
    REQUIRE(r.irq());
    r.pass(10 * 976'563);
    REQUIRE(r.edges() == 1); // IRQF is 1 already
    REQUIRE(r.get(0x0c) == 0xc0);
    REQUIRE_FALSE(r.irq());
    REQUIRE(r.get(0x0c) == 0);
    unsigned before = r.edges();
    for (int i = 0; i < 2048; ++i) {
        r.pass(488'282);
        static_cast<void>(r.get(0x0c));
    }
    REQUIRE(r.edges() - before >= 1023);
    REQUIRE(r.edges() - before <= 1025);
}

TEST_CASE("RTC: every periodic rate") {
    for (const auto& [rate, hertz] : {std::pair{1u, 256u},
                                      {2u, 128u},
                                      {3u, 8192u},
                                      {6u, 1024u},
                                      {9u, 128u},
                                      {10u, 64u},
                                      {13u, 8u},
                                      {15u, 2u}}) {
        Rtc r{new_years_eve, false};
        r.set(0x0a, 0x20 | rate);
        r.set(0x0b, 0x02 | pie);
        r.pass(10 * ns_per_second);
        REQUIRE(r.edges() == 10 * hertz);
    }
    Rtc r;
    r.set(0x0a, 0x20);
    r.set(0x0b, 0x02 | pie);
    r.pass(ns_per_second);
    REQUIRE(r.edges() == 0);
}

TEST_CASE("RTC: turning PIE off and on again starts the interrupts again") {
    Rtc r;
    r.set(0x0b, 0x02 | pie);
    r.pass(ns_per_second / 100);
    REQUIRE(r.irq());
    r.set(0x0b, 0x02); // IRQF is a function of the enables
    REQUIRE_FALSE(r.irq());
    static_cast<void>(r.get(0x0c));
    r.pass(ns_per_second);
    REQUIRE(r.edges() == 1);
    r.set(0x0b, 0x02 | pie); // PF is set already: at once
    REQUIRE(r.edges() == 2);
    static_cast<void>(r.get(0x0c));
    r.pass(976'563);
    REQUIRE(r.edges() == 3);
}

TEST_CASE("RTC: update-ended and alarm interrupts") {
    Rtc r;
    static_cast<void>(r.get(0x0c));
    SECTION("update") {
        r.set(0x0b, 0x02 | uie);
        r.pass(ns_per_second);
        REQUIRE(r.edges() == 1);
        REQUIRE((r.get(0x0c) & 0x90) == 0x90);
        r.pass(ns_per_second / 2);
        REQUIRE(r.edges() == 1);
        r.set(0x0b, 0x82 | uie); // SET clears UIE
        REQUIRE((r.get(0x0b) & uie) == 0);
    }
    SECTION("alarm at a time of day") {
        r.set(1, 0x10);
        r.set(3, 0x02);
        r.set(5, 0x00);
        r.set(0x0b, 0x02 | aie);
        r.pass(130 * ns_per_second);
        REQUIRE(r.edges() == 0);
        r.pass(ns_per_second); // 00:02:10
        REQUIRE(r.edges() == 1);
        REQUIRE((r.get(0x0c) & 0xa0) == 0xa0);
        r.pass(86'400 * ns_per_second);
        REQUIRE(r.edges() == 2);
    }
    SECTION("do-not-care bytes: each hour, each minute") {
        r.set(1, 0x30);
        r.set(3, 0xff);
        r.set(5, 0xc0);
        r.set(0x0b, 0x02 | aie);
        for (unsigned minute = 0; minute < 3; ++minute) {
            r.pass(60 * ns_per_second);
            REQUIRE(r.edges() == minute + 1);
            static_cast<void>(r.get(0x0c));
        }
    }
    SECTION("an alarm that never matches") {
        r.set(1, 0x75);
        r.set(0x0b, 0x02 | aie);
        r.pass(3 * 86'400 * ns_per_second);
        REQUIRE(r.edges() == 0);
    }
    SECTION("the flags tell without any interrupt enabled") {
        r.pass(ns_per_second);
        REQUIRE((r.get(0x0c) & 0xd0) == 0x50); // no IRQF
    }
}

TEST_CASE("RTC: a guest that was told it need not read C gets every edge") {
    Rtc r{new_years_eve, false};
    r.set(0x0a, 0x2a); // 64 Hz, as Windows
    r.set(0x0b, 0x02 | pie);
    r.pass(ns_per_second);
    REQUIRE(r.edges() == 64);
}

TEST_CASE("RTC: CMOS memory, index, read-only registers, resets") {
    Rtc r;
    r.rtc.set_cmos(0x15, 0x80);
    r.rtc.set_cmos(0x0b, 0xff); // not memory
    REQUIRE(r.get(0x15) == 0x80);
    REQUIRE(r.get(0x0b) == 0x02);
    r.set(0x5b, 0xa5);
    REQUIRE(r.rtc.cmos(0x5b) == 0xa5);
    r.set(0x0d, 0);
    REQUIRE(r.get(0x0d) == 0x80);
    r.set(0x0c, 0xff);
    REQUIRE((r.get(0x0c) & 0x80) == 0);
    REQUIRE(r.board.in(0x70) == 0xff);
    r.board.out(0x70, 0x80 | 0x15);
    REQUIRE(r.rtc.nmi_masked());
    REQUIRE(r.board.in(0x71) == 0x80);
    r.board.out(0x70, 0x15);
    REQUIRE_FALSE(r.rtc.nmi_masked());
    r.board.write<std::uint16_t>(r.board.ports, 0x70, 0x775b); // index and data at once
    REQUIRE(r.rtc.cmos(0x5b) == 0x77);

    r.set(0x0b, 0x02 | pie | aie | uie);
    r.pass(2 * ns_per_second);
    REQUIRE(r.irq());
    r.rtc.reset(ResetKind::System);
    REQUIRE_FALSE(r.irq());
    REQUIRE(r.get(0x0b) == 0x02);
    REQUIRE(r.get(0x5b) == 0x77);
    REQUIRE(r.rtc.unix_seconds() == new_years_eve + 2);
}

TEST_CASE("RTC: absurd initial times") {
    Rtc early{INT64_MIN}, late{INT64_MAX}, before{-1};
    REQUIRE(late.get(9) == 0x99);
    REQUIRE(late.get(0x32) == 0x99);
    REQUIRE(before.get(9) == 0x69);
    REQUIRE(before.get(0) == 0x59);
    REQUIRE(early.get(9) == 0x01);
}
