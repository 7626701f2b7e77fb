// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/io_apic.hpp"

#include "test/unit/chipset/apic_fixture.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using test::ApicBoard;

namespace {

constexpr std::uint32_t level = 1 << 15, masked = 1 << 16, remote_irr = 1 << 14;

struct Routed : ApicBoard {
    IoApic io{board.memory, bus, 4};

    Routed() : ApicBoard{2} { enable_all(); }
    std::uint32_t reg(std::uint32_t index) {
        board.write<std::uint32_t>(board.memory, IoApic::mmio_base, index);
        return board.read<std::uint32_t>(board.memory, IoApic::mmio_base + 0x10);
    }
    void reg(std::uint32_t index, std::uint32_t value) {
        board.write<std::uint32_t>(board.memory, IoApic::mmio_base, index);
        board.write<std::uint32_t>(board.memory, IoApic::mmio_base + 0x10, value);
    }
    void route(unsigned input, std::uint32_t low, std::uint32_t destination = 0) {
        reg(0x11 + 2 * input, destination << 24);
        reg(0x10 + 2 * input, low);
    }
    bool take(unsigned cpu_number, unsigned vector) {
        if (apic[cpu_number]->pending_interrupt() != vector)
            return false;
        apic[cpu_number]->accept(static_cast<std::uint8_t>(vector));
        return true;
    }
    void end(unsigned cpu_number = 0) { set(0xb0, 0, cpu_number); }
};

} // namespace

TEST_CASE("I/O APIC: registers") {
    Routed r;
    REQUIRE(r.reg(0) == 0x04000000);
    REQUIRE(r.reg(1) == 0x00170020);
    REQUIRE(r.reg(2) == 0x04000000);
    r.reg(0, 0xffffffff);
    REQUIRE(r.reg(0) == 0x0f000000);
    for (unsigned input = 0; input < 24; ++input) {
        REQUIRE(r.reg(0x10 + 2 * input) == masked);
        r.route(input, 0xffffffff, 0xff);
        REQUIRE(r.reg(0x10 + 2 * input) == 0x1afff);
        REQUIRE(r.reg(0x11 + 2 * input) == 0xff000000);
    }
    REQUIRE(r.reg(0x40) == 0xffffffff);
    r.reg(0xff, 1);
    r.io.reset(ResetKind::System);
    REQUIRE(r.reg(0x10) == masked);
    REQUIRE(r.reg(0) == 0x04000000);
}

TEST_CASE("I/O APIC: edges") {
    Routed r;
    r.route(1, 0x31, 1);
    r.io.set_irq(1, true);
    REQUIRE(r.take(1, 0x31));
    r.end(1);
    REQUIRE_FALSE(r.take(1, 0x31)); // still high, no edge
    r.io.set_irq(1, false);
    r.io.set_irq(1, true);
    REQUIRE(r.take(1, 0x31));
    r.end(1);
    r.route(1, masked | 0x31, 1);
    r.io.set_irq(1, false);
    r.io.set_irq(1, true); // lost: masked
    r.route(1, 0x31, 1);
    REQUIRE_FALSE(r.take(1, 0x31));
}

TEST_CASE("I/O APIC: level, remote IRR and the EOI of the local APIC") {
    Routed r;
    r.route(11, level | 0x5b);
    r.io.set_irq(11, true);
    REQUIRE((r.reg(0x10 + 22) & remote_irr) != 0);
    REQUIRE(r.take(0, 0x5b));
    r.io.set_irq(11, false);
    r.io.set_irq(11, true); // in service: nothing new
    REQUIRE_FALSE(r.take(0, 0x5b));
    r.end();
    REQUIRE(r.take(0, 0x5b)); // still asserted
    r.io.set_irq(11, false);
    r.end();
    REQUIRE_FALSE(r.take(0, 0x5b));
    REQUIRE((r.reg(0x10 + 22) & remote_irr) == 0);
    r.route(11, masked | level | 0x5b);
    r.io.set_irq(11, true);
    REQUIRE_FALSE(r.take(0, 0x5b));
    r.route(11, level | 0x5b); // unmasking an asserted input
    REQUIRE(r.take(0, 0x5b));
}

