// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/hpet.hpp"

#include "test/unit/chipset/board.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using test::Board;
using test::Probe;

namespace {

constexpr std::uint64_t level = 2, enable = 4, periodic = 8, set_value = 0x40, mode32 = 0x100;

struct Chip {
    Board board;
    Probe legacy_lines, io_apic;
    LegacyRouting legacy{IrqLine{legacy_lines, 0}, IrqLine{legacy_lines, 8}};
    Hpet hpet{board.clock, board.memory, legacy, io_apic, 0x00f00000};

    Chip() { io_apic.clock = &board.clock; }
    std::uint64_t get(std::uint64_t offset) {
        return board.read<std::uint64_t>(board.memory, Hpet::mmio_base + offset);
    }
    std::uint32_t get32(std::uint64_t offset) {
        return board.read<std::uint32_t>(board.memory, Hpet::mmio_base + offset);
    }
    void set(std::uint64_t offset, std::uint64_t value) {
        board.write<std::uint64_t>(board.memory, Hpet::mmio_base + offset, value);
    }
    void set32(std::uint64_t offset, std::uint32_t value) {
        board.write<std::uint32_t>(board.memory, Hpet::mmio_base + offset, value);
    }
    void ticks(std::int64_t count) { board.clock.advance(count * 10); }
    static constexpr std::uint64_t config(unsigned n) { return 0x100 + 0x20 * n; }
    static constexpr std::uint64_t comparator(unsigned n) { return 0x108 + 0x20 * n; }
    static constexpr std::uint64_t route(unsigned input) { return std::uint64_t{input} << 9; }
};

} // namespace

TEST_CASE("HPET: capabilities") {
    Chip c;
    REQUIRE(c.get(0) >> 32 == 10'000'000); // fs
    REQUIRE((c.get(0) & 0xffff0000) == 0x80860000);
    REQUIRE((c.get(0) & 0xffff) == 0xa201);
    REQUIRE(c.get32(4) == 10'000'000);
    REQUIRE(c.get(Chip::config(0)) >> 32 == 0x00f00000);
    REQUIRE((c.get(Chip::config(2)) & 0x30) == 0x30);
    c.set(0, 0);
    REQUIRE(c.get32(4) == 10'000'000);
    c.set(0x3f8, ~0ull); // reserved space
    REQUIRE(c.get(0x3f8) == 0);
}

