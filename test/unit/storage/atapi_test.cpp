// SPDX-License-Identifier: GPL-2.0-or-later
// PACKET: phases, reading, tray and attention.
#include "devmodel/devices/storage/atapi_cdrom.hpp"
#include "test/unit/storage/ide_rig.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

namespace {
constexpr unsigned base = IdeRig::secondary, bm = IdeRig::bus_master + 8;

std::unique_ptr<MemoryBackend> disc(std::size_t bytes) {
    auto backend = std::make_unique<MemoryBackend>(bytes, true);
    backend->bytes = pattern(bytes, 0x99);
    return backend;
}

std::vector<std::uint8_t> read10(std::uint32_t lba, unsigned count) {
    return {0x28,
            0,
            static_cast<std::uint8_t>(lba >> 24),
            static_cast<std::uint8_t>(lba >> 16),
            static_cast<std::uint8_t>(lba >> 8),
            static_cast<std::uint8_t>(lba),
            0,
            static_cast<std::uint8_t>(count >> 8),
            static_cast<std::uint8_t>(count)};
}

struct Drive : IdeRig {
    explicit Drive(std::size_t bytes = 400 * 2048, bool settled = true) {
        auto owned = bytes != 0 ? disc(bytes) : nullptr;
        backend = owned.get();
        cdrom = &add_cdrom(1, 0, std::move(owned));
        power_on();
        if (settled)
            command_packet({0x03, 0, 0, 0, 18}); // takes the power-on attention
    }
    Bytes command_packet(std::vector<std::uint8_t> cdb, unsigned limit = 0xfffe,
                         std::span<const std::uint8_t> out = {}) {
        return packet(base, 0, std::move(cdb), limit, out);
    }
    bool good(std::vector<std::uint8_t> cdb) {
        command_packet(std::move(cdb));
        return (last_status & err) == 0;
    }
    unsigned sense_of(std::vector<std::uint8_t> cdb) {
        command_packet(std::move(cdb));
        REQUIRE((last_status & err) != 0);
        const unsigned key = inb(base + 1) >> 4;
        const auto all = sense(base, 0);
        CHECK(all >> 16 == key);
        return all;
    }
    Bytes sectors(std::size_t lba, std::size_t count) {
        const auto from = backend->bytes.begin() + static_cast<std::ptrdiff_t>(lba * 2048);
        return {from, from + static_cast<std::ptrdiff_t>(count * 2048)};
    }
    MemoryBackend* backend;
    AtapiCdrom* cdrom;
};
} // namespace

TEST_CASE("READ by PIO in blocks of the byte count limit") {
    Drive drive;
    SECTION("SeaBIOS: one sector a block") {
        CHECK(drive.command_packet(read10(10, 5), 2048) == drive.sectors(10, 5));
        CHECK(drive.blocks == 5);
    }
    SECTION("a generous limit") {
        CHECK(drive.command_packet(read10(10, 100), 0xfffe) == drive.sectors(10, 100));
        CHECK(drive.blocks == 4); // 31 sectors a block, and the rest
    }
    SECTION("less than a sector, and odd") {
        CHECK(drive.command_packet(read10(3, 2), 1023) == drive.sectors(3, 2));
        CHECK(drive.blocks == 5); // 1022 bytes a block
    }
    SECTION("no limit given") {
        CHECK(drive.command_packet(read10(3, 2), 0) == drive.sectors(3, 2));
    }
    SECTION("READ(12) and READ CD") {
        CHECK(drive.command_packet({0xa8, 0, 0, 0, 0, 7, 0, 0, 0, 3}) == drive.sectors(7, 3));
        CHECK(drive.command_packet({0xbe, 0, 0, 0, 0, 7, 0, 0, 3, 0x10}) == drive.sectors(7, 3));
    }
    SECTION("nothing") {
        CHECK(drive.command_packet(read10(3, 0)).empty());
        CHECK((drive.last_status & IdeRig::err) == 0);
    }
    CHECK(drive.last_status == 0x50);
}