TEST_CASE("I/O APIC: two inputs with one vector") {
    Routed r;
    r.route(16, level | 0x60);
    r.route(17, level | 0x60);
    r.io.set_irq(16, true);
    REQUIRE(r.take(0, 0x60));
    r.io.set_irq(17, true);
    r.io.set_irq(16, false);
    r.end();
    REQUIRE(r.take(0, 0x60));
    r.io.set_irq(17, false);
    r.end();
    REQUIRE_FALSE(r.take(0, 0x60));
}

TEST_CASE("I/O APIC: the EOI register, for systems that suppress the broadcast") {
    Routed r;
    r.set(0xf0, 0x11ff);
    r.route(10, level | 0x70);
    r.io.set_irq(10, true);
    REQUIRE(r.take(0, 0x70));
    r.end();
    REQUIRE_FALSE(r.take(0, 0x70));
    r.board.write<std::uint32_t>(r.board.memory, IoApic::mmio_base + 0x40, 0x71); // another's
    REQUIRE_FALSE(r.take(0, 0x70));
    r.board.write<std::uint32_t>(r.board.memory, IoApic::mmio_base + 0x40, 0x70);
    REQUIRE(r.take(0, 0x70));
}

TEST_CASE("I/O APIC: switching to edge and back clears remote IRR") {
    Routed r;
    r.route(10, level | 0x70);
    r.io.set_irq(10, true);
    REQUIRE(r.take(0, 0x70));
    r.route(10, masked | 0x70);
    REQUIRE((r.reg(0x10 + 20) & remote_irr) == 0);
    r.route(10, level | 0x70);
    REQUIRE((r.reg(0x10 + 20) & remote_irr) != 0); // asserted: delivered again
}

TEST_CASE("I/O APIC: other delivery modes, logical destinations, nobody there") {
    Routed r;
    r.route(2, 0x400, 1);
    r.io.set_irq(2, true);
    REQUIRE(r.cpu[1]->nmis == 1);
    r.route(0, 0x700); // ExtINT: how the 8259 pair is reached without LINT0
    r.io.set_irq(0, true);
    REQUIRE(r[0].pic_interrupt_pending());
    r.set(0xd0, 0x02000000, 1);
    r.route(5, 0x900 | 0x45, 2); // lowest priority, logical
    r.io.set_irq(5, true);
    REQUIRE(r.take(1, 0x45));
    r.route(6, level | 0x46, 9);
    r.io.set_irq(6, true);
    REQUIRE((r.reg(0x10 + 12) & remote_irr) == 0);
    r.route(6, level | 0x46, 0);
    REQUIRE(r.take(0, 0x46));
    r.io.set_irq(24, true); // no such input
    r.route(7, 0x300 | 0x47);
    r.io.set_irq(7, true);
}

TEST_CASE("I/O APIC: access widths") {
    Routed r;
    r.board.write<std::uint8_t>(r.board.memory, IoApic::mmio_base, 1); // the index takes a byte
    REQUIRE(r.board.read<std::uint32_t>(r.board.memory, IoApic::mmio_base + 0x10) == 0x00170020);
    REQUIRE(r.board.read<std::uint8_t>(r.board.memory, IoApic::mmio_base + 0x12) == 0x17);
    REQUIRE(r.board.read<std::uint32_t>(r.board.memory, IoApic::mmio_base) == 1);
    r.board.write<std::uint8_t>(r.board.memory, IoApic::mmio_base, 0x10);
    r.board.write<std::uint8_t>(r.board.memory, IoApic::mmio_base + 0x10, 0x55);
    REQUIRE(r.reg(0x10) == masked);
    REQUIRE(r.board.read<std::uint64_t>(r.board.memory, IoApic::mmio_base + 0x100) == 0);
}
