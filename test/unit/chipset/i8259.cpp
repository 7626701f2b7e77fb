// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/i8259.hpp"

#include "test/unit/chipset/board.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using test::Board;
using test::Probe;

namespace {

constexpr std::uint16_t master = 0x20, slave = 0xa0, elcr = 0x4d0;

struct Pair {
    Board board;
    Probe probe;
    I8259Pair pic{board.ports, IrqLine{probe, 0}};

    explicit Pair(unsigned icw4 = 1) {
        pic.reset(ResetKind::PowerOn);
        initialize(icw4);
    }
    void initialize(unsigned icw4) {
        for (const auto& [port, base, icw3] : {std::tuple{master, 0x20u, 4u}, std::tuple{slave, 0x28u, 2u}}) {
            board.out(port, 0x11);
            board.out(port + 1, base);
            board.out(port + 1, icw3);
            board.out(port + 1, icw4);
        }
    }
    void pulse(unsigned irq) {
        pic.set_irq(irq, true);
        pic.set_irq(irq, false);
    }
    [[nodiscard]] bool intr() const { return probe.levels[0]; }
    unsigned isr(std::uint16_t port) {
        board.out(port, 0x0b);
        return board.in(port);
    }
    unsigned irr(std::uint16_t port) {
        board.out(port, 0x0a);
        return board.in(port);
    }
};

} // namespace

TEST_CASE("PIC: an edge is latched, acknowledged once, and ended") {
    Pair p;
    p.pulse(3);
    REQUIRE(p.intr());
    REQUIRE(p.irr(master) == 0x08);
    REQUIRE(p.pic.acknowledge() == 0x23);
    REQUIRE_FALSE(p.intr());
    REQUIRE(p.irr(master) == 0);
    REQUIRE(p.isr(master) == 0x08);
    p.board.out(master, 0x20);
    REQUIRE(p.isr(master) == 0);
    REQUIRE_FALSE(p.intr());
}

TEST_CASE("PIC: a line that stays high gives one edge only") {
    Pair p;
    p.pic.set_irq(4, true);
    REQUIRE(p.pic.acknowledge() == 0x24);
    p.board.out(master, 0x20);
    REQUIRE_FALSE(p.intr());
    p.pic.set_irq(4, false);
    p.pic.set_irq(4, true);
    REQUIRE(p.intr());
}

TEST_CASE("PIC: fixed priority and nesting") {
    Pair p;
    p.pulse(5);
    REQUIRE(p.pic.acknowledge() == 0x25);
    p.pulse(6);
    REQUIRE_FALSE(p.intr()); // lower than what is in service
    p.pulse(1);
    REQUIRE(p.intr());
    REQUIRE(p.pic.acknowledge() == 0x21);
    REQUIRE(p.isr(master) == 0x22);
    p.board.out(master, 0x20); // ends the highest: 1
    REQUIRE(p.isr(master) == 0x20);
    p.board.out(master, 0x65); // specific: 5
    REQUIRE(p.isr(master) == 0);
    REQUIRE(p.pic.acknowledge() == 0x26);
}

TEST_CASE("PIC: the slave's interrupts come through input 2") {
    Pair p;
    p.pulse(14);
    REQUIRE(p.pic.acknowledge() == 0x2e);
    REQUIRE(p.isr(master) == 0x04);
    REQUIRE(p.isr(slave) == 0x40);
    SECTION("a second, higher request of the slave waits for the master's EOI") {
        p.pulse(8);
        REQUIRE_FALSE(p.intr());
        p.board.out(master, 0x62);
        REQUIRE(p.intr());
        REQUIRE(p.pic.acknowledge() == 0x28);
    }
    SECTION("two requests before one acknowledge are both delivered") {
        p.pulse(10);
        p.board.out(slave, 0x20);
        p.board.out(master, 0x20);
        REQUIRE(p.intr());
        REQUIRE(p.pic.acknowledge() == 0x2a);
    }
}