TEST_CASE("READ by DMA") {
    const bool deferred = GENERATE(false, true);
    Drive drive;
    drive.backend->deferred = deferred;
    drive.prd_table(0x1000, {{0x100000, 0}, {0x110000, 0}, {0x120000, 0x8000}});
    drive.outl(bm + 4, 0x1000);
    drive.outb(base + 6, 0xa0);
    drive.outb(base + 1, 1);
    drive.command(base, 0xa0);
    CHECK((drive.inb(base + 2) & 3) == 1);
    auto cdb = read10(20, 80);
    cdb.resize(12);
    drive.outsw(base, cdb);
    drive.outb(bm, 9);
    drive.backend->complete_all();
    CHECK(drive.irq[1].level);
    CHECK((drive.inb(bm + 2) & 7) == 4);
    CHECK(drive.status(base) == 0x50);
    CHECK((drive.inb(base + 2) & 3) == 3);
    CHECK(drive.guest_bytes(0x100000, 80 * 2048) == drive.sectors(20, 80));
}

TEST_CASE("a reply by DMA, and a refusal") {
    Drive drive;
    drive.prd_table(0x1000, {{0x100000, 36}});
    drive.outl(bm + 4, 0x1000);
    drive.outb(base + 1, 1);
    drive.command(base, 0xa0);
    drive.outsw(base, Bytes{0x12, 0, 0, 0, 36, 0, 0, 0, 0, 0, 0, 0});
    drive.outb(bm, 9);
    CHECK((drive.inb(bm + 2) & 7) == 4);
    CHECK(drive.memory.bytes()[0x100000] == 5);
    drive.outb(bm, 0);
    drive.outb(base + 1, 1);
    drive.command(base, 0xa0);
    drive.outsw(base, Bytes{0xff, 0, 0, 0, 36, 0, 0, 0, 0, 0, 0, 0});
    CHECK((drive.status(base) & IdeRig::err) != 0);
}

TEST_CASE("an image that ends within a sector is padded with zeros") {
    Drive drive{10 * 2048 + 600};
    const auto data = drive.command_packet(read10(9, 2));
    REQUIRE(data.size() == 4096);
    CHECK(std::equal(data.begin(), data.begin() + 2648, drive.backend->bytes.begin() + 9 * 2048));
    CHECK(std::all_of(data.begin() + 2648, data.end(), [](auto b) { return b == 0; }));
    CHECK(drive.command_packet({0x25})[3] == 10);
}

TEST_CASE("READ CD delivers raw sectors") {
    Drive drive;
    const auto data = drive.command_packet({0xbe, 0, 0, 0, 0, 60, 0, 0, 100, 0xf8}, 0xfffe);
    REQUIRE(data.size() == 100 * 2352);
    for (std::size_t i = 0; i < 100; ++i) {
        const auto wanted = drive.sectors(60 + i, 1);
        REQUIRE(std::equal(wanted.begin(), wanted.end(),
                           data.begin() + static_cast<std::ptrdiff_t>(i * 2352 + 16)));
        REQUIRE(data[i * 2352 + 1] == 0xff);
    }
    // READ CD MSF: 00:02:05 to 00:02:07
    CHECK(drive.command_packet({0xb9, 0, 0, 0, 2, 5, 0, 2, 7, 0x10}) == drive.sectors(5, 2));
    CHECK(drive.sense_of({0xb9, 0, 0, 0, 1, 5, 0, 2, 7, 0x10}) == 0x052400);
    CHECK(drive.sense_of({0xbe, 0x04, 0, 0, 0, 1, 0, 0, 1, 0x10}) == 0x056400); // CD-DA
    CHECK(drive.sense_of({0xbe, 0, 0, 0, 0, 1, 0, 0, 1, 0x10, 1}) == 0x052400); // subchannel
    CHECK(drive.good({0xbe, 0, 0, 0, 0, 1, 0, 0, 1, 0}));
}

TEST_CASE("addresses beyond the medium, unknown commands, bad sectors") {
    Drive drive;
    CHECK(drive.sense_of(read10(400, 1)) == 0x052100);
    CHECK(drive.sense_of(read10(399, 2)) == 0x052100);
    CHECK(drive.sense_of(read10(0xffffffff, 0xffff)) == 0x052100);
    CHECK(drive.sense_of({0xff}) == 0x052000);
    CHECK(drive.sense_of({0x2a}) == 0x052000); // WRITE(10)
    CHECK(drive.inb(base + 1) == 0x00);        // by then of REQUEST SENSE
    drive.backend->bad_offset = 50 * 2048;
    CHECK(drive.command_packet(read10(48, 4)) == drive.sectors(48, 2));
    CHECK((drive.last_status & IdeRig::err) != 0);
    CHECK(drive.sense(base, 0) == 0x031100);
    CHECK(drive.sense(base, 0) == 0x000000);
}

