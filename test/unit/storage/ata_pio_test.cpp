// SPDX-License-Identifier: GPL-2.0-or-later
// Reading and writing a disk by PIO.
#include "devmodel/devices/storage/ata_disk.hpp"
#include "test/unit/storage/ide_rig.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

namespace {
constexpr unsigned base = IdeRig::primary;

Bytes slice(const Bytes& bytes, std::size_t sector, std::size_t sectors) {
    const auto from = bytes.begin() + static_cast<std::ptrdiff_t>(sector * 512);
    return {from, from + static_cast<std::ptrdiff_t>(sectors * 512)};
}

struct Disk : IdeRig {
    explicit Disk(std::size_t sectors = 4096, bool read_only = false)
        : backend{add_disk(0, 0, sectors, read_only)} {
        power_on();
    }
    // One DRQ block after the other, each after its interrupt.
    Bytes read_blocks(std::size_t sectors, std::size_t block_sectors) {
        Bytes data;
        while (data.size() < sectors * 512) {
            REQUIRE(irq[0].level);
            REQUIRE(status(base) == 0x58);
            REQUIRE_FALSE(irq[0].level);
            const auto n = std::min(block_sectors, sectors - data.size() / 512);
            const auto block = insw(base, n * 512);
            data.insert(data.end(), block.begin(), block.end());
        }
        CHECK_FALSE(irq[0].level); // none after the last block
        CHECK(status(base) == 0x50);
        return data;
    }
    void write_blocks(const Bytes& data, std::size_t block_sectors) {
        REQUIRE_FALSE(irq[0].level); // none before the first block
        std::size_t at = 0;
        while (at < data.size()) {
            REQUIRE(inb(control(base)) == 0x58);
            const auto n = std::min(block_sectors * 512, data.size() - at);
            outsw(base, std::span{data}.subspan(at, n));
            at += n;
            REQUIRE(irq[0].level);
            REQUIRE(status(base) == (at < data.size() ? 0x58 : 0x50));
        }
    }
    MemoryBackend& backend;
};
} // namespace

TEST_CASE("READ SECTORS moves one sector an interrupt") {
    Disk disk;
    disk.lba28(base, 0, 100, 3);
    disk.command(base, 0x20);
    CHECK(disk.read_blocks(3, 1) == slice(disk.backend.bytes, 100, 3));
    CHECK(disk.backend.reads == 1); // but the medium is asked once
    CHECK(disk.inb(base + 3) == 102);
    CHECK(disk.inb(base + 2) == 0);
}

TEST_CASE("a count of 0 means 256 sectors, by READ SECTORS and by READ SECTORS EXT 65536") {
    Disk disk{70000};
    disk.lba28(base, 0, 7, 0);
    disk.command(base, 0x20);
    CHECK(disk.read_blocks(256, 1) == slice(disk.backend.bytes, 7, 256));
    disk.lba48(base, 0, 11, 0);
    disk.command(base, 0x24);
    CHECK(disk.read_blocks(65536, 1) == slice(disk.backend.bytes, 11, 65536));
}

TEST_CASE("the data port takes any width") {
    Disk disk;
    const unsigned width = GENERATE(1u, 2u, 4u);
    disk.lba28(base, 0, 9, 1);
    disk.command(base, 0x20);
    if (width == 1) { // a byte takes a word
        const auto bytes = disk.insw(base, 256, 1);
        for (std::size_t i = 0; i < 256; ++i)
            REQUIRE(bytes[i] == disk.backend.bytes[9 * 512 + 2 * i]);
    } else {
        CHECK(disk.insw(base, 512, width) == slice(disk.backend.bytes, 9, 1));
    }
    CHECK(disk.status(base) == 0x50);
    CHECK(disk.insw(base, 4, 2) == Bytes(4, 0xff)); // nothing more to have
}

TEST_CASE("one rep insw may cross blocks") {
    Disk disk;
    disk.lba28(base, 0, 5, 4);
    disk.command(base, 0x20);
    CHECK(disk.insw(base, 4 * 512) == slice(disk.backend.bytes, 5, 4));
    CHECK(disk.status(base) == 0x50);
}