TEST_CASE("PIC: special fully nested mode lets the slave nest") {
    Pair p{0x11};
    p.pulse(14);
    REQUIRE(p.pic.acknowledge() == 0x2e);
    p.pulse(8);
    REQUIRE(p.intr());
    REQUIRE(p.pic.acknowledge() == 0x28);
}

TEST_CASE("PIC: masks") {
    Pair p;
    p.board.out(master + 1, 0xfb);
    REQUIRE(p.board.in(master + 1) == 0xfb);
    p.pulse(0);
    REQUIRE_FALSE(p.intr());
    p.board.out(master + 1, 0xfa);
    REQUIRE(p.intr()); // the edge was remembered
    REQUIRE(p.pic.acknowledge() == 0x20);
}

TEST_CASE("PIC: spurious interrupts are vector 7 and put nothing in service") {
    Pair p;
    SECTION("IRQ 7: a level input fell before INTA") {
        p.board.out(elcr, 0x20);
        p.pic.set_irq(5, true);
        REQUIRE(p.intr());
        p.pic.set_irq(5, false);
        REQUIRE_FALSE(p.intr());
        REQUIRE(p.pic.acknowledge() == 0x27);
        REQUIRE(p.isr(master) == 0);
    }
    SECTION("IRQ 15: the slave's request vanished; the master does have input 2 in service") {
        p.board.out(elcr + 1, 0x08);
        p.pic.set_irq(11, true);
        p.pic.set_irq(11, false);
        REQUIRE(p.pic.acknowledge() == 0x2f);
        REQUIRE(p.isr(slave) == 0);
        REQUIRE(p.isr(master) == 0x04);
    }
    SECTION("a real IRQ 7 is told apart by its ISR bit") {
        p.pulse(7);
        REQUIRE(p.pic.acknowledge() == 0x27);
        REQUIRE(p.isr(master) == 0x80);
    }
}

TEST_CASE("PIC: level-triggered inputs interrupt as long as they are high") {
    Pair p;
    p.board.out(elcr + 1, 0x0c);
    REQUIRE(p.board.in(elcr + 1) == 0x0c);
    p.pic.set_irq(10, true);
    REQUIRE(p.pic.acknowledge() == 0x2a);
    REQUIRE_FALSE(p.intr());
    p.board.out(slave, 0x20);
    p.board.out(master, 0x20);
    REQUIRE(p.intr());
    REQUIRE(p.pic.acknowledge() == 0x2a);
    p.pic.set_irq(10, false);
    p.board.out(slave, 0x20);
    p.board.out(master, 0x20);
    REQUIRE_FALSE(p.intr());
}

TEST_CASE("PIC: ELCR bits of system interrupts cannot be set") {
    Pair p;
    p.board.out(elcr, 0xff);
    p.board.out(elcr + 1, 0xff);
    REQUIRE(p.board.in(elcr) == 0xf8);
    REQUIRE(p.board.in(elcr + 1) == 0xde);
    p.initialize(1); // ICW1 leaves the ELCR alone
    REQUIRE(p.board.in(elcr) == 0xf8);
    p.pic.reset(ResetKind::System);
    REQUIRE(p.board.in(elcr) == 0);
}

TEST_CASE("PIC: automatic EOI, also with rotation") {
    Pair p{0x03};
    p.pulse(4);
    REQUIRE(p.pic.acknowledge() == 0x24);
    REQUIRE(p.isr(master) == 0);
    p.board.out(master, 0x80); // rotate in AEOI mode
    p.pulse(4);
    REQUIRE(p.pic.acknowledge() == 0x24); // now 4 is lowest, 5 highest
    p.pulse(4);
    p.pulse(6);
    REQUIRE(p.pic.acknowledge() == 0x26);
    REQUIRE(p.pic.acknowledge() == 0x20 + 4);
    p.board.out(master, 0x00);
}

