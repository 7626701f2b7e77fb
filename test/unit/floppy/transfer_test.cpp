// SPDX-License-Identifier: GPL-2.0-or-later
// Reading, writing, verifying and formatting.
#include "test/unit/floppy/floppy_rig.hpp"

using namespace escalus;
using namespace escalus::test;

TEST_CASE("READ DATA by DMA: a sector, ended by terminal count") {
    FloppyRig rig;
    rig.start();
    rig.seek(3);
    rig.irq.edges = 0;
    rig.into_memory(512);
    // Cylinder 3, head 1, sector 5: (3 * 2 + 1) * 18 + 4.
    rig.send({0xe6, 0x04, 3, 1, 5, 2, 18, 0x1b, 0xff});
    CHECK(rig.irq.edges == 1);
    CHECK(rig.irq.level);
    CHECK(rig.inb(0x3f5) == 0x04);
    CHECK_FALSE(rig.irq.level); // the first byte of the result
    CHECK(rig.result() == Bytes{0, 0, 3, 1, 6, 2});
    CHECK(rig.memory(512) == sector_pattern(130));
    CHECK(rig.memory(1, 512) == Bytes{0});
}

TEST_CASE("multi-track goes on on the other side, and ends at the cylinder's end") {
    FloppyRig rig;
    rig.start();
    rig.into_memory(36 * 512);
    CHECK(rig.command({0xe6, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff}) == Bytes{0x04, 0, 0, 1, 0, 1, 2});
    for (unsigned s = 0; s < 36; ++s)
        CHECK(rig.memory(512, s * 512u) == sector_pattern(s));
    // One sector more than the cylinder has.
    rig.into_memory(3 * 512);
    CHECK(rig.command({0xe6, 0x04, 0, 1, 17, 2, 18, 0x1b, 0xff}) == Bytes{0x44, 0x80, 0, 1, 0, 1, 2});
    CHECK(rig.memory(512, 512) == sector_pattern(35));
    // Without multi-track, at the side's end.
    rig.into_memory(3 * 512);
    CHECK(rig.command({0x46, 0x00, 0, 0, 17, 2, 18, 0x1b, 0xff}) == Bytes{0x40, 0x80, 0, 1, 0, 1, 2});
}

TEST_CASE("a transfer waits for its channel") {
    FloppyRig rig;
    rig.start();
    rig.send({0x46, 0x00, 0, 0, 2, 2, 18, 0x1b, 0xff});
    CHECK(rig.inb(0x3f4) == 0x10);
    CHECK_FALSE(rig.irq.level);
    rig.into_memory(512);
    CHECK(rig.irq.level);
    CHECK(rig.result()[0] == 0);
    CHECK(rig.memory(512) == sector_pattern(1));
    // And for the gate.
    rig.outb(0x3f2, 0x14);
    rig.into_memory(512);
    rig.send({0x46, 0x00, 0, 0, 3, 2, 18, 0x1b, 0xff});
    CHECK(rig.inb(0x3f4) == 0x10);
    rig.outb(0x3f2, 0x1c);
    CHECK(rig.result()[0] == 0);
    CHECK(rig.memory(512) == sector_pattern(2));
}

TEST_CASE("WRITE DATA by DMA; terminal count within a sector fills it up with zeros") {
    FloppyRig rig;
    rig.start();
    rig.seek(79);
    const auto data = sector_pattern(777, 1024);
    rig.fill_memory(data);
    rig.out_of_memory(512 + 100);
    CHECK(rig.command({0xc5, 0x04, 79, 1, 17, 2, 18, 0x1b, 0xff}) == Bytes{0x04, 0, 0, 80, 0, 1, 2});
    CHECK(rig.on_disk(2878) == Bytes{data.begin(), data.begin() + 512});
    CHECK(rig.on_disk(2879, 100) == Bytes{data.begin() + 512, data.begin() + 612});
    CHECK(rig.on_disk(2879)[100] == 0);
    CHECK(rig.on_disk(2879)[511] == 0);
}

TEST_CASE("a write-protected disk is not written") {
    FloppyRig rig{1440, true};
    rig.start();
    rig.out_of_memory(512);
    const auto first = GENERATE(0x45u, 0x49u);
    CHECK(rig.command({first, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff}) == Bytes{0x40, 0x02, 0, 0, 0, 1, 2});
    CHECK(rig.command({0x4d, 0x00, 2, 18, 0x54, 0xf6})[1] == 0x02);
    CHECK(rig.command({0x04, 0x00}) == Bytes{0x78});
    CHECK(rig.disk->writes == 0);
}

