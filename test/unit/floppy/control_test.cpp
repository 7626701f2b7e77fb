// SPDX-License-Identifier: GPL-2.0-or-later
// Registers, resets, and the commands that move no data.
#include "test/unit/floppy/floppy_rig.hpp"

using namespace escalus;
using namespace escalus::test;

TEST_CASE("a reset ends with an interrupt and four answers to SENSE INTERRUPT STATUS") {
    FloppyRig rig;
    CHECK(rig.inb(0x3f4) == 0); // held
    const bool by_rate_register = GENERATE(false, true);
    rig.outb(0x3f2, 0x0c);
    if (by_rate_register) {
        rig.wait();
        rig.irq.edges = 0;
        rig.outb(0x3f4, 0x80); // the bit clears itself
    }
    CHECK(rig.irq.edges == 0);
    CHECK((rig.inb(0x3f4) & 0x80) == 0);
    rig.wait();
    CHECK(rig.irq.edges == 1);
    CHECK(rig.irq.level);
    CHECK(rig.inb(0x3f4) == 0x80);
    for (unsigned unit = 0; unit < 4; ++unit) {
        rig.send({0x08});
        CHECK(rig.inb(0x3f4) == 0xd0);
        CHECK_FALSE(rig.irq.level); // the first answer releases it
        CHECK(rig.result() == Bytes{static_cast<std::uint8_t>(0xc0 | unit), 0});
    }
    CHECK(rig.command({0x08}) == Bytes{0x80}); // nothing more to ask about
    CHECK(rig.irq.edges == 1);
}

TEST_CASE("the gate in the digital output register keeps the interrupt back") {
    FloppyRig rig;
    rig.outb(0x3f2, 0x04);
    rig.wait();
    CHECK_FALSE(rig.irq.level);
    rig.outb(0x3f2, 0x0c);
    CHECK(rig.irq.level);
    CHECK(rig.inb(0x3f2) == 0x0c);
}

TEST_CASE("VERSION, CONFIGURE, LOCK and DUMPREG identify an 82077AA") {
    FloppyRig rig;
    rig.start();
    CHECK(rig.command({0x10}) == Bytes{0x90});
    CHECK(rig.command({0x13, 0x00, 0x57, 0x20}).empty());
    CHECK(rig.command({0x0e}) == Bytes{0, 0, 0, 0, 0xdf, 0x02, 0, 0x00, 0x57, 0x20});
    CHECK(rig.command({0x94}) == Bytes{0x10});
    CHECK(rig.command({0x0e}) == Bytes{0, 0, 0, 0, 0xdf, 0x02, 0, 0x80, 0x57, 0x20});
    // Locked: FIFO, threshold and precompensation live through a software reset.
    rig.outb(0x3f4, 0x80);
    rig.wait();
    CHECK(rig.command({0x0e}) == Bytes{0, 0, 0, 0, 0xdf, 0x02, 0, 0x80, 0x07, 0x20});
    CHECK(rig.command({0x14}) == Bytes{0x00});
    rig.outb(0x3f2, 0x00);
    rig.outb(0x3f2, 0x0c);
    rig.wait();
    CHECK(rig.command({0x0e}) == Bytes{0, 0, 0, 0, 0xdf, 0x02, 0, 0x00, 0x20, 0x00});
    // The hardware's reset forgets it all.
    CHECK(rig.command({0x94}) == Bytes{0x10});
    rig.floppy.reset(ResetKind::System);
    rig.outb(0x3f2, 0x0c);
    rig.wait();
    CHECK(rig.command({0x0e}) == Bytes{0, 0, 0, 0, 0, 0, 0, 0x00, 0x20, 0x00});
}

TEST_CASE("PERPENDICULAR MODE: the drives' bits change only with OW, and survive a software reset") {
    FloppyRig rig;
    rig.start();
    rig.send({0x12, 0x87});
    CHECK(rig.command({0x0e})[7] == 0x07);
    rig.send({0x12, 0x38});
    CHECK(rig.command({0x0e})[7] == 0x04);
    rig.outb(0x3f4, 0x80);
    rig.wait();
    CHECK(rig.command({0x0e})[7] == 0x04);
}

