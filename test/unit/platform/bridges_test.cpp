// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/i440fx.hpp"
#include "devmodel/devices/chipset/piix3.hpp"
#include "test/unit/platform/port_rig.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

namespace {
struct Rig : PortRig {
    Rig() {
        pci.plug(0, 0, host);
        pci.plug(1, 0, isa);
        host.reset(ResetKind::PowerOn);
        isa.reset(ResetKind::PowerOn);
    }
    void select(unsigned device, unsigned reg, unsigned function = 0, unsigned bus = 0) {
        outl(0xcf8, 0x80000000u | bus << 16 | device << 11 | function << 8 | (reg & 0xfc));
    }
    Levels irqs;
    int resets = 0;
    std::vector<ShadowRange> changes;
    PciBus pci;
    Piix3 isa{spaces, irqs, [this] { ++resets; }};
    I440fx host{spaces, pci, isa, [this](std::span<const ShadowRange> ranges) {
                    changes.assign(ranges.begin(), ranges.end());
                }};
};
constexpr ShadowRange range(std::uint64_t base, std::uint64_t size, bool read, bool write) {
    return {GuestPhys{base}, size, read, write};
}
} // namespace

TEST_CASE("configuration mechanism 1 finds the bridges, and nothing elsewhere") {
    Rig rig;
    rig.select(0, 0);
    CHECK(rig.inl(0xcf8) == 0x80000000);
    CHECK(rig.inl(0xcfc) == 0x12378086);
    rig.select(0, 0x2c);
    CHECK(rig.inl(0xcfc) == 0x11001af4); // by which SeaBIOS knows that fw_cfg is there
    rig.select(1, 0);
    CHECK(rig.inl(0xcfc) == 0x70008086);
    rig.select(1, 0x08);
    CHECK(rig.inl(0xcfc) >> 8 == 0x060100);
    CHECK(rig.inb(0xcff) == 0x06);
    CHECK(rig.inw(0xcfe) == 0x0601);
    rig.select(1, 0x0c);
    CHECK((rig.inb(0xcfe) & 0x80) != 0);
    rig.select(2, 0);
    CHECK(rig.inl(0xcfc) == 0xffffffff);
    rig.select(0, 0, 0, 1);
    CHECK(rig.inl(0xcfc) == 0xffffffff);
    rig.outl(0xcf8, 0);
    CHECK(rig.inl(0xcfc) == 0xffffffff);
    rig.outl(0xcf8, 0xffffffff); // reserved bits are not kept
    CHECK(rig.inl(0xcf8) == 0x80fffffc);
    rig.select(0, 0);
    rig.outl(0xcfc, 0); // read-only fields ignore writes
    CHECK(rig.inl(0xcfc) == 0x12378086);
}

TEST_CASE("byte accesses to 0xcf8..0xcfb are not configuration: 0xcf9 resets") {
    Rig rig;
    rig.select(0, 0);
    rig.outb(0xcf9, 0x02);
    CHECK(rig.inl(0xcf8) == 0x80000000);
    CHECK(rig.inb(0xcf9) == 0x02);
    CHECK(rig.inb(0xcf8) == 0xff);
    CHECK(rig.resets == 0);
    rig.outb(0xcf9, 0x06);
    CHECK(rig.resets == 1);
    rig.outb(0xcf9, 0x06); // needs an edge
    CHECK(rig.resets == 1);
    rig.isa.reset(ResetKind::System);
    rig.outb(0xcf9, 0x0e);
    CHECK(rig.resets == 2);
}

TEST_CASE("PAM shadowing as SeaBIOS does it") {
    Rig rig;
    CHECK(rig.changes == std::vector{range(0xc0000, 0x40000, false, false)});
    rig.select(0, 0x58);
    rig.outl(0xcfc, 0x33333000); // PAM0 0x30, PAM1, PAM2 0x33
    CHECK(rig.changes ==
          std::vector{range(0xc0000, 0x10000, true, true), range(0xf0000, 0x10000, true, true)});
    rig.select(0, 0x5c);
    rig.outl(0xcfc, 0x33333333);
    CHECK(rig.host.shadow_map() == std::vector{range(0xc0000, 0x40000, true, true)});
    CHECK(rig.changes == std::vector{range(0xd0000, 0x20000, true, true)});
    // Write-protected again; option ROM space at the top of 0xe0000 stays writable.
    rig.select(0, 0x58);
    rig.outb(0xcfd, 0x10);
    CHECK(rig.changes == std::vector{range(0xf0000, 0x10000, true, false)});
    rig.select(0, 0x5c);
    rig.outb(0xcff, 0x31);
    CHECK(rig.changes == std::vector{range(0xe8000, 0x4000, true, false)});
    rig.changes.clear();
    rig.outb(0xcff, 0x31);
    CHECK(rig.changes.empty());
    rig.outb(0xcff, 0x22); // copying a ROM onto itself: reads from ROM, writes to RAM
    CHECK(rig.changes == std::vector{range(0xe8000, 0x8000, false, true)});
    rig.host.reset(ResetKind::System);
    CHECK(rig.changes == std::vector{range(0xc0000, 0x40000, false, false)});
}

TEST_CASE("SMRAM control locks until the next reset") {
    Rig rig;
    rig.select(0, 0x70);
    CHECK(rig.inb(0xcfe) == 0x02);
    rig.outb(0xcfe, 0x4a);
    CHECK(rig.inb(0xcfe) == 0x4a);
    rig.outb(0xcfe, 0x5a);
    CHECK(rig.inb(0xcfe) == 0x1a); // locking closes it
    rig.outb(0xcfe, 0x4a);
    CHECK(rig.inb(0xcfe) == 0x1a);
    rig.host.reset(ResetKind::System);
    rig.select(0, 0x70);
    CHECK(rig.inb(0xcfe) == 0x02);
}

TEST_CASE("INTx wires swizzle, share and follow PIRQRC") {
    Rig rig;
    auto a1 = rig.isa.intx_line(1, 1); // PIRQA
    auto a2 = rig.isa.intx_line(2, 1); // PIRQB
    auto d2 = rig.isa.intx_line(2, 4); // PIRQA, too
    auto a4 = rig.isa.intx_line(4, 1); // PIRQD
    a1.raise();
    CHECK(rig.irqs.asserted().empty()); // not routed at power-on
    rig.select(1, 0x60);
    rig.outl(0xcfc, 0x0b0a0a0b); // A 11, B 10, C 10, D 11
    CHECK(rig.irqs.asserted() == std::vector{11u});
    d2.raise();
    a1.lower();
    CHECK(rig.irqs.asserted() == std::vector{11u}); // the other one still holds the wire
    a2.raise();
    CHECK(rig.irqs.asserted() == std::vector{10u, 11u});
    d2.lower();
    CHECK(rig.irqs.asserted() == std::vector{10u});
    a4.raise(); // another wire on the same interrupt
    a1.raise();
    a4.lower();
    CHECK(rig.irqs.asserted() == std::vector{10u, 11u});
    rig.outb(0xcfc, 0x05); // moving the route moves the level
    CHECK(rig.irqs.asserted() == std::vector{5u, 10u});
    rig.outb(0xcfc, 0x80);
    CHECK(rig.irqs.asserted() == std::vector{10u});
    for (const std::uint8_t board : {0, 1, 2, 8, 13}) {
        rig.outb(0xcfc, board);
        CHECK(rig.irqs.asserted() == std::vector{10u});
    }
    rig.isa.reset(ResetKind::System);
    CHECK(rig.irqs.asserted().empty());
}
