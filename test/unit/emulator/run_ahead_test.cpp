// SPDX-License-Identifier: GPL-2.0-or-later
// How many exits it takes to draw on the planes of a VGA; and that running ahead changes nothing else.
#include "test/unit/emulator/fixture.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

namespace {

constexpr std::uint64_t screen_bytes = 640 * 480 / 8;

/// Runs a program from its beginning to its end, as guest and device model share the work: an instruction
/// that touches the device exits (emulate), and perhaps those after it are executed with it. What the CPU
/// would execute by itself is executed by emulate() too, but not counted.
struct Drawing {
    explicit Drawing(bool ahead) : run_ahead{ahead} {
        pc.port_bus.add(0x3c0, 32, vga_ports, 0);
        pc.page.gpr[abi::rdi] = 0;
        pc.page.gpr[abi::rcx] = screen_bytes;
        pc.page.gpr[abi::rax] = 0x5a;
        pc.page.segment[abi::seg_es].base = 0xa0000;
        pc.page.rip = Pc::code;
    }
    /// `port_at`: offsets of OUT instructions, which exit for their port.
    unsigned run(std::initializer_list<std::uint8_t> program,
                 std::initializer_list<std::uint64_t> port_at = {}) {
        pc.poke(Pc::code, program);
        const auto end = Pc::code + program.size();
        pc.poke(end, {0xf4}); // HLT: nobody runs on from here
        unsigned exits = 0;
        for (unsigned steps = 0; pc.page.rip != end; ++steps) {
            REQUIRE(steps < 2'000'000);
            for (const auto at : port_at)
                if (pc.page.rip == Pc::code + at) {
                    const auto al = static_cast<std::uint8_t>(pc.page.gpr[abi::rax]);
                    pc.port_bus.write(pc.page.gpr[abi::rdx] & 0xffff, {&al, 1});
                    pc.page.rip += 1;
                    ++exits;
                }
            if (pc.page.rip == end)
                break;
            const auto touched = pc.device.touches.size();
            const auto result = pc.emulator.emulate(pc.page);
            REQUIRE(result.outcome == EmulationResult::Outcome::Done);
            if (pc.device.touches.size() == touched)
                continue;
            ++exits;
            if (run_ahead)
                pc.emulator.run_ahead(pc.page);
        }
        return exits;
    }
    bool run_ahead;
    Pc pc;
    CountingPort vga_ports;
};

// es: mov [di], al; inc di; dec cx; jnz
constexpr std::initializer_list<std::uint8_t> bytewise{0x26, 0x88, 0x05, 0x47, 0x49, 0x75, 0xf9};

} // namespace

TEST_CASE(
    "a full screen of planes, byte by byte, by string instruction, and with a port write for each byte") {
    for (const bool ahead : {false, true}) {
        Drawing loop{ahead};
        const auto exits = loop.run(bytewise);
        CHECK(exits == (ahead ? 591 : screen_bytes)); // 65 bytes an exit, in place of one
        CHECK(loop.pc.device.touches.size() == screen_bytes);
        CHECK(loop.pc.device_value<std::uint8_t>(screen_bytes - 1) == 0x5a);
        CHECK(loop.pc.device_value<std::uint8_t>(screen_bytes) == 0);
        CHECK(loop.pc.page.gpr[abi::rcx] == 0);
        CHECK(loop.pc.page.gpr[abi::rdi] == screen_bytes);
        CHECK((loop.pc.page.rflags & emulation::flag::zf) != 0);

        // rep stosb: 4,096 a call.
        Drawing string{ahead};
        CHECK(string.run({0xf3, 0xaa}) == (ahead ? 5 : 10));
        CHECK(string.pc.device.bytes == loop.pc.device.bytes);

        // mov dx, 0x3cf; then for each byte: out dx, al; es: mov [di], al; inc di; dec cx; jnz
        Drawing masked{ahead};
        const auto with_ports =
            masked.run({0xba, 0xcf, 0x03, 0xee, 0x26, 0x88, 0x05, 0x47, 0x49, 0x75, 0xf8}, {3});
        CHECK(with_ports == (ahead ? 1478 : 2 * screen_bytes));
        CHECK(masked.vga_ports.written.size() == screen_bytes);
        CHECK(masked.pc.device.bytes == loop.pc.device.bytes);
    }
}

TEST_CASE("running ahead stops where something else begins") {
    Drawing d{true};
    const auto ran = [&](std::initializer_list<std::uint8_t> program) {
        d.pc.poke(Pc::code, program);
        d.pc.page.rip = Pc::code;
        d.pc.page.event = {};
        return d.pc.emulator.run_ahead(d.pc.page);
    };
    CHECK(ran({0x90}) == 0);                         // not what drawing is made of
    CHECK(ran({0x40, 0xf4}) == 1);                   // HLT
    CHECK(ran({0x40, 0xfa}) == 1);                   // CLI
    CHECK(ran({0x40, 0xcd, 0x10}) == 1);             // INT
    CHECK(ran({0x40, 0x8e, 0xd8}) == 1);             // a segment load
    CHECK(ran({0x40, 0xf0, 0xfe, 0x07}) == 1);       // LOCK
    CHECK(ran({0x40, 0xba, 0x70, 0x00, 0xee}) == 2); // a port that is not the VGA's
    CHECK(d.pc.page.rip == Pc::code + 4);
    CHECK(ran({0xeb, 0xfe}) == 1);                          // it stands still
    CHECK(ran({0xba, 0xda, 0x03, 0xec, 0xeb, 0xfd}) == 24); // nor does waiting for the retrace

    // A fault is the CPU's: nothing has happened.
    d.pc.page.segment[abi::seg_ds].limit = 0xf;
    CHECK(ran({0x40, 0xa0, 0x10, 0x00}) == 1);
    CHECK(d.pc.page.event.valid == 0);
    CHECK(d.pc.page.rip == Pc::code + 1);

    // Nor under a debugger's eyes, nor before an event that waits.
    d.pc.page.rflags |= emulation::flag::tf;
    CHECK(ran({0x40}) == 0);
    d.pc.page.rflags &= ~emulation::flag::tf;
    d.pc.page.dr7 = 1;
    CHECK(ran({0x40}) == 0);
    d.pc.page.dr7 = 0x400;
    d.pc.page.interrupt_shadow = 1;
    CHECK(ran({0x40}) == 0);
}

TEST_CASE("ports are left to the CPU where a task state segment decides") {
    Pc pc;
    CountingPort vga;
    pc.port_bus.add(0x3c0, 32, vga, 0);
    pc.protected_mode(32);
    pc.page.gpr[abi::rdx] = 0x3ce;
    pc.poke(Pc::code, {0xee, 0xf4});
    pc.page.rip = Pc::code;
    CHECK(pc.emulator.run_ahead(pc.page) == 1);
    pc.user(true);
    pc.page.rip = Pc::code;
    CHECK(pc.emulator.run_ahead(pc.page) == 0);
    pc.page.rflags |= emulation::flag::iopl;
    CHECK(pc.emulator.run_ahead(pc.page) == 1);
    CHECK(vga.written.size() == 2);
}
