// SPDX-License-Identifier: GPL-2.0-or-later
// IDENTIFY and the commands without data.
#include "devmodel/devices/storage/ata_disk.hpp"
#include "test/unit/storage/ide_rig.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

namespace {
constexpr unsigned base = IdeRig::primary;

struct Disk : IdeRig {
    explicit Disk(std::size_t sectors = 4096) : backend{add_disk(0, 0, sectors)} {
        power_on();
        outb(base + 6, 0xe0);
    }
    std::vector<unsigned> identify() {
        command(base, 0xec);
        REQUIRE(irq[0].level);
        REQUIRE(status(base) == 0x58);
        const auto bytes = insw(base, 512);
        REQUIRE(status(base) == 0x50);
        std::vector<unsigned> words;
        for (std::size_t i = 0; i < 512; i += 2)
            words.push_back(bytes[i] | unsigned{bytes[i + 1]} << 8);
        return words;
    }
    bool simple(unsigned code, unsigned feature = 0, unsigned count = 0) {
        outb(base + 1, feature);
        outb(base + 2, count);
        command(base, code);
        CHECK(irq[0].level);
        const auto now = status(base);
        CHECK((now & (busy | drq)) == 0);
        return (now & err) == 0;
    }
    MemoryBackend& backend;
};
} // namespace

TEST_CASE("IDENTIFY DEVICE describes the disk") {
    Disk disk{16 * 63 * 20 + 5};
    const auto id = disk.identify();
    CHECK(id[0] == 0x0040);
    CHECK(id[1] == 20);
    CHECK(id[3] == 16);
    CHECK(id[6] == 63);
    CHECK(id[27] == ('E' << 8 | 'S'));
    CHECK(id[60] + (id[61] << 16) == 16 * 63 * 20 + 5);
    CHECK(id[100] + (id[101] << 16) == 16 * 63 * 20 + 5);
    CHECK(id[57] + (id[58] << 16) == 16 * 63 * 20);
    CHECK((id[49] & 0x0300) == 0x0300); // DMA and LBA
    CHECK((id[63] & 7) == 7);
    CHECK((id[83] & 0xc400) == 0x4400); // 48-bit addresses
    CHECK((id[80] & 0x40) != 0);        // ATA/ATAPI-6
}

TEST_CASE("a disk beyond 128 GiB reports both capacities") {
    struct Huge final : BlockBackend {
        [[nodiscard]] std::uint64_t size() const override { return std::uint64_t{3} << 40; }
        [[nodiscard]] bool read_only() const override { return true; }
        [[nodiscard]] std::string description() const override { return "huge"; }
        void read(std::uint64_t offset, std::span<std::uint8_t> data, Completion done) override {
            last = offset;
            std::ranges::fill(data, std::uint8_t{0x42});
            done({});
        }
        void write(std::uint64_t, std::span<const std::uint8_t>, Completion done) override { done({}); }
        void flush(Completion done) override { done({}); }
        std::uint64_t last = 0;
    };
    auto owned = std::make_unique<Huge>();
    auto& huge = *owned;
    IdeRig rig;
    rig.ide.attach(0, 0, std::make_unique<AtaDisk>(std::move(owned)));
    rig.power_on();
    rig.outb(base + 6, 0xe0);
    rig.command(base, 0xec);
    const auto id = rig.insw(base, 512);
    auto word = [&](unsigned i) { return id[2 * i] | std::uint64_t{id[2 * i + 1]} << 8; };
    CHECK(word(1) == 16383);
    CHECK((word(60) | word(61) << 16) == 0x0fffffff);
    CHECK((word(100) | word(101) << 16 | word(102) << 32) == (std::uint64_t{3} << 31));
    const std::uint64_t lba = (std::uint64_t{3} << 31) - 1;
    rig.lba48(base, 0, lba, 1);
    rig.command(base, 0x24);
    CHECK(rig.insw(base, 512) == Bytes(512, 0x42));
    CHECK(huge.last == lba * 512);
    rig.command(base, 0x27); // READ NATIVE MAX ADDRESS EXT
    CHECK(rig.inb(base + 3) == 0xff);
    rig.outb(IdeRig::control(base), 0x80);
    CHECK(rig.inb(base + 3) == 0x7f); // bits 31:24 of 0x17fffffff
    CHECK(rig.inb(base + 4) == 0x01);
}

TEST_CASE("the registers hold their previous contents for HOB") {
    Disk disk;
    disk.lba48(base, 0, 0x123456789abc, 0x55aa);
    CHECK(disk.inb(base + 3) == 0xbc);
    disk.outb(IdeRig::control(base), 0x80);
    CHECK(disk.inb(base + 2) == 0x55);
    CHECK(disk.inb(base + 3) == 0x56);
    CHECK(disk.inb(base + 4) == 0x34);
    CHECK(disk.inb(base + 5) == 0x12);
    disk.outb(base + 6, 0xe0); // any write of the command block takes HOB back
    CHECK(disk.inb(base + 2) == 0xaa);
}

