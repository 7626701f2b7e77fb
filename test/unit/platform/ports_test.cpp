// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/debug_console.hpp"
#include "devmodel/devices/chipset/system_ports.hpp"
#include "devmodel/devices/chipset/wired_or.hpp"
#include "test/unit/platform/port_rig.hpp"

#include <string>

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

TEST_CASE("port 0x92: fast A20 and fast reset") {
    PortRig rig;
    int resets = 0;
    A20Gate a20{{}};
    SystemPorts system{rig.ports, a20, [&] { ++resets; }};
    system.reset(ResetKind::PowerOn);
    CHECK(rig.inb(0x92) == 0x02);
    rig.outb(0x92, 0x00);
    CHECK_FALSE(a20.enabled());
    CHECK(rig.inb(0x92) == 0x00);
    a20.set(true); // by the keyboard controller
    CHECK(rig.inb(0x92) == 0x02);
    rig.outb(0x92, 0x03);
    CHECK(resets == 1);
    rig.outb(0x92, 0x03);
    CHECK(resets == 1);
    rig.outb(0x92, 0x02);
    rig.outb(0x92, 0x03);
    CHECK(resets == 2);
    rig.outb(0x92, 0x00);
    system.reset(ResetKind::System);
    CHECK(a20.enabled());
}

TEST_CASE("the POST and delay ports take anything and read it back") {
    PortRig rig;
    A20Gate a20{{}};
    SystemPorts system{rig.ports, a20, {}};
    rig.outb(0x80, 0x55);
    rig.outb(0xed, 0xaa);
    CHECK(rig.inb(0x80) == 0x55);
    CHECK(rig.inb(0xed) == 0xaa);
    CHECK(system.post_code() == 0x55);
    rig.outl(0x80, 0x12345678); // wider than the port: the rest falls on nothing
    CHECK(rig.inb(0x80) == 0x78);
}

TEST_CASE("the debug console gives lines and answers 0xe9") {
    PortRig rig;
    std::vector<std::string> lines;
    DebugConsole console{rig.ports, [&](std::string_view line) { lines.emplace_back(line); }};
    CHECK(rig.inb(0x402) == 0xe9);
    for (const char c : std::string{"SeaBIOS\r\n\nab\x1b[2Jc"})
        rig.outb(0x402, static_cast<std::uint8_t>(c));
    CHECK(lines == std::vector<std::string>{"SeaBIOS", ""});
    const std::vector<std::uint8_t> bulk{'d', '\n', 'e'};
    rig.ports.write_repeated(0x402, 1, bulk);
    CHECK(lines.back() == "ab?[2Jcd"); // no escape sequences for the reader's terminal
    console.reset(ResetKind::System);
    CHECK(lines.back() == "e");
    for (int i = 0; i < 100'000; ++i)
        rig.outb(0x402, 'x');
    CHECK(lines.back() == std::string(DebugConsole::longest_line, 'x'));
}

TEST_CASE("a shared wire is up while any source is") {
    Levels levels;
    WiredOr wire{IrqLine{levels, 9}};
    auto a = wire.add_source(), b = wire.add_source();
    a.raise();
    b.raise();
    a.lower();
    CHECK(levels.up[9]);
    b.lower();
    CHECK_FALSE(levels.up[9]);
    CHECK_FALSE(wire.level());
}
