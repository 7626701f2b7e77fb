// SPDX-License-Identifier: GPL-2.0-or-later
// How firmware and systems find drives, and how they find none.
#include "devmodel/devices/storage/ide_channel.hpp"
#include "test/unit/storage/ide_rig.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

namespace {

constexpr unsigned base = IdeRig::primary;

// SeaBIOS ata_detect(): do the registers hold what is written to them?
bool seabios_registers_hold(IdeRig& rig, unsigned at, unsigned unit) {
    const unsigned device = unit == 0 ? 0xa0 : 0xb0;
    rig.outb(at + 6, device);
    if ((rig.status(at) & IdeRig::busy) != 0)
        return false;
    rig.outb(at + 6, device);
    const bool selected = rig.inb(at + 6) == device;
    rig.outb(at + 2, 0x55);
    rig.outb(at + 3, 0xaa);
    return selected && rig.inb(at + 2) == 0x55 && rig.inb(at + 3) == 0xaa;
}

// Linux ata_devchk().
bool linux_devchk(IdeRig& rig, unsigned at, unsigned unit) {
    rig.outb(at + 6, unit == 0 ? 0xa0 : 0xb0);
    for (const auto& [count, low] : {std::pair{0x55u, 0xaau}, {0xaau, 0x55u}, {0x55u, 0xaau}}) {
        rig.outb(at + 2, count);
        rig.outb(at + 3, low);
    }
    return rig.inb(at + 2) == 0x55 && rig.inb(at + 3) == 0xaa;
}

void soft_reset(IdeRig& rig, unsigned at) {
    rig.outb(IdeRig::control(at), 0x0e);
    const auto during = rig.inb(IdeRig::control(at));
    CHECK((during == IdeRig::busy || during == 0x7f));
    rig.outb(IdeRig::control(at), 0x0a);
}

struct Signature {
    unsigned count, low, mid, high;
    bool operator==(const Signature&) const = default;
};
Signature signature(IdeRig& rig, unsigned at) {
    return {rig.inb(at + 2), rig.inb(at + 3), rig.inb(at + 4), rig.inb(at + 5)};
}
constexpr Signature ata_disk{1, 1, 0, 0}, atapi{1, 1, 0x14, 0xeb};

// Solaris ata_drive_type(): the presence test after a command, on the alternate status.
bool solaris_present(IdeRig& rig, unsigned at) {
    const auto alternate = rig.inb(IdeRig::control(at));
    if (alternate == 0x00 || alternate == 0x7f)
        return false;
    if ((alternate & 0x20) != 0 && (alternate & IdeRig::busy) == 0)
        return false;
    const auto status = rig.status(at);
    return status != 0xff && status != 0x7f;
}

} // namespace

TEST_CASE("an absent slave reads status 0x00 and cannot be taken for a drive") {
    IdeRig rig;
    SECTION("beside a disk") {
        rig.add_disk(0, 0, 64);
    }
    SECTION("beside a CD-ROM drive") {
        rig.add_cdrom(0, 0, nullptr);
    }
    rig.power_on();
    rig.outb(base + 6, 0xb0);
    CHECK(rig.status(base) == 0x00);
    CHECK(rig.inb(IdeRig::control(base)) == 0x00);
    CHECK_FALSE(seabios_registers_hold(rig, base, 1));
    CHECK_FALSE(linux_devchk(rig, base, 1));
    soft_reset(rig, base);
    rig.outb(base + 6, 0xb0);
    CHECK_FALSE(signature(rig, base) == atapi); // FreeBSD's phantom
    CHECK(rig.inb(base + 1) != 1);
    // IDENTIFY goes nowhere: no interrupt, no data, at once.
    const auto edges = rig.irq[0].edges;
    rig.outb(IdeRig::control(base), 0x08);
    rig.command(base, 0xec);
    CHECK_FALSE(solaris_present(rig, base));
    CHECK(rig.irq[0].edges == edges);
    // And the master is still there.
    rig.outb(base + 6, 0xa0);
    CHECK(linux_devchk(rig, base, 0));
}

TEST_CASE("an empty channel floats") {
    IdeRig rig;
    rig.power_on();
    for (const unsigned unit : {0u, 1u}) {
        rig.outb(base + 6, 0xa0 | unit << 4);
        CHECK(rig.status(base) == 0x7f); // not busy: nobody waits
        CHECK(rig.inb(IdeRig::control(base)) == 0x7f);
        CHECK_FALSE(seabios_registers_hold(rig, base, unit));
        CHECK_FALSE(linux_devchk(rig, base, unit));
        rig.command(base, 0xec);
        CHECK_FALSE(solaris_present(rig, base));
    }
    rig.command(base, 0x90);
    soft_reset(rig, base);
    CHECK(rig.irq[0].edges == 0);
    CHECK(rig.insw(base, 4) == Bytes(4, 0x7f));
}