TEST_CASE("sectors that are not there: their number, cylinder, side, size") {
    FloppyRig rig;
    rig.start();
    rig.seek(1);
    rig.into_memory(512);
    CHECK(rig.command({0x46, 0x00, 1, 0, 19, 2, 30, 0x1b, 0xff}) == Bytes{0x40, 0x04, 0, 1, 0, 19, 2});
    CHECK(rig.command({0x46, 0x00, 1, 0, 0, 2, 18, 0x1b, 0xff}) == Bytes{0x40, 0x04, 0, 1, 0, 0, 2});
    CHECK(rig.command({0x46, 0x00, 2, 0, 1, 2, 18, 0x1b, 0xff}) == Bytes{0x40, 0x04, 0x10, 2, 0, 1, 2});
    CHECK(rig.command({0x46, 0x00, 1, 1, 1, 2, 18, 0x1b, 0xff}) == Bytes{0x40, 0x04, 0, 1, 1, 1, 2});
    CHECK(rig.command({0x46, 0x00, 1, 0, 1, 3, 18, 0x1b, 0xff}) == Bytes{0x40, 0x04, 0, 1, 0, 1, 3});
    rig.seek(81);
    CHECK(rig.command({0x46, 0x00, 81, 0, 1, 2, 18, 0x1b, 0xff}) == Bytes{0x40, 0x01, 0, 81, 0, 1, 2});
    CHECK(rig.command({0x46, 0x01, 0, 0, 1, 2, 18, 0x1b, 0xff}) == Bytes{0x41, 0x01, 0, 0, 0, 1, 2});
}

TEST_CASE("implied seek") {
    FloppyRig rig;
    rig.start();
    rig.into_memory(512);
    CHECK(rig.command({0x46, 0x00, 9, 0, 1, 2, 18, 0x1b, 0xff})[1] == 0x04);
    rig.send({0x13, 0x00, 0x40, 0x00});
    CHECK(rig.command({0x46, 0x00, 9, 0, 1, 2, 18, 0x1b, 0xff})[0] == 0x00);
    CHECK(rig.memory(512) == sector_pattern(9 * 36));
    CHECK(rig.command({0x0e})[0] == 9);
}

TEST_CASE("READ DELETED DATA: there are only normal sectors") {
    FloppyRig rig;
    rig.start();
    rig.into_memory(1024);
    CHECK(rig.command({0x4c, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff}) == Bytes{0x00, 0, 0x40, 0, 0, 1, 2});
    CHECK(rig.memory(512) == sector_pattern(0));
    rig.into_memory(1024);
    CHECK(rig.command({0x6c, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff}) == Bytes{0x40, 0x80, 0x40, 1, 0, 1, 2});
}

TEST_CASE("READ TRACK begins at the index hole") {
    FloppyRig rig;
    rig.start();
    rig.into_memory(18 * 512);
    CHECK(rig.command({0x42, 0x04, 0, 1, 5, 2, 18, 0x1b, 0xff})[1] == 0);
    CHECK(rig.memory(512) == sector_pattern(18));
    CHECK(rig.memory(512, 17 * 512) == sector_pattern(35));
    rig.into_memory(18 * 512);
    const auto none = rig.command({0x42, 0x04, 0, 1, 77, 2, 2, 0x1b, 0xff});
    CHECK(none[0] == 0x04);
    CHECK(none[1] == 0x04); // no ID was the one asked for
}

TEST_CASE("VERIFY reads without moving data") {
    FloppyRig rig;
    rig.start();
    CHECK(rig.command({0x56, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff}) == Bytes{0x00, 0, 0, 1, 0, 1, 2});
    CHECK(rig.disk->reads == 18);
    // EC: the last byte counts.
    CHECK(rig.command({0xd6, 0x80, 0, 0, 17, 2, 18, 0x1b, 4}) == Bytes{0x04, 0, 0, 0, 1, 3, 2});
    CHECK(rig.command({0x56, 0x80, 0, 0, 17, 2, 18, 0x1b, 4})[1] == 0x80);
    rig.disk->bad_offset = 5 * 512;
    CHECK(rig.command({0x56, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff}) == Bytes{0x40, 0x20, 0x20, 0, 0, 6, 2});
}

