// SPDX-License-Identifier: GPL-2.0-or-later
// The bus master: registers, tables of every shape, and how transfers end.
#include "devmodel/devices/storage/bus_master.hpp"
#include "test/unit/storage/ide_rig.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

namespace {
constexpr unsigned base = IdeRig::primary, bm = IdeRig::bus_master;
constexpr std::uint32_t table = 0x1000, target = 0x100000;
constexpr unsigned active = 1, error = 2, interrupt = 4;

struct Disk : IdeRig {
    explicit Disk(bool deferred = false) : backend{add_disk(0, 0, 8192)} {
        power_on();
        backend.deferred = deferred;
    }
    // As Linux' ata_bmdma: table, direction, status cleared, command, start.
    void start(unsigned code, std::initializer_list<Prd> prds, std::uint32_t lba, unsigned count) {
        prd_table(table, prds);
        outl(bm + 4, table);
        const bool write = code == 0xca || code == 0x35;
        outb(bm, write ? 0 : 8);
        outb(bm + 2, inb(bm + 2) | error | interrupt);
        lba48(base, 0, lba, count);
        command(base, code);
        outb(bm, write ? 1 : 9);
    }
    unsigned bm_status() { return inb(bm + 2) & 7; }
    Bytes sectors(std::size_t lba, std::size_t count) {
        const auto from = backend.bytes.begin() + static_cast<std::ptrdiff_t>(lba * 512);
        return {from, from + static_cast<std::ptrdiff_t>(count * 512)};
    }
    MemoryBackend& backend;
};
} // namespace

TEST_CASE("bus master registers") {
    IdeRig rig;
    rig.power_on();
    rig.outl(bm + 4, 0x12345677);
    CHECK(rig.inb(bm + 4) == 0x74); // dword-aligned
    CHECK(rig.inb(bm + 7) == 0x12);
    CHECK(rig.inb(bm + 2) == 0x00); // not simplex
    rig.outb(bm + 2, 0xff);
    CHECK(rig.inb(bm + 2) == 0x60);
    rig.outb(bm, 0xff);
    CHECK(rig.inb(bm) == 0x09);
    CHECK(rig.inb(bm + 2) == 0x61);
    CHECK(rig.inb(bm + 8 + 2) == 0x00); // the other channel
    rig.outb(bm, 0);
    CHECK(rig.inb(bm + 2) == 0x60);
}

TEST_CASE("READ DMA") {
    const bool deferred = GENERATE(false, true);
    Disk disk{deferred};
    disk.start(0x25, {{target, 4096}, {target + 0x8000, 8192}, {target + 0x4000, 4096}}, 64, 32);
    if (deferred) {
        CHECK(disk.bm_status() == active);
        CHECK((disk.inb(IdeRig::control(base)) & IdeRig::busy) != 0);
        CHECK_FALSE(disk.irq[0].level);
        disk.backend.complete_all();
    }
    CHECK(disk.irq[0].edges == 1);
    CHECK(disk.bm_status() == interrupt);
    CHECK(disk.status(base) == 0x50);
    CHECK(disk.guest_bytes(target, 4096) == disk.sectors(64, 8));
    CHECK(disk.guest_bytes(target + 0x8000, 8192) == disk.sectors(72, 16));
    CHECK(disk.guest_bytes(target + 0x4000, 4096) == disk.sectors(88, 8));
    CHECK(disk.backend.straight_reads == (deferred ? 0 : 1)); // straight into guest memory
    disk.outb(bm + 2, interrupt);
    CHECK(disk.bm_status() == 0);
}

TEST_CASE("WRITE DMA, also with the engine started before the command") {
    const bool deferred = GENERATE(false, true), early = GENERATE(false, true);
    Disk disk{deferred};
    const auto data = pattern(16 * 512, 0x33);
    std::ranges::copy(data, disk.memory.bytes().begin() + target);
    if (early) {
        disk.prd_table(table, {{target, 8192}});
        disk.outl(bm + 4, table);
        disk.outb(bm, 1);
        disk.lba28(base, 0, 99, 16);
        disk.command(base, 0xca);
    } else {
        disk.start(0xca, {{target, 8192}}, 99, 16);
    }
    disk.backend.complete_all();
    CHECK(disk.irq[0].level);
    CHECK(disk.bm_status() == interrupt);
    CHECK(disk.sectors(99, 16) == data);
}

TEST_CASE("transfers larger than the buffer, and regions of 64 KiB") {
    const bool deferred = GENERATE(false, true);
    Disk disk{deferred};
    disk.start(
        0x25,
        {{target, 0}, {target + 0x10000, 0}, {target + 0x20000, 0}, {target + 0x30000, 0}, {0x8000, 512}},
        1000, 513);
    disk.backend.complete_all();
    CHECK(disk.bm_status() == interrupt);
    CHECK(disk.guest_bytes(target, 0x40000) == disk.sectors(1000, 512));
    CHECK(disk.guest_bytes(0x8000, 512) == disk.sectors(1512, 1));
}

TEST_CASE("regions that are not multiples of a sector (Windows 98)") {
    const bool deferred = GENERATE(false, true);
    Disk disk{deferred};
    disk.start(0x25, {{target, 100}, {target + 0x1000, 2}, {target + 0x2000, 922}}, 7, 2);
    disk.backend.complete_all();
    CHECK(disk.bm_status() == interrupt);
    auto got = disk.guest_bytes(target, 100);
    for (const auto& part : {disk.guest_bytes(target + 0x1000, 2), disk.guest_bytes(target + 0x2000, 922)})
        got.insert(got.end(), part.begin(), part.end());
    CHECK(got == disk.sectors(7, 2));
}