TEST_CASE("a slave without a master is found, and the master is not") {
    IdeRig rig;
    rig.add_disk(0, 1, 64);
    rig.power_on();
    CHECK_FALSE(linux_devchk(rig, base, 0));
    CHECK(rig.status(base) == 0x7f);
    CHECK(linux_devchk(rig, base, 1));
    CHECK(seabios_registers_hold(rig, base, 1));
    rig.command(base, 0xec);
    CHECK(rig.insw(base, 512)[510] == 0xa5);
}

TEST_CASE("the signature tells disks from packet devices") {
    IdeRig rig;
    rig.add_disk(0, 0, 64);
    rig.add_cdrom(0, 1, nullptr);
    rig.power_on();
    auto check = [&] {
        rig.outb(base + 6, 0xa0);
        CHECK(signature(rig, base) == ata_disk);
        CHECK(rig.inb(base + 1) == 1);
        CHECK(rig.status(base) == 0x50);
        rig.outb(base + 6, 0xb0);
        CHECK(signature(rig, base) == atapi);
        CHECK(rig.status(base) == 0x00);
    };
    SECTION("after power-on") {
        check();
    }
    SECTION("after a software reset") {
        rig.lba28(base, 0, 5, 3);
        soft_reset(rig, base);
        CHECK((rig.inb(base + 6) & 0x10) == 0);
        check();
    }
    SECTION("after EXECUTE DEVICE DIAGNOSTIC, addressed to either, with one interrupt") {
        rig.outb(base + 6, 0xb0);
        rig.command(base, 0x90);
        CHECK(rig.irq[0].edges == 1);
        check();
    }
}

TEST_CASE("SeaBIOS finds a CD-ROM drive and a disk") {
    IdeRig rig;
    rig.add_disk(0, 0, 2048);
    rig.add_cdrom(1, 0, std::make_unique<MemoryBackend>(2048 * 20));
    rig.power_on();
    for (const unsigned at : {IdeRig::primary, IdeRig::secondary}) {
        REQUIRE(seabios_registers_hold(rig, at, 0));
        soft_reset(rig, at); // with nIEN: no interrupt may come
        rig.outb(at + 6, 0xa0);
        rig.command(at, 0xa1);
        const bool cd = (rig.status(at) & IdeRig::err) == 0;
        CHECK(cd == (at == IdeRig::secondary));
        if (!cd) {
            REQUIRE((rig.status(at) & IdeRig::ready) != 0);
            rig.command(at, 0xec);
        }
        REQUIRE((rig.status(at) & (IdeRig::busy | IdeRig::drq | IdeRig::err)) == IdeRig::drq);
        const auto id = rig.insw(at, 512);
        CHECK((rig.status(at) & IdeRig::drq) == 0);
        CHECK((id[1] >> 7) == (cd ? 1 : 0));
        CHECK(id[54] == 'S'); // "ESCALUS", bytes swapped
        CHECK(id[55] == 'E');
        CHECK(std::accumulate(id.begin(), id.end(), 0u) % 256 == 0);
    }
    CHECK(rig.irq[0].edges + rig.irq[1].edges == 0);
}

TEST_CASE("Solaris identifies with interrupts off, on the alternate status") {
    IdeRig rig;
    rig.add_disk(0, 0, 2048);
    rig.add_cdrom(0, 1, std::make_unique<MemoryBackend>(2048 * 20));
    rig.power_on();
    rig.outb(IdeRig::control(base), 0x0a);
    rig.outb(base + 6, 0xa0);
    rig.command(base, 0xec);
    REQUIRE(solaris_present(rig, base));
    CHECK((rig.inb(IdeRig::control(base)) & 0x49) == 0x48); // DRDY, DRQ, no ERR
    const auto id = rig.insw(base, 512);
    CHECK((rig.inb(IdeRig::control(base)) & IdeRig::drq) == 0);
    CHECK((id[160] | id[161] << 8) != 0); // word 80: version
    CHECK((id[160] | id[161] << 8) != 0xffff);

    // IDENTIFY DEVICE to the packet device: refused, and the signature is there.
    rig.outb(base + 6, 0xb0);
    rig.command(base, 0xec);
    REQUIRE(solaris_present(rig, base));
    CHECK((rig.inb(IdeRig::control(base)) & (IdeRig::err | IdeRig::drq)) == IdeRig::err);
    CHECK(rig.inb(base + 1) == 0x04);
    CHECK(signature(rig, base) == atapi);
    rig.command(base, 0xa1);
    CHECK((rig.inb(IdeRig::control(base)) & (IdeRig::err | IdeRig::drq)) == IdeRig::drq);
    rig.insw(base, 512);
    CHECK((rig.inb(IdeRig::control(base)) & IdeRig::drq) == 0);
    rig.outb(base + 1, 0x66); // SET FEATURES: both drives
    rig.command(base, 0xef);
    CHECK((rig.status(base) & IdeRig::err) == 0);
    rig.outb(base + 6, 0xa0);
    rig.outb(base + 1, 0x66);
    rig.command(base, 0xef);
    CHECK((rig.status(base) & IdeRig::err) == 0);
    CHECK(rig.irq[0].edges == 0);
}

