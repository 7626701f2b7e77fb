// SPDX-License-Identifier: GPL-2.0-or-later
// Repetitions in bulk: how far one call goes, what is left in the registers, and string port I/O.
#include "devmodel/emulator/emulator.hpp"
#include "fixture.hpp"

#include <catch2/catch.hpp>

namespace escalus::test {

namespace {
using namespace emulation;

struct StringPc : Pc {
    StringPc() {
        protected_mode(32);
        page.gpr[abi::rdx] = port;
        ports.next = 0;
    }
    /// An INS or OUTS exit as the monitor reports it; the instruction itself is nowhere in memory.
    EmulationResult io(bool in, unsigned width, bool repeat, unsigned address_width = 4,
                       unsigned segment = abi::seg_ds) {
        page.exit_reason = static_cast<std::uint32_t>(abi::ExitReason::Io);
        page.exit.io = {.port = static_cast<std::uint16_t>(page.gpr[abi::rdx]),
                        .width = static_cast<std::uint8_t>(width),
                        .in = static_cast<std::uint8_t>(in ? 1 : 0),
                        .string = 1,
                        .repeat = static_cast<std::uint8_t>(repeat ? 1 : 0),
                        .address_width = static_cast<std::uint8_t>(address_width),
                        .segment = static_cast<std::uint8_t>(segment)};
        page.rip = 0x9000;
        page.next_rip = 0x9003;
        page.event = {};
        page.dirty = 0;
        ports.bulk_calls = 0;
        return emulator.string_io(page);
    }
    std::uint64_t& reg(unsigned index) { return page.gpr[index]; }
};
} // namespace

TEST_CASE("rep insw of a sector is one call to the device", "[emulator][string]") {
    StringPc pc;
    pc.reg(abi::rdi) = 0x30000;
    pc.reg(abi::rcx) = 256;
    REQUIRE(pc.io(true, 2, true).outcome == Outcome::Done);
    CHECK(pc.ports.bulk_calls == 1);
    CHECK(pc.reg(abi::rcx) == 0);
    CHECK(pc.reg(abi::rdi) == 0x30200);
    CHECK(pc.page.rip == 0x9003);
    CHECK((pc.page.dirty & abi::group_general) != 0);
    for (std::size_t i = 0; i < 512; ++i)
        REQUIRE(pc.memory.bytes[0x30000 + i] == static_cast<std::uint8_t>(i));
}

TEST_CASE("rep insw crosses pages, also in the middle of an element", "[emulator][string]") {
    StringPc pc;
    pc.reg(abi::rdi) = 0x30f01;
    pc.reg(abi::rcx) = 256;
    REQUIRE(pc.io(true, 2, true).outcome == Outcome::Done);
    CHECK(pc.reg(abi::rcx) == 0);
    CHECK(pc.reg(abi::rdi) == 0x31101);
    for (std::size_t i = 0; i < 512; ++i)
        REQUIRE(pc.memory.bytes[0x30f01 + i] == static_cast<std::uint8_t>(i));
}

TEST_CASE("a long transfer is done in batches", "[emulator][string]") {
    StringPc pc;
    pc.reg(abi::rdi) = 0x30000;
    pc.reg(abi::rcx) = Emulator::batch + 100;
    REQUIRE(pc.io(true, 4, true).outcome == Outcome::Done);
    CHECK(pc.reg(abi::rcx) == 100);
    CHECK(pc.reg(abi::rdi) == 0x30000 + 4 * Emulator::batch);
    CHECK(pc.page.rip == 0x9000);
    CHECK((pc.page.rflags & flag::rf) != 0);
    REQUIRE(pc.io(true, 4, true).outcome == Outcome::Done);
    CHECK(pc.reg(abi::rcx) == 0);
    CHECK(pc.page.rip == 0x9003);
    CHECK((pc.page.rflags & flag::rf) == 0);
}

TEST_CASE("rep outsb, single and backward forms", "[emulator][string]") {
    StringPc pc;
    for (unsigned i = 0; i < 64; ++i)
        pc.memory.bytes[0x30000 + i] = static_cast<std::uint8_t>(i + 1);
    pc.reg(abi::rsi) = 0x30000;
    pc.reg(abi::rcx) = 64;
    REQUIRE(pc.io(false, 1, true).outcome == Outcome::Done);
    CHECK(pc.ports.bulk_calls == 1);
    CHECK(pc.ports.written ==
          std::vector<std::uint8_t>(pc.memory.bytes.begin() + 0x30000, pc.memory.bytes.begin() + 0x30040));
    // one OUTSD through another segment
    pc.ports.written.clear();
    pc.page.segment[abi::seg_fs].base = 0x20000;
    pc.reg(abi::rsi) = 0x10004;
    pc.reg(abi::rcx) = 9;
    REQUIRE(pc.io(false, 4, false, 4, abi::seg_fs).outcome == Outcome::Done);
    CHECK(pc.ports.written == std::vector<std::uint8_t>{5, 6, 7, 8});
    CHECK(pc.reg(abi::rsi) == 0x10008);
    CHECK(pc.reg(abi::rcx) == 9);
    // backward
    pc.page.rflags |= flag::df;
    pc.reg(abi::rdi) = 0x40006;
    pc.reg(abi::rcx) = 3;
    REQUIRE(pc.io(true, 2, true).outcome == Outcome::Done);
    CHECK(pc.reg(abi::rdi) == 0x40000);
    CHECK(pc.memory.bytes[0x40006] == 0);
    CHECK(pc.memory.bytes[0x40002] == 4);
}

TEST_CASE("a zero count does nothing but go on", "[emulator][string]") {
    StringPc pc;
    pc.reg(abi::rdi) = 0xfffffff0; // would fault or drop
    REQUIRE(pc.io(true, 2, true).outcome == Outcome::Done);
    CHECK(pc.ports.next == 0);
    CHECK(pc.page.rip == 0x9003);
}

TEST_CASE("16-bit address registers wrap within 64 KiB and keep their upper bits", "[emulator][string]") {
    StringPc pc;
    pc.real_mode();
    pc.reg(abi::rdx) = Pc::port;
    pc.page.segment[abi::seg_es].base = 0x30000;
    pc.reg(abi::rdi) = 0xabcd'fffe;
    pc.reg(abi::rcx) = 0x1234'0003;
    REQUIRE(pc.io(true, 2, true, 2).outcome == Outcome::Done);
    CHECK(pc.reg(abi::rdi) == 0xabcd'0004);
    CHECK(pc.reg(abi::rcx) == 0x1234'0000);
    CHECK(pc.memory.bytes[0x3fffe] == 0);
    CHECK(pc.memory.bytes[0x30000] == 2);
    CHECK(pc.memory.bytes[0x30003] == 5);
}

TEST_CASE("string I/O to device memory", "[emulator][string]") {
    StringPc pc;
    pc.reg(abi::rdi) = Pc::device_gpa + 0x10;
    pc.reg(abi::rcx) = 4;
    REQUIRE(pc.io(true, 2, true).outcome == Outcome::Done);
    CHECK(pc.device_value<std::uint64_t>(0x10) == 0x0706050403020100);
    CHECK(pc.device.touches.size() == 4);
    pc.reg(abi::rsi) = Pc::device_gpa + 0x10;
    pc.reg(abi::rcx) = 2;
    REQUIRE(pc.io(false, 4, true).outcome == Outcome::Done);
    CHECK(pc.ports.written == std::vector<std::uint8_t>{0, 1, 2, 3, 4, 5, 6, 7});
}

TEST_CASE("a page fault in string I/O comes before the port is read, and keeps what is done",
          "[emulator][string]") {
    StringPc pc;
    pc.long_mode();
    pc.reg(abi::rdx) = Pc::port;
    pc.map(0x400000, 0x30000);
    pc.reg(abi::rdi) = 0x400f00;
    pc.reg(abi::rcx) = 256;
    REQUIRE(pc.io(true, 2, true, 8).outcome == Outcome::Fault);
    CHECK(pc.raised(vector::pf, 2));
    CHECK(pc.page.cr2 == 0x401000);
    CHECK(pc.reg(abi::rcx) == 128);
    CHECK(pc.reg(abi::rdi) == 0x401000);
    CHECK(pc.ports.next == 0); // 256 bytes exactly: none lost
    CHECK(pc.page.rip == 0x9000);
    pc.map(0x401000, 0x38000);
    REQUIRE(pc.io(true, 2, true, 8).outcome == Outcome::Done);
    CHECK(pc.reg(abi::rcx) == 0);
    CHECK(pc.memory.bytes[0x38001] == 1);
    CHECK(pc.page.rip == 0x9003);
}

TEST_CASE("what the exit does not tell is decoded", "[emulator][string]") {
    StringPc pc;
    pc.poke(0x9000, {0xf3, 0x64, 0x6e}); // rep outsb fs:[esi]
    pc.page.segment[abi::seg_fs].base = 0x100;
    pc.memory.bytes[0x30100] = 0x77;
    pc.reg(abi::rsi) = 0x30000;
    pc.reg(abi::rcx) = 1;
    REQUIRE(pc.io(false, 1, true, 4, 0xff).outcome == Outcome::Done);
    CHECK(pc.ports.written == std::vector<std::uint8_t>{0x77});
    CHECK(pc.page.rip == 0x9003);
}

TEST_CASE("an absent port reads ones", "[emulator][string]") {
    StringPc pc;
    pc.reg(abi::rdx) = 0x5555;
    pc.reg(abi::rdi) = 0x30000;
    pc.reg(abi::rcx) = 3;
    REQUIRE(pc.io(true, 4, true).outcome == Outcome::Done);
    for (unsigned i = 0; i < 12; ++i)
        CHECK(pc.memory.bytes[0x30000 + i] == 0xff);
    CHECK(pc.memory.bytes[0x3000c] == 0);
}

TEST_CASE("rep movs to a device beyond one batch", "[emulator][string]") {
    StringPc pc;
    for (unsigned i = 0; i < 0x6000; ++i)
        pc.memory.bytes[0x30000 + i] = static_cast<std::uint8_t>(i * 7);
    pc.reg(abi::rsi) = 0x30000;
    pc.reg(abi::rdi) = Pc::device_gpa + 5;
    pc.reg(abi::rcx) = 0x5000;
    unsigned calls = 0;
    do {
        REQUIRE(pc.run({0xf3, 0xa4}).outcome == Outcome::Done);
        ++calls;
    } while (pc.page.rip == Pc::code && calls < 100);
    CHECK(calls == 5);
    CHECK(std::memcmp(&pc.device.bytes[5], &pc.memory.bytes[0x30000], 0x5000) == 0);
    CHECK(pc.reg(abi::rsi) == 0x35000);
}

TEST_CASE("REPNE before STOSW and MOVSD repeats (OpenBSD)", "[emulator][string]") {
    StringPc pc;
    pc.reg(abi::rax) = 0x0720;
    pc.reg(abi::rdi) = Pc::device_gpa;
    pc.reg(abi::rcx) = 80;
    REQUIRE(pc.run({0xf2, 0x66, 0xab}).outcome == Outcome::Done);
    CHECK(pc.reg(abi::rcx) == 0);
    CHECK(pc.device_value<std::uint32_t>(156) == 0x07200720);
    CHECK(pc.device_value<std::uint16_t>(160) == 0);
}

TEST_CASE("REPE CMPSB between RAM and a device stops at the difference (QNX)", "[emulator][string]") {
    StringPc pc;
    pc.device.bytes[7] = 1;
    pc.reg(abi::rsi) = 0x30000;
    pc.reg(abi::rdi) = Pc::device_gpa;
    pc.reg(abi::rcx) = 20;
    REQUIRE(pc.run({0xf3, 0xa6}).outcome == Outcome::Done);
    CHECK(pc.reg(abi::rcx) == 12);
    CHECK(pc.reg(abi::rdi) == Pc::device_gpa + 8);
    CHECK((pc.page.rflags & flag::zf) == 0);
    CHECK((pc.page.rflags & flag::cf) != 0);
}

TEST_CASE("with TF set each iteration traps", "[emulator][string]") {
    StringPc pc;
    pc.page.rflags |= flag::tf;
    pc.reg(abi::rdi) = Pc::device_gpa;
    pc.reg(abi::rcx) = 2;
    REQUIRE(pc.run({0xf3, 0xaa}).outcome == Outcome::Done);
    CHECK(pc.reg(abi::rcx) == 1);
    CHECK(pc.page.rip == Pc::code);
    CHECK(pc.raised(vector::db));
    REQUIRE(pc.run({0xf3, 0xaa}).outcome == Outcome::Done);
    CHECK(pc.page.rip == Pc::code + 2);
    CHECK(pc.raised(vector::db));
}

TEST_CASE("a fault in the middle of REP STOS keeps the iterations before it", "[emulator][string]") {
    StringPc pc;
    pc.long_mode();
    pc.map(Pc::code, Pc::code);
    pc.map(0x10000, Pc::device_gpa);
    pc.reg(abi::rax) = 0x55;
    pc.reg(abi::rdi) = 0x10ffe;
    pc.reg(abi::rcx) = 5;
    REQUIRE(pc.run({0xf3, 0xaa}).outcome == Outcome::Fault);
    CHECK(pc.raised(vector::pf, 2));
    CHECK(pc.page.cr2 == 0x11000);
    CHECK(pc.reg(abi::rcx) == 3);
    CHECK(pc.reg(abi::rdi) == 0x11000);
    CHECK(pc.device_value<std::uint16_t>(0xffe) == 0x5555);
    CHECK(pc.page.rip == Pc::code);
}

TEST_CASE("the address of the exit is not reused for another page", "[emulator][string]") {
    StringPc pc;
    pc.long_mode();
    pc.map(Pc::code, Pc::code);
    pc.map(0x10000, Pc::device_gpa);
    pc.map(0x11000, 0x50000);
    pc.reg(abi::rax) = 0x55;
    pc.reg(abi::rdi) = 0x10000;
    pc.reg(abi::rcx) = 1025;
    pc.memory_exit(Pc::device_gpa, true);
    REQUIRE(pc.run({0xf3, 0xab}).outcome == Outcome::Done);
    CHECK(pc.reg(abi::rcx) == 0);
    CHECK(pc.device_value<std::uint8_t>(0) == 0x55);
    CHECK(pc.memory.bytes[0x50000] == 0x55);
}

TEST_CASE("16-bit addresses wrap in a segment that goes on", "[emulator][string]") {
    StringPc pc;
    pc.reg(abi::rdi) = 0xfffe;
    pc.reg(abi::rcx) = 4;
    REQUIRE(pc.io(true, 1, true, 2).outcome == Outcome::Done);
    CHECK(pc.memory.bytes[0xffff] == 1);
    CHECK(pc.memory.bytes[0x10000] == 0);
    CHECK(pc.memory.bytes[0] == 2);
    CHECK(pc.reg(abi::rdi) == 2);
}

} // namespace escalus::test