TEST_CASE("a table longer than the transfer: interrupt while active") {
    Disk disk;
    disk.start(0x25, {{target, 4096}}, 7, 2);
    CHECK(disk.bm_status() == (interrupt | active));
    CHECK(disk.guest_bytes(target, 1024) == disk.sectors(7, 2));
    CHECK(disk.guest_bytes(target + 1024, 4) == Bytes(4, 0));
    disk.outb(bm, 0);
    CHECK(disk.bm_status() == interrupt);
}

TEST_CASE("a table shorter than the transfer: neither interrupt nor active, and it can go on") {
    const bool deferred = GENERATE(false, true), write = GENERATE(false, true);
    Disk disk{deferred};
    const auto data = pattern(2048, 0x21);
    std::ranges::copy(data, disk.memory.bytes().begin() + target);
    const auto before = disk.sectors(7, 4);
    disk.start(write ? 0x35 : 0x25, {{target, 700}}, 7, 4);
    disk.backend.complete_all();
    CHECK(disk.bm_status() == 0);
    CHECK_FALSE(disk.irq[0].level);
    CHECK((disk.inb(IdeRig::control(base)) & IdeRig::drq) != 0);
    // A new table for the rest.
    disk.prd_table(table, {{target + 700, 2048 - 700}});
    disk.outb(bm, 0);
    disk.outb(bm, write ? 1 : 9);
    disk.backend.complete_all();
    CHECK(disk.bm_status() == interrupt);
    if (write)
        CHECK(disk.sectors(7, 4) == data);
    else
        CHECK(disk.guest_bytes(target, 2048) == before);
}

TEST_CASE("tables and regions that are not memory set the error bit and harm nobody") {
    Disk disk{GENERATE(false, true)};
    SECTION("the table") {
        disk.outl(bm + 4, 0xfffffff8);
        disk.lba28(base, 0, 0, 1);
        disk.command(base, 0xc8);
        disk.outb(bm, 9);
    }
    SECTION("a region to be written") {
        disk.start(0x25, {{0x80000000, 512}}, 0, 1);
    }
    SECTION("a region that ends beyond memory") {
        disk.start(0x25, {{(4 << 20) - 256, 512}}, 0, 1);
    }
    SECTION("a region that wraps at 4 GiB") {
        disk.start(0x25, {{0xffffff00, 512}}, 0, 1);
    }
    SECTION("a region to be read") {
        disk.start(0x35, {{0x80000000, 512}}, 0, 1);
    }
    disk.backend.complete_all();
    CHECK(disk.bm_status() == error);
    CHECK_FALSE(disk.irq[0].level);
    CHECK(disk.backend.writes == 0);
    // A software reset brings the drive back.
    disk.outb(IdeRig::control(base), 4);
    disk.outb(IdeRig::control(base), 0);
    CHECK(disk.status(base) == 0x50);
    disk.start(0x25, {{target, 512}}, 3, 1);
    disk.backend.complete_all();
    CHECK(disk.guest_bytes(target, 512) == disk.sectors(3, 1));
}

TEST_CASE("no DMA without the bus master bit") {
    Disk disk;
    disk.config_write(4, 2, 1);
    disk.start(0x25, {{target, 512}}, 3, 1);
    CHECK_FALSE(disk.irq[0].level);
    CHECK(disk.guest_bytes(target, 512) == Bytes(512, 0));
    disk.config_write(4, 2, 5);
    CHECK(disk.irq[0].level);
    CHECK(disk.guest_bytes(target, 512) == disk.sectors(3, 1));
}

TEST_CASE("a bad sector ends a DMA read after the good ones") {
    Disk disk;
    disk.backend.bad_offset = 12 * 512;
    disk.start(0x25, {{target, 4096}}, 8, 8);
    CHECK(disk.irq[0].level);
    CHECK(disk.bm_status() == (interrupt | active));
    CHECK(disk.status(base) == 0x51);
    CHECK(disk.inb(base + 1) == 0x40);
    CHECK(disk.inb(base + 3) == 12);
    CHECK(disk.guest_bytes(target, 4 * 512) == disk.sectors(8, 4));
}

TEST_CASE("a great many tiny regions") {
    Disk disk{GENERATE(false, true)};
    std::uint32_t at = 0x200000;
    for (unsigned i = 0; i < 128 * 512 / 2; ++i, at += 8) {
        disk.store32(at, target + 4 * i);
        disk.store32(at + 4, 2 | (i + 1 == 128 * 512 / 2 ? 0x80000000u : 0));
    }
    disk.lba28(base, 0, 5, 128);
    disk.command(base, 0xc8);
    disk.outl(bm + 4, 0x200000);
    disk.outb(bm, 9);
    disk.backend.complete_all();
    CHECK(disk.bm_status() == interrupt);
    const auto wanted = disk.sectors(5, 128);
    const auto got = disk.guest_bytes(target, 128 * 512 * 2);
    bool same = true;
    for (std::size_t i = 0; i < wanted.size(); ++i)
        same = same && got[i / 2 * 4 + i % 2] == wanted[i];
    CHECK(same);
}