TEST_CASE("READ and WRITE MULTIPLE move blocks") {
    Disk disk;
    disk.lba28(base, 0, 300, 20);
    disk.command(base, 0xc4);
    CHECK(disk.read_blocks(20, 16) == slice(disk.backend.bytes, 300, 20)); // as a BIOS sets it
    disk.outb(base + 2, 0);
    disk.command(base, 0xc6);
    CHECK(disk.status(base) == 0x50);
    disk.lba28(base, 0, 0, 8);
    disk.command(base, 0xc4);
    CHECK((disk.status(base) & IdeRig::err) != 0); // not after SET MULTIPLE MODE with 0
    CHECK(disk.inb(base + 1) == 0x04);
    disk.outb(base + 2, 8);
    disk.command(base, 0xc6);
    CHECK(disk.status(base) == 0x50);
    SECTION("28-bit") {
        disk.lba28(base, 0, 300, 20);
        disk.command(base, 0xc4);
        CHECK(disk.read_blocks(20, 8) == slice(disk.backend.bytes, 300, 20));
        const auto data = pattern(20 * 512, 0x5a);
        disk.lba28(base, 0, 31, 20);
        disk.command(base, 0xc5);
        disk.write_blocks(data, 8);
        CHECK(slice(disk.backend.bytes, 31, 20) == data);
    }
    SECTION("48-bit, more than the buffer holds") {
        disk.lba48(base, 0, 300, 601);
        disk.command(base, 0x29);
        CHECK(disk.read_blocks(601, 8) == slice(disk.backend.bytes, 300, 601));
        const auto data = pattern(601 * 512, 0xa5);
        disk.lba48(base, 0, 1000, 601);
        disk.command(base, 0x39);
        disk.write_blocks(data, 8);
        CHECK(slice(disk.backend.bytes, 1000, 601) == data);
    }
    SECTION("a count that is no power of two, or too large, is refused and disables") {
        disk.outb(base + 2, GENERATE(3u, 32u, 255u));
        disk.command(base, 0xc6);
        CHECK((disk.status(base) & IdeRig::err) != 0);
        disk.lba28(base, 0, 0, 1);
        disk.command(base, 0xc4);
        CHECK((disk.status(base) & IdeRig::err) != 0);
    }
}

TEST_CASE("WRITE SECTORS") {
    Disk disk;
    const auto before = disk.backend.bytes;
    const auto data = pattern(300 * 512, 0x77);
    SECTION("28-bit") {
        disk.lba28(base, 0, 20, 44);
        disk.command(base, 0x30);
        disk.write_blocks({data.begin(), data.begin() + 44 * 512}, 1);
        CHECK(slice(disk.backend.bytes, 20, 44) == slice(data, 0, 44));
        CHECK(slice(disk.backend.bytes, 64, 100) == slice(before, 64, 100));
    }
    SECTION("48-bit") {
        disk.lba48(base, 0, 20, 300);
        disk.command(base, 0x34);
        disk.write_blocks(data, 1);
        CHECK(slice(disk.backend.bytes, 20, 300) == data);
    }
    CHECK(slice(disk.backend.bytes, 0, 20) == slice(before, 0, 20));
}

TEST_CASE("CHS addresses follow the translation") {
    Disk disk{16 * 63 * 10};
    auto read_chs = [&](unsigned cylinder, unsigned head, unsigned sector) {
        disk.outb(base + 6, 0xa0 | head);
        disk.outb(base + 2, 1);
        disk.outb(base + 3, sector);
        disk.outb(base + 4, cylinder & 0xff);
        disk.outb(base + 5, cylinder >> 8);
        disk.command(base, 0x20);
        return disk.inb(IdeRig::control(base));
    };
    REQUIRE(read_chs(2, 3, 4) == 0x58);
    CHECK(disk.insw(base, 512) == slice(disk.backend.bytes, (2 * 16 + 3) * 63 + 3, 1));
    for (const auto& [c, h, s] : {std::tuple{0u, 0u, 0u}, {0u, 0u, 64u}, {10u, 0u, 1u}}) {
        CHECK((read_chs(c, h, s) & IdeRig::err) != 0);
        CHECK(disk.inb(base + 1) == 0x10);
    }
    // INITIALIZE DEVICE PARAMETERS: 4 heads, 17 sectors.
    disk.outb(base + 6, 0xa3);
    disk.outb(base + 2, 17);
    disk.command(base, 0x91);
    CHECK(disk.status(base) == 0x50);
    REQUIRE(read_chs(5, 2, 17) == 0x58);
    CHECK(disk.insw(base, 512) == slice(disk.backend.bytes, (5 * 4 + 2) * 17 + 16, 1));
    CHECK((read_chs(0, 4, 1) & IdeRig::err) != 0);
    disk.outb(base + 2, 0);
    disk.command(base, 0x91);
    CHECK((disk.status(base) & IdeRig::err) != 0);
}