TEST_CASE("HPET: the main counter runs at 100 MHz while enabled") {
    Chip c;
    c.ticks(1000);
    REQUIRE(c.get(0xf0) == 0);
    c.set(0xf0, 0xffff'fff0);
    c.set(0x10, 1);
    c.ticks(0x20);
    REQUIRE(c.get(0xf0) == 0x1'0000'0010);
    REQUIRE(c.get32(0xf0) == 0x10);
    REQUIRE(c.get32(0xf4) == 1);
    c.set(0x10, 0);
    c.ticks(5);
    REQUIRE(c.get(0xf0) == 0x1'0000'0010);
    c.set(0x10, 1);
    c.ticks(5);
    REQUIRE(c.get(0xf0) == 0x1'0000'0015);
}

TEST_CASE("HPET: a one-shot comparator interrupts once at its count") {
    Chip c;
    c.set(0x10, 1);
    c.set(Chip::config(2), enable | Chip::route(21));
    c.set(Chip::comparator(2), 1000);
    c.ticks(999);
    REQUIRE(c.io_apic.edges[21] == 0);
    c.ticks(1);
    REQUIRE(c.io_apic.edges[21] == 1);
    REQUIRE_FALSE(c.io_apic.levels[21]); // an edge
    c.ticks(1'000'000'000);
    REQUIRE(c.io_apic.edges[21] == 1);
    REQUIRE(c.get(Chip::comparator(2)) == 1000);
    c.set(Chip::comparator(2), c.get(0xf0) + 50);
    c.ticks(50);
    REQUIRE(c.io_apic.edges[21] == 2);
}

TEST_CASE("HPET: routes that do not exist are refused") {
    Chip c;
    c.set(Chip::config(1), enable | Chip::route(23));
    REQUIRE((c.get(Chip::config(1)) & 0x3e00) == Chip::route(23));
    c.set(Chip::config(1), enable | Chip::route(3));
    REQUIRE((c.get(Chip::config(1)) & 0x3e00) == Chip::route(23));
}

TEST_CASE("HPET: periodic mode as Linux sets it up") {
    Chip c;
    c.set32(0x10, 0);
    c.set32(0xf0, 0);
    c.set32(0xf4, 0);
    c.set32(0x10, 3); // legacy
    c.set32(Chip::config(0), enable | periodic | set_value | mode32);
    const std::uint32_t delta = 400'000; // 250 Hz
    c.set32(Chip::comparator(0), c.get32(0xf0) + delta);
    REQUIRE((c.get32(Chip::config(0)) & set_value) == 0);
    c.ticks(100);
    c.set32(Chip::comparator(0), delta);
    REQUIRE(c.get32(Chip::comparator(0)) == delta);
    c.ticks(100'000'000 - 100);
    REQUIRE(c.legacy_lines.edges[0] == 250);
    REQUIRE(c.get32(Chip::comparator(0)) == 251 * delta);
    c.ticks(60ll * 100'000'000); // through the 32-bit wrap
    REQUIRE(c.legacy_lines.edges[0] == 61 * 250);
}

TEST_CASE("HPET: 64-bit accumulator in two halves") {
    Chip c;
    c.set(0xf0, 0x1'0000'0000);
    c.set(0x10, 1);
    c.set(Chip::config(0), enable | periodic | set_value | Chip::route(20));
    c.set32(Chip::comparator(0), 500);
    c.set32(Chip::comparator(0) + 4, 1);
    REQUIRE(c.get(Chip::comparator(0)) == 0x1'0000'01f4);
    c.set(Chip::comparator(0), 10'000); // the period
    REQUIRE(c.get(Chip::comparator(0)) == 0x1'0000'01f4);
    c.ticks(500);
    REQUIRE(c.io_apic.edges[20] == 1);
    REQUIRE(c.get(Chip::comparator(0)) == 0x1'0000'01f4 + 10'000);
    c.ticks(100'000);
    REQUIRE(c.io_apic.edges[20] == 11);
}

TEST_CASE("HPET: comparators and the wrap: future is future, a moment ago is now") {
    Chip c;
    c.set(0xf0, 0xc000'0000);
    c.set(0x10, 1);
    c.set(Chip::config(1), enable | mode32 | Chip::route(20));
    SECTION("more than 2^31 ahead in 32-bit mode is the future") {
        c.set32(Chip::comparator(1), 0x5000'0000); // 0x9000'0000 ahead
        c.ticks(0x8fff'ffff);
        REQUIRE(c.io_apic.edges[20] == 0);
        c.ticks(1);
        REQUIRE(c.io_apic.edges[20] == 1);
        c.ticks(0x1'0000'0000); // in 32-bit mode it matches again after each wrap
        REQUIRE(c.io_apic.edges[20] == 2);
    }
    SECTION("set a little late: fires at once") {
        c.ticks(1000);
        c.set32(Chip::comparator(1), 0xc000'0000 + 900);
        c.ticks(1);
        REQUIRE(c.io_apic.edges[20] == 1);
    }
    SECTION("64-bit mode: the past fires at once, the far future does not") {
        c.set(Chip::config(1), enable | Chip::route(20));
        c.set(Chip::comparator(1), 5);
        c.ticks(1);
        REQUIRE(c.io_apic.edges[20] == 1);
        c.set(Chip::comparator(1), ~0ull >> 2);
        c.ticks(1'000'000);
        REQUIRE(c.io_apic.edges[20] == 1);
    }
}

TEST_CASE("HPET: level-triggered status") {
    Chip c;
    c.set(0x10, 1);
    c.set(Chip::config(2), enable | level | Chip::route(22));
    c.set(Chip::comparator(2), 100);
    c.ticks(100);
    REQUIRE(c.io_apic.levels[22]);
    REQUIRE(c.get(0x20) == 4);
    c.set(0x20, 3);
    REQUIRE(c.io_apic.levels[22]);
    c.set(0x20, 4);
    REQUIRE_FALSE(c.io_apic.levels[22]);
    REQUIRE(c.get(0x20) == 0);
    c.set(Chip::config(2), level | Chip::route(22)); // disabled: status, but no interrupt
    c.set(Chip::comparator(2), 300);
    c.ticks(300);
    REQUIRE(c.get(0x20) == 4);
    REQUIRE_FALSE(c.io_apic.levels[22]);
    c.set(Chip::config(2), enable | level | Chip::route(22));
    REQUIRE(c.io_apic.levels[22]);
    c.hpet.reset(ResetKind::System);
    REQUIRE_FALSE(c.io_apic.levels[22]);
}

TEST_CASE("HPET: legacy replacement takes IRQ 0 and 8 from PIT and RTC, and gives them back") {
    Chip c;
    IrqLine pit{c.legacy, LegacyRouting::pit}, rtc{c.legacy, LegacyRouting::rtc};
    pit.pulse();
    rtc.raise();
    REQUIRE(c.legacy_lines.edges[0] == 1);
    REQUIRE(c.legacy_lines.levels[8]);
    c.set(0x10, 3);
    REQUIRE_FALSE(c.legacy_lines.levels[8]);
    pit.pulse();
    REQUIRE(c.legacy_lines.edges[0] == 1);
    c.set(Chip::config(0), enable);
    c.set(Chip::comparator(0), 10);
    c.set(Chip::config(1), enable);
    c.set(Chip::comparator(1), 20);
    c.ticks(20);
    REQUIRE(c.legacy_lines.edges[0] == 2);
    REQUIRE(c.legacy_lines.edges[8] == 2);
    c.set(0x10, 1);
    REQUIRE(c.legacy_lines.levels[8]); // the RTC still asks
    pit.pulse();
    REQUIRE(c.legacy_lines.edges[0] == 3);
}

TEST_CASE("HPET: nothing interrupts while halted or disabled") {
    Chip c;
    c.set(Chip::config(0), enable | Chip::route(20));
    c.set(Chip::comparator(0), 100);
    c.ticks(1000);
    REQUIRE(c.io_apic.edges[20] == 0);
    c.set(0x10, 1);
    c.ticks(50);
    c.set(0x10, 0);
    c.ticks(1000);
    REQUIRE(c.io_apic.edges[20] == 0);
    c.set(0x10, 1);
    c.ticks(50);
    REQUIRE(c.io_apic.edges[20] == 1);
}

TEST_CASE("HPET: an absurd period does not spin the host") {
    Chip c;
    c.set(0x10, 1);
    c.set(Chip::config(0), enable | periodic | set_value | Chip::route(20));
    c.set(Chip::comparator(0), 1);
    c.ticks(10'000'000);
    REQUIRE(c.io_apic.edges[20] <= 2501);
    REQUIRE(c.io_apic.edges[20] >= 2000);
    c.set(Chip::config(0), enable | periodic | set_value | Chip::route(20));
    c.set(Chip::comparator(0), 20'000'000);
    c.set(Chip::comparator(0), ~0ull); // a period that ends after all time
    c.ticks(100'000'000);
    const unsigned edges = c.io_apic.edges[20];
    c.ticks(100'000'000);
    REQUIRE(c.io_apic.edges[20] == edges);
    c.set(Chip::config(0), 0);
    REQUIRE(c.get(Chip::config(0)) >> 32 == 0x00f00000);
}

TEST_CASE("HPET: bytes, words and straddling accesses") {
    Chip c;
    c.set(0xf0, 0x8877665544332211);
    REQUIRE(c.board.read<std::uint8_t>(c.board.memory, Hpet::mmio_base + 0xf3) == 0x44);
    REQUIRE(c.board.read<std::uint16_t>(c.board.memory, Hpet::mmio_base + 0xf6) == 0x8877);
    REQUIRE(c.get(0xf4) == 0x88776655);
    c.board.write<std::uint8_t>(c.board.memory, Hpet::mmio_base + 0xf0, 0xff);
    REQUIRE(c.get(0xf0) == 0x88776655443322ff);
    static_cast<void>(c.get32(0x3fc));
}