TEST_CASE("power-on attention comes once, and some commands pass it") {
    Drive drive{400 * 2048, false};
    CHECK(drive.good({0x12, 0, 0, 0, 36}));
    CHECK(drive.sense_of({0x00}) == 0x062900);
    CHECK(drive.good({0x00}));
    drive.ide.reset(ResetKind::System);
    drive.power_on();
    CHECK(drive.sense_of({0x00}) == 0x062900);
}

TEST_CASE("a drive without a medium") {
    Drive drive{0};
    CHECK(drive.sense_of({0x00}) == 0x023a01);
    CHECK(drive.sense_of(read10(0, 1)) == 0x023a01);
    CHECK(drive.sense_of({0x25}) == 0x023a01);
    CHECK(drive.sense_of({0x43, 0, 0, 0, 0, 0, 0, 0, 12}) == 0x023a01);
    CHECK(drive.command_packet({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8}) == Bytes{0, 6, 4, 0x10, 0, 0, 0, 0});
    CHECK(drive.command_packet({0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 8})[2] == 0x70);
    // The user inserts a disc.
    drive.cdrom->insert(disc(2048 * 7));
    CHECK(drive.sense_of({0x00}) == 0x062800);
    CHECK(drive.good({0x00}));
    CHECK(drive.command_packet({0x25})[3] == 6);
    CHECK(drive.command_packet({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8}) == Bytes{0, 6, 4, 0x10, 2, 2, 0, 0});
    CHECK(drive.command_packet({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8}) == Bytes{0, 6, 4, 0x10, 0, 2, 0, 0});
}

TEST_CASE("the guest ejects, loads and locks") {
    Drive drive;
    CHECK(drive.good({0x1e, 0, 0, 0, 1}));
    CHECK(drive.cdrom->locked());
    CHECK(drive.sense_of({0x1b, 0, 0, 0, 2}) == 0x055302);
    CHECK(drive.cdrom->medium_present());
    CHECK(drive.good({0x1e, 0, 0, 0, 0}));
    CHECK(drive.good({0x1b, 0, 0, 0, 2}));
    CHECK_FALSE(drive.cdrom->medium_present());
    CHECK(drive.sense_of({0x00}) == 0x023a02); // tray open
    CHECK(drive.command_packet({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8})[5] == 1);
    CHECK(drive.command_packet({0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8})[1] == 0x10);
    CHECK(drive.good({0x1b, 0, 0, 0, 3}));
    CHECK(drive.sense_of({0x00}) == 0x062800);
    CHECK(drive.good({0x00}));
    CHECK(drive.good({0x1b, 0, 0, 0, 0})); // stop
    CHECK(drive.good({0x1b, 0, 0, 0, 1})); // start
}

TEST_CASE("the user ejects in the middle of a read") {
    Drive drive;
    drive.backend->deferred = true;
    drive.outb(base + 6, 0xa0);
    drive.outb(base + 1, 0);
    drive.outb(base + 4, 0);
    drive.outb(base + 5, 8);
    drive.command(base, 0xa0);
    auto cdb = read10(0, 4);
    cdb.resize(12);
    drive.outsw(base, cdb);
    CHECK((drive.status(base) & IdeRig::busy) != 0);
    drive.cdrom->eject();
    CHECK(drive.irq[1].level);
    CHECK((drive.status(base) & 0x89) == IdeRig::err);
    CHECK(drive.sense(base, 0) == 0x023a01);
    CHECK(drive.sense_of({0x00}) == 0x023a01);
}