TEST_CASE("PIC: rotation by EOI and by command") {
    Pair p;
    SECTION("rotate on non-specific EOI") {
        p.pulse(2 + 1);
        REQUIRE(p.pic.acknowledge() == 0x23);
        p.board.out(master, 0xa0);
        p.pulse(3);
        p.pulse(7);
        REQUIRE(p.pic.acknowledge() == 0x27);
    }
    SECTION("rotate on specific EOI") {
        p.pulse(0);
        REQUIRE(p.pic.acknowledge() == 0x20);
        p.board.out(master, 0xe0);
        REQUIRE(p.isr(master) == 0);
        p.pulse(0);
        p.pulse(7);
        REQUIRE(p.pic.acknowledge() == 0x27);
    }
    SECTION("set priority") {
        p.board.out(master, 0xc4); // 4 lowest: order 5 6 7 0 1 2 3 4
        p.pulse(3);
        p.pulse(5);
        REQUIRE(p.pic.acknowledge() == 0x25);
        p.pulse(0);
        REQUIRE_FALSE(p.intr());
        p.board.out(master, 0x20);
        REQUIRE(p.pic.acknowledge() == 0x20);
    }
}

TEST_CASE("PIC: special mask mode lets lower interrupts in") {
    Pair p;
    p.pulse(1);
    REQUIRE(p.pic.acknowledge() == 0x21);
    p.board.out(master + 1, 0x02); // mask the one in service
    p.pulse(6);
    REQUIRE_FALSE(p.intr());
    p.board.out(master, 0x68);
    REQUIRE(p.intr());
    REQUIRE(p.pic.acknowledge() == 0x26);
    p.board.out(master, 0x20); // passes over the masked 1
    REQUIRE(p.isr(master) == 0x02);
    p.board.out(master, 0x48); // mode off
    p.board.out(master, 0x20);
    REQUIRE(p.isr(master) == 0);
}

TEST_CASE("PIC: poll mode acknowledges by a read") {
    Pair p;
    p.board.out(master, 0x0c);
    REQUIRE(p.board.in(master) == 0); // nothing there
    p.pulse(6);
    p.board.out(master, 0x0c);
    REQUIRE(p.board.in(master) == 0x86);
    REQUIRE(p.isr(master) == 0x40);
    REQUIRE_FALSE(p.intr());
    p.board.out(master, 0x20);

    p.pulse(12);
    p.board.out(master, 0x0c);
    REQUIRE(p.board.in(master) == 0x82);
    p.board.out(slave, 0x0c);
    REQUIRE(p.board.in(slave) == 0x84);
    REQUIRE(p.isr(slave) == 0x10);
}

TEST_CASE("PIC: ICW1 resets the edge sense, mask and in-service state; no interrupts until it is done") {
    Pair p;
    p.pic.set_irq(3, true);
    p.board.out(master + 1, 0xff);
    p.board.out(master, 0x11);
    REQUIRE_FALSE(p.intr());
    p.board.out(master + 1, 0x40);
    p.board.out(master + 1, 0x04);
    p.pulse(5);
    REQUIRE_FALSE(p.intr());
    p.board.out(master + 1, 0x01);
    REQUIRE(p.board.in(master + 1) == 0);
    REQUIRE(p.intr());
    REQUIRE(p.pic.acknowledge() == 0x45); // 3 is high, but has given no edge since
    p.board.out(master, 0x20);
    REQUIRE_FALSE(p.intr());
}

TEST_CASE("PIC: ICW1 without ICW4, and a single 8259") {
    Pair p;
    p.board.out(master, 0x12); // single, no ICW4
    p.board.out(master + 1, 0x60);
    p.board.out(master + 1, 0xfe); // this is the mask already
    REQUIRE(p.board.in(master + 1) == 0xfe);
    p.pulse(0);
    REQUIRE(p.pic.acknowledge() == 0x60);
}