TEST_CASE("only the selected drive drives the interrupt line, and nIEN gates it") {
    IdeRig rig;
    rig.add_disk(0, 0, 64);
    rig.add_disk(0, 1, 64);
    rig.power_on();
    rig.outb(base + 6, 0xa0);
    rig.command(base, 0x10);
    CHECK(rig.irq[0].level);
    rig.outb(base + 6, 0xb0);
    CHECK_FALSE(rig.irq[0].level);
    rig.outb(base + 6, 0xa0);
    CHECK(rig.irq[0].level);
    rig.outb(IdeRig::control(base), 0x02);
    CHECK_FALSE(rig.irq[0].level);
    rig.outb(IdeRig::control(base), 0x00);
    CHECK(rig.irq[0].level);
    rig.inb(IdeRig::control(base));
    CHECK(rig.irq[0].level); // the alternate status acknowledges nothing
    rig.status(base);
    CHECK_FALSE(rig.irq[0].level);
    CHECK(rig.irq[1].edges == 0);
}

TEST_CASE("the channels answer only where IDETIM and the command register let them") {
    IdeRig rig;
    rig.add_disk(0, 0, 64);
    rig.ide.reset(ResetKind::PowerOn);
    CHECK(rig.inb(base + 7) == 0xff);
    rig.config_write(0x40, 2, 0x8000);
    CHECK(rig.inb(base + 7) == 0xff);
    rig.config_write(0x04, 2, 1);
    CHECK(rig.inb(base + 7) == 0x50);
    CHECK(rig.inb(0x3f6) == 0x50);
    CHECK(rig.inb(0x177) == 0xff);
    rig.config_write(0x40, 2, 0);
    CHECK(rig.inb(base + 7) == 0xff);
    rig.config_write(0x40, 2, 0x8000);
    rig.ide.reset(ResetKind::System);
    CHECK(rig.inb(base + 7) == 0xff);
    CHECK(rig.config_read(0, 4) == 0x70108086);
    CHECK(rig.config_read(8, 4) == 0x01018000); // programming interface 0x80: bus master, legacy
}

TEST_CASE("a BAR that the guest puts on the legacy ports does no harm") {
    IdeRig rig;
    rig.add_disk(0, 0, 64);
    rig.power_on();
    rig.config_write(0x40, 2, 0);
    rig.config_write(0x20, 4, 0x1f0); // bus master registers
    rig.config_write(0x40, 2, 0x8000);
    rig.inb(0x1f7);
    rig.config_write(0x20, 4, IdeRig::bus_master);
    CHECK(rig.inb(0x1f7) == 0x50);
}

TEST_CASE("the legacy ports answer once IDETIM enables them, or from reset on where the board says so") {
    const bool from_reset = GENERATE(false, true);
    IdeRig rig;
    rig.add_disk(0, 0, 64);
    if (from_reset)
        rig.ide.decode_from_reset();
    rig.ide.reset(ResetKind::PowerOn);
    std::array<std::uint8_t, 1> status{};
    CHECK_FALSE(rig.ports.read(0x1f7, status)); // not before the command register's I/O bit
    rig.config_write(0x04, 2, 1);
    CHECK(rig.ports.read(0x1f7, status) == from_reset);
    CHECK(rig.ports.read(0x376, status) == from_reset);
    rig.config_write(0x40, 2, 0x8000);
    CHECK(rig.ports.read(0x1f7, status));
    rig.config_write(0x40, 2, 0);
    CHECK_FALSE(rig.ports.read(0x1f7, status));
}