TEST_CASE("addresses beyond the end are not found") {
    Disk disk{1000};
    disk.lba28(base, 0, 999, 1);
    disk.command(base, 0x20);
    CHECK(disk.status(base) == 0x58);
    disk.insw(base, 512);
    const unsigned code = GENERATE(0x20u, 0x30u, 0x40u, 0xc8u, 0xcau);
    for (const auto& [lba, count] : {std::pair{1000u, 1u}, {999u, 2u}, {0x0fffffffu, 0u}}) {
        disk.lba28(base, 0, lba, count);
        disk.command(base, code);
        CHECK((disk.inb(IdeRig::control(base)) & 0x89) == IdeRig::err);
        CHECK(disk.inb(base + 1) == 0x10);
        CHECK(disk.irq[0].level);
        disk.status(base);
    }
    disk.lba48(base, 0, 0xffff'ffff'ffff, 0);
    disk.command(base, 0x24);
    CHECK((disk.status(base) & 0x89) == IdeRig::err);
}

TEST_CASE("a bad sector is reported with its address after the good ones") {
    Disk disk;
    disk.backend.bad_offset = 105 * 512 + 3;
    disk.lba28(base, 0, 100, 16);
    SECTION("reading") {
        disk.command(base, 0x20);
        CHECK(disk.insw(base, 5 * 512) == slice(disk.backend.bytes, 100, 5));
        CHECK(disk.inb(IdeRig::control(base)) == 0x51);
        CHECK(disk.inb(base + 1) == 0x40);
    }
    SECTION("writing") {
        disk.command(base, 0x30);
        const auto data = pattern(16 * 512, 1);
        disk.outsw(base, data);
        CHECK(disk.inb(IdeRig::control(base)) == 0x51);
        CHECK(disk.inb(base + 1) == 0x04);
        CHECK(slice(disk.backend.bytes, 100, 5) == slice(data, 0, 5));
    }
    SECTION("verifying") {
        disk.command(base, 0x40);
        CHECK(disk.inb(IdeRig::control(base)) == 0x51);
        CHECK(disk.inb(base + 1) == 0x40);
    }
    CHECK(disk.irq[0].level);
    CHECK(disk.inb(base + 3) == 105);
    CHECK(disk.inb(base + 2) == 11); // sectors not done
}

TEST_CASE("a read-only disk refuses every write") {
    Disk disk{64, true};
    const auto before = disk.backend.bytes;
    const unsigned code = GENERATE(0x30u, 0x34u, 0x35u, 0x39u, 0xc5u, 0xcau);
    disk.lba48(base, 0, 1, 1);
    disk.command(base, code);
    CHECK((disk.status(base) & 0x89) == IdeRig::err);
    CHECK(disk.inb(base + 1) == 0x04);
    CHECK(disk.backend.bytes == before);
}

TEST_CASE("commands and register writes while data is requested are ignored") {
    Disk disk;
    disk.lba28(base, 0, 3, 1);
    disk.command(base, 0x20);
    disk.outb(base + 2, 0x55);
    disk.command(base, 0xec);
    CHECK(disk.insw(base, 512) == slice(disk.backend.bytes, 3, 1));
    CHECK(disk.status(base) == 0x50);
    CHECK(disk.inb(base + 2) == 0);
}