TEST_CASE("the user's eject button: at once, or as a wish while the guest has locked the drive") {
    Drive drive;
    const auto event = [&] { return drive.command_packet({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8}); };
    CHECK(drive.good({0x1e, 0, 0, 0, 1}));
    CHECK_FALSE(drive.cdrom->ask_to_eject());
    CHECK(drive.good({0x00})); // still there
    CHECK(event() == Bytes{0, 6, 4, 0x10, 1, 2, 0, 0});
    CHECK(event() == Bytes{0, 6, 4, 0x10, 0, 2, 0, 0}); // told once
    // The guest unlocks and opens the tray: the user takes the medium.
    CHECK(drive.good({0x1e, 0, 0, 0, 0}));
    CHECK(drive.good({0x1b, 0, 0, 0, 2}));
    CHECK(drive.cdrom->medium_name().empty());
    CHECK(event()[4] == 3);
    CHECK(drive.sense_of({0x00}) == 0x023a02);
    CHECK(drive.good({0x1b, 0, 0, 0, 3})); // an empty tray closes
    CHECK(drive.sense_of({0x00}) == 0x023a01);

    drive.cdrom->insert(disc(2048 * 5));
    CHECK(drive.sense_of({0x00}) == 0x062800);
    CHECK(drive.cdrom->ask_to_eject()); // not locked
    CHECK(event() == Bytes{0, 6, 4, 0x10, 3, 0, 0, 0});
    CHECK(drive.sense_of({0x00}) == 0x023a01);
    CHECK(drive.cdrom->ask_to_eject()); // empty already
}

TEST_CASE("a wish to eject ends with the medium that it was for") {
    Drive drive;
    CHECK(drive.good({0x1e, 0, 0, 0, 1}));
    CHECK_FALSE(drive.cdrom->ask_to_eject());
    drive.cdrom->insert(disc(2048 * 5)); // by force
    CHECK(drive.sense_of({0x00}) == 0x062800);
    CHECK(drive.good({0x1e, 0, 0, 0, 0}));
    CHECK(drive.good({0x1b, 0, 0, 0, 2}));
    CHECK(drive.cdrom->medium_name() == "memory"); // the guest's own eject leaves it on the tray
    CHECK(drive.good({0x1b, 0, 0, 0, 3}));
    CHECK(drive.sense_of({0x00}) == 0x062800);
    CHECK(drive.good({0x00}));
}

TEST_CASE("DEVICE RESET ends a command without an interrupt") {
    Drive drive;
    drive.outb(base + 1, 0);
    drive.command(base, 0xa0);
    const auto edges = drive.irq[1].edges;
    drive.command(base, 0x08);
    CHECK(drive.inb(IdeRig::control(base)) == 0x00);
    CHECK(drive.inb(base + 4) == 0x14);
    CHECK(drive.inb(base + 5) == 0xeb);
    CHECK(drive.irq[1].edges == edges);
    CHECK(drive.good({0x00}));
}

TEST_CASE("ATA commands of the packet device") {
    Drive drive;
    drive.command(base, 0xa1);
    CHECK(drive.irq[1].level);
    CHECK(drive.status(base) == 0x58);
    const auto id = drive.insw(base, 512);
    CHECK_FALSE(drive.irq[1].level); // IDENTIFY has no second interrupt
    CHECK(drive.status(base) == 0x50);
    CHECK(id[1] == 0x85);
    CHECK((id[0] & 0x60) == 0x40); // DRQ comes without INTRQ
    for (const unsigned code : {0xe0u, 0xe1u, 0xe5u}) {
        drive.command(base, code);
        CHECK(drive.status(base) == 0x50);
    }
    for (const unsigned code : {0x00u, 0x20u, 0xecu, 0xc8u, 0xe7u, 0x91u}) {
        drive.command(base, code);
        CHECK((drive.status(base) & 0x89) == IdeRig::err);
        CHECK(drive.inb(base + 1) == 0x04);
    }
    drive.outb(base + 1, 3);
    drive.outb(base + 2, 0x22);
    drive.command(base, 0xef);
    CHECK(drive.status(base) == 0x50);
    drive.outb(base + 1, 2); // overlap
    drive.command(base, 0xa0);
    CHECK((drive.status(base) & IdeRig::err) != 0);
}

TEST_CASE("what Windows 95 and old drivers send") {
    Drive drive;
    CHECK(drive.good({0x4b, 0, 0, 0, 0, 0, 0, 0, 0})); // PAUSE
    CHECK(drive.good({0x4e}));                         // STOP
    CHECK(drive.good({0x2b, 0, 0, 0, 0, 9}));          // SEEK
    CHECK(drive.sense_of({0x45, 0, 0, 0, 0, 0, 0, 0, 1}) == 0x056400);
    CHECK(drive.good({0xbb, 0, 0xff, 0xff}));
    CHECK(drive.command_packet({0x42, 2, 0x40, 1, 0, 0, 0, 0, 16}).size() == 16);
}