TEST_CASE("commands that are not the 82077AA's are answered as invalid") {
    FloppyRig rig;
    rig.start();
    const unsigned code = GENERATE(0x00u, 0x01u, 0x0bu, 0x18u, 0x17u, 0x1fu, 0x2eu, 0x4eu, 0x33u, 0xcdu);
    CHECK(rig.command({code}) == Bytes{0x80});
    CHECK(rig.irq.edges == 0);
    CHECK(rig.command({0x10}) == Bytes{0x90});
}

TEST_CASE("seeks move the heads, interrupt, and are asked about") {
    FloppyRig rig;
    rig.start();
    rig.send({0x0f, 0x00, 30});
    CHECK(rig.inb(0x3f4) == 0x81); // drive 0 is busy, the controller takes commands
    CHECK(rig.irq.edges == 0);
    rig.wait();
    CHECK(rig.irq.edges == 1);
    CHECK(rig.inb(0x3f4) == 0x81); // until it is asked about
    CHECK(rig.command({0x08}) == Bytes{0x20, 30});
    CHECK(rig.inb(0x3f4) == 0x80);
    CHECK(rig.command({0x04, 0x00}) == Bytes{0x28}); // not on track 0
    CHECK(rig.command({0x8f, 0x00, 10}).empty());    // outward by ten
    rig.wait();
    CHECK(rig.command({0x08}) == Bytes{0x20, 20});
    CHECK(rig.command({0xcf, 0x00, 2}).empty());
    rig.wait();
    CHECK(rig.command({0x08}) == Bytes{0x20, 22});
    CHECK(rig.recalibrate() == Bytes{0x20, 0});
    CHECK(rig.command({0x04, 0x04}) == Bytes{0x3c}); // track 0, head 1
}

TEST_CASE("two drives seek at a time, and each end has its edge") {
    FloppyRig rig;
    rig.floppy.attach(1, FloppyDriveType::Hd35);
    rig.start();
    rig.send({0x0f, 0x00, 30});
    rig.send({0x0f, 0x01, 40});
    CHECK(rig.inb(0x3f4) == 0x83);
    rig.wait();
    CHECK(rig.command({0x08}) == Bytes{0x20, 30});
    CHECK(rig.irq.level);
    CHECK(rig.command({0x08}) == Bytes{0x21, 40});
    CHECK_FALSE(rig.irq.level);
    CHECK(rig.irq.edges >= 2);
}

TEST_CASE("a drive that is not there has no track 0") {
    FloppyRig rig;
    rig.start();
    const unsigned unit = GENERATE(1u, 2u, 3u);
    CHECK(rig.recalibrate(unit) == Bytes{static_cast<std::uint8_t>(0x70 | unit), 0});
    CHECK(rig.command({0x04, unit}) == Bytes{static_cast<std::uint8_t>(0x28 | unit)});
}

TEST_CASE("READ ID tells the sectors that pass by, at the right rate only") {
    FloppyRig rig;
    rig.start();
    rig.seek(5);
    const auto first = rig.command({0x4a, 0x04});
    const auto second = rig.command({0x4a, 0x04});
    CHECK(first == Bytes{0x04, 0, 0, 5, 1, first[5], 2});
    CHECK(second[5] == first[5] % 18 + 1);
    CHECK(rig.irq.edges == 3);
    rig.outb(0x3f7, 2);
    CHECK(rig.command({0x4a, 0x00})[0] == 0x40);
    CHECK(rig.command({0x4a, 0x00})[1] == 0x01);
    rig.outb(0x3f4, 0); // the other register for the rate
    CHECK(rig.command({0x4a, 0x00})[0] == 0x00);
    CHECK(rig.command({0x0a, 0x00})[1] == 0x01); // FM
}

TEST_CASE("a command that waits for bytes is forgotten by a reset") {
    FloppyRig rig;
    rig.start();
    rig.send({0x0f, 0x00});
    CHECK(rig.inb(0x3f4) == 0x90);
    rig.outb(0x3f4, 0x80);
    rig.wait();
    CHECK(rig.inb(0x3f4) == 0x80);
    CHECK(rig.command({0x10}) == Bytes{0x90});
}
