// SPDX-License-Identifier: GPL-2.0-or-later
// Resets and pauses with requests under way.
#include "devmodel/devices/storage/piix_ide.hpp"
#include "test/unit/storage/ide_rig.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

namespace {
constexpr unsigned base = IdeRig::primary, bm = IdeRig::bus_master;

struct Disk : IdeRig {
    Disk() : backend{add_disk(0, 0, 4096)} {
        power_on();
        backend.deferred = true;
    }
    void read_dma(unsigned lba, unsigned count, std::uint32_t to) {
        prd_table(0x1000, {{to, 0}, {to + 0x10000, 0}, {to + 0x20000, 0}});
        outl(bm + 4, 0x1000);
        outb(bm, 8);
        lba48(base, 0, lba, count);
        command(base, 0x25);
        outb(bm, 9);
    }
    MemoryBackend& backend;
};
} // namespace

TEST_CASE("a completion that comes after a reset is ignored") {
    enum class Command { PioRead, DmaRead, Flush };
    const auto what = GENERATE(Command::PioRead, Command::DmaRead, Command::Flush);
    const bool soft = GENERATE(true, false);
    Disk disk;
    if (what == Command::PioRead) {
        disk.lba28(base, 0, 1, 1);
        disk.command(base, 0x20);
    } else if (what == Command::DmaRead) {
        disk.read_dma(1, 8, 0x100000);
    } else {
        disk.outb(base + 6, 0xe0);
        disk.command(base, 0xe7);
    }
    REQUIRE(disk.status(base) == IdeRig::busy);
    REQUIRE(disk.backend.waiting() == 1);
    if (soft) {
        disk.outb(IdeRig::control(base), 4);
        disk.outb(IdeRig::control(base), 0);
    } else {
        disk.ide.reset(ResetKind::System);
        disk.power_on();
    }
    CHECK(disk.status(base) == 0x50);
    // The next command is under way when the old completion arrives.
    disk.lba28(base, 0, 7, 1);
    disk.command(base, 0x20);
    disk.backend.complete_one();
    CHECK(disk.status(base) == IdeRig::busy);
    CHECK_FALSE(disk.irq[0].level);
    CHECK(disk.guest_bytes(0x100000, 16) == Bytes(16, 0));
    disk.backend.complete_one();
    CHECK(disk.irq[0].level);
    const auto data = disk.insw(base, 512);
    CHECK(std::equal(data.begin(), data.end(), disk.backend.bytes.begin() + 7 * 512));
}

TEST_CASE("a write that a reset abandons keeps its data until it is done") {
    Disk disk;
    const auto first = pattern(512, 0x11), second = pattern(512, 0x22);
    disk.lba28(base, 0, 5, 1);
    disk.command(base, 0x30);
    disk.outsw(base, first);
    disk.outb(IdeRig::control(base), 4);
    disk.outb(IdeRig::control(base), 0);
    disk.lba28(base, 0, 6, 1);
    disk.command(base, 0x30);
    disk.outsw(base, second);
    disk.backend.complete_all();
    CHECK(std::equal(first.begin(), first.end(), disk.backend.bytes.begin() + 5 * 512));
    CHECK(std::equal(second.begin(), second.end(), disk.backend.bytes.begin() + 6 * 512));
}

TEST_CASE("a paused machine's requests complete, and no new ones start") {
    Disk disk;
    disk.read_dma(0, 384, 0x100000); // two chunks
    REQUIRE(disk.backend.waiting() == 1);
    disk.ide.pause();
    disk.backend.complete_all();
    CHECK(disk.backend.waiting() == 0);
    CHECK(disk.guest_bytes(0x100000, 16) == Bytes(16, 0)); // guest memory stands still, too
    CHECK_FALSE(disk.irq[0].level);
    disk.ide.resume();
    CHECK(disk.backend.waiting() == 1);
    disk.backend.complete_all();
    CHECK(disk.irq[0].level);
    CHECK(disk.guest_bytes(0x100000, 384 * 512) ==
          Bytes(disk.backend.bytes.begin(), disk.backend.bytes.begin() + 384 * 512));
}

TEST_CASE("a controller that goes away with a request under way") {
    IdeRig rig;
    auto owned = std::make_unique<MemoryBackend>(64 * 512);
    owned->deferred = true;
    rig.ide.attach(0, 0, std::make_unique<AtaDisk>(std::move(owned)));
    rig.power_on();
    rig.lba28(base, 0, 1, 1);
    rig.command(base, 0x20);
    CHECK(rig.status(base) == IdeRig::busy);
}

TEST_CASE("a place on the cable is taken once") {
    IdeRig rig;
    rig.add_disk(0, 0, 8);
    CHECK_THROWS_AS(rig.add_disk(0, 0, 8), std::logic_error);
}