TEST_CASE("SET FEATURES") {
    Disk disk;
    SECTION("write cache and look-ahead show in IDENTIFY") {
        CHECK((disk.identify()[85] & 0x60) == 0x60);
        CHECK(disk.simple(0xef, 0x82));
        CHECK(disk.backend.flushes == 1);
        CHECK(disk.simple(0xef, 0x55));
        CHECK((disk.identify()[85] & 0x60) == 0);
        CHECK(disk.simple(0xef, 0x02));
        CHECK(disk.simple(0xef, 0xaa));
        CHECK((disk.identify()[85] & 0x60) == 0x60);
    }
    SECTION("without its write cache the disk flushes before it acknowledges") {
        CHECK(disk.simple(0xef, 0x82));
        const auto flushes = disk.backend.flushes;
        disk.lba28(base, 0, 0, 1);
        disk.command(base, 0x30);
        disk.outsw(base, pattern(512));
        CHECK(disk.status(base) == 0x50);
        CHECK(disk.backend.flushes == flushes + 1);
    }
    SECTION("transfer modes") {
        for (const unsigned mode : {0x00u, 0x01u, 0x08u, 0x0cu, 0x20u, 0x22u, 0x40u, 0x45u})
            CHECK(disk.simple(0xef, 0x03, mode));
        CHECK(disk.identify()[88] == 0x203f);
        CHECK((disk.identify()[63] >> 8) == 0);
        CHECK(disk.simple(0xef, 0x03, 0x21));
        CHECK(disk.identify()[63] == 0x0207);
        for (const unsigned mode : {0x02u, 0x0du, 0x10u, 0x23u, 0x46u, 0x80u, 0xffu})
            CHECK_FALSE(disk.simple(0xef, 0x03, mode));
    }
    SECTION("0x66 keeps settings over a software reset, 0xcc does not") {
        const bool keep = GENERATE(true, false);
        CHECK(disk.simple(0xef, keep ? 0x66 : 0xcc));
        CHECK(disk.simple(0xc6, 0, 8));
        disk.outb(IdeRig::control(base), 4);
        disk.outb(IdeRig::control(base), 0);
        CHECK(disk.identify()[59] == (keep ? 0x108 : 0x110));
    }
    SECTION("what is not supported aborts") {
        for (const unsigned feature : {0x00u, 0x05u, 0x42u, 0x5du, 0x99u, 0xffu}) {
            CHECK_FALSE(disk.simple(0xef, feature));
            CHECK(disk.inb(base + 1) == 0x04);
        }
    }
}

TEST_CASE("commands without data") {
    Disk disk{4096};
    for (const unsigned code :
         {0x10u, 0x1fu, 0x70u, 0xe0u, 0xe1u, 0xe2u, 0xe3u, 0xe7u, 0xeau, 0xe6u, 0x94u, 0x95u})
        CHECK(disk.simple(code));
    // NOP, SMART, SECURITY, SET MAX, media, packet and reserved codes.
    for (const unsigned code :
         {0x00u, 0xb0u, 0xf1u, 0xf9u, 0xdau, 0xa0u, 0xa1u, 0x08u, 0x92u, 0xffu, 0x26u}) {
        CHECK_FALSE(disk.simple(code));
        CHECK(disk.inb(base + 1) == 0x04);
    }
    CHECK(disk.simple(0xe0));
    CHECK(disk.simple(0xe5));
    CHECK(disk.inb(base + 2) == 0x00); // standby
    disk.lba28(base, 0, 1, 1);
    disk.command(base, 0x40); // VERIFY spins it up
    CHECK(disk.status(base) == 0x50);
    CHECK(disk.simple(0xe5));
    CHECK(disk.inb(base + 2) == 0xff);
    disk.outb(base + 6, 0xe0);
    CHECK(disk.simple(0xf8));
    CHECK(disk.inb(base + 3) == 0xff);
    CHECK(disk.inb(base + 4) == 0x0f);
}

TEST_CASE("a failed flush is an error") {
    Disk disk;
    disk.backend.fail_flush = true;
    CHECK_FALSE(disk.simple(0xe7));
    CHECK(disk.inb(base + 1) == 0x04);
}

TEST_CASE("the smallest disks have a geometry") {
    const std::size_t sectors = GENERATE(1u, 62u, 1007u);
    Disk disk{sectors};
    const auto id = disk.identify();
    CHECK(id[1] * id[3] * id[6] <= sectors);
    CHECK(id[1] * id[3] * id[6] > 0);
}