TEST_CASE("FORMAT TRACK fills the sectors that it is given IDs for") {
    FloppyRig rig;
    rig.start();
    rig.seek(2);
    Bytes ids;
    for (unsigned s = 1; s <= 18; ++s)
        ids.insert(ids.end(), {2, 1, static_cast<std::uint8_t>(19 - s), 2});
    rig.fill_memory(ids);
    rig.out_of_memory(72);
    CHECK(rig.command({0x4d, 0x04, 2, 18, 0x6c, 0xf6})[0] == 0x04);
    for (unsigned s = 0; s < 18; ++s)
        CHECK(rig.on_disk(90 + s) == Bytes(512, 0xf6));
    CHECK(rig.on_disk(89) == sector_pattern(89));
    CHECK(rig.on_disk(108) == sector_pattern(108));
    // What the image cannot hold.
    ids[2] = 40;
    rig.fill_memory(ids);
    rig.out_of_memory(72);
    CHECK(rig.command({0x4d, 0x04, 2, 18, 0x6c, 0x11})[0] == 0x44);
    CHECK(rig.on_disk(90) == Bytes(512, 0xf6));
}

TEST_CASE("through the FIFO port: a byte at a time, or as much as the FIFO holds") {
    const bool fifo = GENERATE(false, true);
    FloppyRig rig;
    rig.start();
    rig.send({0x03, 0xdf, 0x03});
    rig.send({0x13, 0x00, fifo ? 0x07u : 0x20u, 0x00});
    rig.irq.edges = 0;
    rig.send({0x46, 0x00, 0, 0, 4, 2, 4, 0x1b, 0xff});
    Bytes data;
    while ((rig.inb(0x3f4) & 0xf0) == 0xf0) {
        REQUIRE(rig.irq.level);
        data.push_back(rig.inb(0x3f5));
    }
    CHECK(data == sector_pattern(3));
    // Nobody gives terminal count: the end of the track is an error that drivers expect.
    CHECK(rig.irq.edges == (fifo ? 512 / 9 + 1 : 512) + 1);
    CHECK(rig.result() == Bytes{0x40, 0x80, 0, 1, 0, 1, 2});

    rig.send({0x45, 0x00, 0, 0, 6, 2, 6, 0x1b, 0xff});
    const auto written = sector_pattern(99);
    for (const auto byte : written) {
        REQUIRE((rig.inb(0x3f4) & 0xf0) == 0xb0);
        rig.outb(0x3f5, byte);
    }
    CHECK(rig.result()[1] == 0x80);
    CHECK(rig.on_disk(5) == written);
}

TEST_CASE("a medium that takes its time, and one that fails") {
    FloppyRig rig;
    rig.start();
    rig.disk->deferred = true;
    rig.into_memory(1024);
    rig.send({0x46, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff});
    CHECK(rig.inb(0x3f4) == 0x10);
    rig.disk->complete_one();
    CHECK_FALSE(rig.irq.level);
    rig.disk->complete_one();
    CHECK(rig.irq.level);
    CHECK(rig.result()[0] == 0);
    CHECK(rig.memory(512, 512) == sector_pattern(1));
    rig.disk->deferred = false;
    rig.disk->bad_offset = 512;
    rig.into_memory(1024);
    CHECK(rig.command({0x46, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff}) == Bytes{0x40, 0x20, 0x20, 0, 0, 2, 2});
    rig.out_of_memory(1024);
    CHECK(rig.command({0x45, 0x00, 0, 0, 2, 2, 18, 0x1b, 0xff}) == Bytes{0x40, 0x20, 0x20, 0, 0, 2, 2});
}

TEST_CASE("a completion that comes after a reset is ignored") {
    const bool write = GENERATE(false, true);
    FloppyRig rig;
    rig.start();
    rig.disk->deferred = true;
    rig.channel2(write ? 0x4a : 0x46, 512);
    rig.send({write ? 0x45u : 0x46u, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff});
    REQUIRE(rig.disk->waiting() == 1);
    rig.start();
    // The next command is under way when the old completion arrives.
    rig.into_memory(512);
    rig.send({0x46, 0x00, 0, 0, 9, 2, 18, 0x1b, 0xff});
    rig.disk->complete_one();
    CHECK(rig.inb(0x3f4) == 0x10);
    rig.disk->complete_one();
    CHECK(rig.result()[5] == 10);
    CHECK(rig.memory(512) == sector_pattern(8));
}

TEST_CASE("a pause starts nothing new and loses nothing") {
    FloppyRig rig;
    rig.start();
    rig.disk->deferred = true;
    rig.into_memory(1024);
    rig.send({0x46, 0x00, 0, 0, 1, 2, 18, 0x1b, 0xff});
    rig.floppy.pause();
    rig.disk->complete_one();
    CHECK(rig.disk->waiting() == 0);
    rig.floppy.resume();
    CHECK(rig.disk->waiting() == 1);
    rig.disk->complete_one();
    CHECK(rig.result()[0] == 0);
    CHECK(rig.memory(512) == sector_pattern(0));
    CHECK(rig.memory(512, 512) == sector_pattern(1));
}
