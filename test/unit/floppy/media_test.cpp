// SPDX-License-Identifier: GPL-2.0-or-later
// Disks of every format, and how they are changed.
#include "test/unit/floppy/floppy_rig.hpp"

using namespace escalus;
using namespace escalus::test;

TEST_CASE("every format is read to its last sector at its rate") {
    struct Case {
        unsigned kib, rate, cylinders, heads, sectors;
        FloppyDriveType drive;
    };
    using T = FloppyDriveType;
    const auto c = GENERATE(Case{160, 2, 40, 1, 8, T::Dd525}, Case{180, 2, 40, 1, 9, T::Dd525},
                            Case{320, 2, 40, 2, 8, T::Dd525}, Case{360, 1, 40, 2, 9, T::Dd525},
                            Case{720, 2, 80, 2, 9, T::Hd35}, Case{1200, 0, 80, 2, 15, T::Hd525},
                            Case{1440, 0, 80, 2, 18, T::Hd35}, Case{1680, 0, 80, 2, 21, T::Hd35},
                            Case{1722, 0, 82, 2, 21, T::Hd35}, Case{2880, 3, 80, 2, 36, T::Ed35});
    FloppyRig rig{c.kib};
    CHECK(rig.floppy.drive(0)->type() == c.drive);
    rig.start(c.rate);
    const unsigned cylinder = c.cylinders - 1, head = c.heads - 1;
    rig.seek(cylinder);
    rig.into_memory(512);
    CHECK(rig.command({0x46, head << 2, cylinder, head, c.sectors, 2, c.sectors, 0x1b, 0xff})[0] == head
                                                                                                        << 2);
    CHECK(rig.memory(512) == sector_pattern(c.kib * 2 - 1));
    CHECK(rig.command({0x46, head << 2, cylinder, head, c.sectors + 1, 2, 99, 0x1b, 0xff})[1] == 0x04);
    rig.outb(0x3f7, c.rate ^ 2); // none of them is found at this one
    CHECK(rig.command({0x46, head << 2, cylinder, head, 1, 2, c.sectors, 0x1b, 0xff})[1] == 0x01);
}

TEST_CASE("images of other sizes are no floppy disks; disks fit into some drives only") {
    CHECK(why_no_floppy(FloppyDriveType::Hd35, 1440 * 1024).empty());
    CHECK(why_no_floppy(FloppyDriveType::Hd35, 720 * 1024).empty());
    CHECK(why_no_floppy(FloppyDriveType::Hd35, 2880 * 1024) ==
          "a disk of 2949120 bytes does not fit into this drive: it takes 720, 1440, 1680, 1722 KB");
    CHECK(why_no_floppy(FloppyDriveType::Hd35, 5000) ==
          "an image of 5000 bytes is no floppy disk: they have 160, 180, 320, 360, 720, 1200, 1440, 1680, "
          "1722, 2880 KB");
    FloppyRig rig;
    CHECK_THROWS_AS(rig.floppy.insert(0, FloppyRig::make_disk(2880)), std::invalid_argument);
    CHECK(rig.floppy.drive(0)->medium() == rig.disk);
}

TEST_CASE("a 360 KB disk in a 1.2 MB drive is read by double steps at 300 kbit/s") {
    FloppyRig rig{1200};
    rig.floppy.insert(0, FloppyRig::make_disk(360));
    rig.start(1);
    rig.seek(2 * 20);
    rig.into_memory(512);
    CHECK(rig.command({0x46, 0x04, 20, 1, 3, 2, 9, 0x1b, 0xff})[0] == 0x04);
    CHECK(rig.memory(512) == sector_pattern((20 * 2 + 1) * 9 + 2));
}

TEST_CASE("the disk change line: set with the disk, cleared by a step with a disk in the drive") {
    FloppyRig rig;
    CHECK((rig.inb(0x3f7) & 0x80) != 0); // since power came
    rig.start();
    CHECK((rig.inb(0x3f7) & 0x80) != 0);
    rig.recalibrate(); // on track 0 already: no step
    CHECK((rig.inb(0x3f7) & 0x80) != 0);
    rig.seek(1);
    CHECK((rig.inb(0x3f7) & 0x80) == 0);
    rig.floppy.reset(ResetKind::System); // a drive does not see a reset
    rig.start();
    CHECK((rig.inb(0x3f7) & 0x80) == 0);

    rig.floppy.eject(0);
    CHECK((rig.inb(0x3f7) & 0x80) != 0);
    rig.seek(5);
    CHECK((rig.inb(0x3f7) & 0x80) != 0); // no disk
    rig.into_memory(512);
    CHECK(rig.command({0x46, 0x00, 5, 0, 1, 2, 18, 0x1b, 0xff})[1] == 0x01);
    rig.floppy.insert(0, FloppyRig::make_disk(1440));
    CHECK((rig.inb(0x3f7) & 0x80) != 0);
    rig.recalibrate();
    CHECK((rig.inb(0x3f7) & 0x80) == 0);
    rig.outb(0x3f2, 0x1d); // drive B, which is not there
    CHECK((rig.inb(0x3f7) & 0x80) == 0);
}

TEST_CASE("a disk is replaced by another while it is read") {
    FloppyRig rig;
    rig.start();
    rig.disk->deferred = true;
    rig.into_memory(512);
    rig.send({0x46, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff});
    CHECK(rig.inb(0x3f4) == 0x10);
    auto other = FloppyRig::make_disk(720);
    other->bytes[0] = 0x77;
    rig.floppy.insert(0, std::move(other));
    CHECK(rig.irq.level);
    CHECK(rig.result() == Bytes{0x40, 0x01, 0, 0, 0, 1, 2});
    rig.outb(0x3f7, 2);
    CHECK(rig.command({0x46, 0x00, 0, 0, 1, 2, 9, 0x1b, 0xff})[0] == 0);
    CHECK(rig.memory(1) == Bytes{0x77});
}
