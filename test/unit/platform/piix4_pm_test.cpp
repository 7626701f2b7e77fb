// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/acpi_pm_timer.hpp"
#include "devmodel/devices/chipset/piix4_pm.hpp"
#include "test/unit/platform/port_rig.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

namespace {
constexpr std::uint16_t pm = 0x600, smbus = 0x700;

struct Rig : PortRig {
    Rig() {
        chip.reset(ResetKind::PowerOn);
        config(0x40, pm | 1, 4);
        config(0x80, 1, 1);
        config(0x90, smbus | 1, 4);
        config(0xd2, 9, 1);
        config(0x04, 1, 2);
    }
    void config(unsigned offset, std::uint32_t value, unsigned width) {
        std::array<std::uint8_t, 4> bytes{};
        for (unsigned i = 0; i < width; ++i)
            bytes[i] = static_cast<std::uint8_t>(value >> (8 * i));
        chip.config_write(offset, std::span{bytes}.first(width));
    }
    std::uint32_t config(unsigned offset) {
        std::array<std::uint8_t, 4> bytes{};
        chip.config_read(offset, bytes);
        return bytes[0] | bytes[1] << 8 | bytes[2] << 16 | static_cast<std::uint32_t>(bytes[3]) << 24;
    }
    [[nodiscard]] bool sci() const { return lines.up[9]; }
    Levels lines;
    int power_offs = 0;
    AcpiPmTimer timer{clock};
    Piix4Pm chip{spaces, clock, timer, {IrqLine{lines, 9}, [this] { ++power_offs; }}};
};
} // namespace

TEST_CASE("the PM block decodes where PMBA says, when it is enabled") {
    Rig rig;
    CHECK(rig.config(0x00) == 0x71138086);
    CHECK(rig.config(0x08) >> 8 == 0x068000);
    CHECK(rig.config(0x40) == (pm | 1));
    CHECK(rig.inw(pm + 4) == 0);
    rig.config(0x80, 0, 1);
    CHECK(rig.inw(pm + 4) == 0xffff);
    rig.config(0x80, 1, 1);
    rig.config(0x40, 0xb001, 4); // as OVMF places it
    CHECK(rig.inw(pm + 4) == 0xffff);
    CHECK(rig.inw(0xb004) == 0);
    rig.config(0x40, smbus | 1, 4); // onto the SMBus: the one there first wins
    CHECK(rig.inb(smbus) == 0);
    CHECK(rig.inw(smbus + 0x20) == 0xffff);
    rig.chip.reset(ResetKind::System);
    CHECK(rig.inw(0xb004) == 0xffff);
    CHECK((rig.config(0x58) & 1u << 25) != 0); // SMM counts as set up
}

TEST_CASE("ACPI is taken over through the APM port, and by hand") {
    Rig rig;
    CHECK_FALSE(rig.chip.acpi_enabled());
    rig.outb(0xb3, 0x42);
    rig.outb(0xb2, 0xf1);
    CHECK(rig.inb(0xb2) == 0xf1);
    CHECK(rig.inb(0xb3) == 0x42);
    CHECK(rig.inw(pm + 4) == 1);
    rig.outb(0xb2, 0xf0);
    CHECK(rig.inw(pm + 4) == 0);
    rig.outb(0xb2, 0x00);
    CHECK(rig.inw(pm + 4) == 0);
    rig.outw(pm + 4, 1);
    CHECK(rig.chip.acpi_enabled());
}

TEST_CASE("the power button raises the SCI until it is acknowledged") {
    Rig rig;
    rig.chip.press_power_button();
    CHECK_FALSE(rig.sci()); // nobody asked
    CHECK(rig.inw(pm) == 0x0100);
    rig.outw(pm, 0x0100);
    rig.outb(0xb2, 0xf1);
    rig.outw(pm + 2, 0x0120);
    CHECK_FALSE(rig.sci());
    rig.chip.press_power_button();
    CHECK(rig.sci());
    rig.outb(pm + 1, 0x00); // writing zeroes clears nothing
    CHECK(rig.sci());
    rig.outb(pm + 1, 0x01); // byte accesses work as well
    CHECK_FALSE(rig.sci());
    CHECK(rig.inl(pm) == 0x01200000);
}

TEST_CASE("sleep type 0 powers off, the others wake at once") {
    Rig rig;
    rig.outw(pm + 4, 0x0001);
    CHECK(rig.power_offs == 0);
    rig.outw(pm + 4, 0x2401);
    CHECK(rig.power_offs == 0);
    CHECK((rig.inw(pm) & 0x8000) != 0);
    CHECK((rig.inw(pm + 4) & 0x2000) == 0);
    rig.outw(pm + 4, 0x2001);
    CHECK(rig.power_offs == 1);
    rig.outw(pm + 4, 0x0001);
    rig.outb(pm + 5, 0x20); // SLP_EN by a byte write
    CHECK(rig.power_offs == 2);
}

TEST_CASE("the PM timer runs at 3.579545 MHz and interrupts when its top bit changes") {
    Rig rig;
    const auto start = rig.inl(pm + 8);
    rig.clock.advance(ns_per_second);
    const auto passed = (rig.inl(pm + 8) - start) & 0xffffff;
    CHECK(passed >= 3'579'544);
    CHECK(passed <= 3'579'546);
    rig.outl(pm + 8, 0); // read-only
    CHECK(rig.inl(pm + 8) >= 3'579'000);
    // 2^23 ticks take 2.34 s.
    CHECK((rig.inw(pm) & 1) == 0);
    rig.clock.advance(2 * ns_per_second);
    CHECK((rig.inw(pm) & 1) == 1);
    rig.outw(pm, 1);
    CHECK((rig.inw(pm) & 1) == 0);
    rig.outw(pm + 4, 1);
    rig.outw(pm + 2, 1);
    CHECK_FALSE(rig.sci());
    rig.clock.advance(3 * ns_per_second);
    CHECK(rig.sci());
    rig.outw(pm, 1);
    CHECK_FALSE(rig.sci());
    rig.clock.advance(3 * ns_per_second);
    CHECK(rig.sci());
}

TEST_CASE("general purpose events can be enabled and cleared") {
    Rig rig;
    rig.outw(pm + 0xe, 0xffff);
    CHECK(rig.inw(pm + 0xc) == 0);
    CHECK(rig.inw(pm + 0xe) == 0x0f01);
    rig.outl(pm + 0x28, 0x12345678); // a register without a function
    CHECK(rig.inl(pm + 0x28) == 0x12345678);
}

TEST_CASE("nobody answers on the SMBus, and no driver waits for it") {
    Rig rig;
    CHECK(rig.inb(smbus) == 0);
    rig.outb(smbus + 4, 0xa1);
    rig.outb(smbus + 3, 0);
    rig.outb(smbus + 2, 0x48);
    CHECK(rig.inb(smbus) == 0x04); // not busy, device error
    CHECK(rig.inb(smbus + 2) == 0x08);
    rig.outb(smbus, 0xff);
    CHECK(rig.inb(smbus) == 0);
    rig.outb(smbus + 2, 0x02);
    CHECK(rig.inb(smbus) == 0x10); // killed
}
