// SPDX-License-Identifier: GPL-2.0-or-later
// Faults, traps, and what becomes of an instruction that cannot be emulated.
#include "devmodel/emulator/emulator.hpp"
#include "fixture.hpp"

#include <catch2/catch.hpp>

namespace escalus::test {

namespace {
using namespace emulation;

/// 64-bit mode with code mapped and the device at linear 0x10000.
struct LongPc : Pc {
    LongPc() {
        long_mode();
        map(code, code);
        map(0x10000, device_gpa);
        page.gpr[abi::rbx] = 0x10000;
    }
    /// Runs and checks that nothing but what a fault changes has changed.
    EmulationResult run_precisely(std::initializer_list<std::uint8_t> bytes) {
        const auto before = page;
        const auto device_before = device.bytes;
        auto result = run(bytes);
        CHECK(std::memcmp(before.gpr, page.gpr, sizeof before.gpr) == 0);
        CHECK((page.rflags & ~flag::rf) == (before.rflags & ~flag::rf));
        CHECK(page.rip == code);
        CHECK(device.bytes == device_before);
        return result;
    }
};
} // namespace

TEST_CASE("a page fault is exact and precise", "[emulator][fault]") {
    LongPc pc;
    SECTION("on a write that crosses into a missing page: the second page's address") {
        pc.page.gpr[abi::rbx] = 0x10ffd;
        CHECK(pc.run_precisely({0x89, 0x03}).outcome == Outcome::Fault); // mov [rbx], eax
        CHECK(pc.raised(vector::pf, 2));
        CHECK(pc.page.cr2 == 0x11000);
        CHECK(pc.device.touches.empty());
        CHECK((pc.page.dirty & abi::group_control) != 0);
    }
    SECTION("a read-modify-write of a read-only page is a write, before the device is read") {
        pc.map(0x10000, Pc::device_gpa, 5);
        pc.page.cr0 |= control::cr0_wp;
        CHECK(pc.run_precisely({0x83, 0x0b, 0x01}).outcome == Outcome::Fault); // or dword [rbx], 1
        CHECK(pc.raised(vector::pf, 3));
        CHECK(pc.page.cr2 == 0x10000);
        CHECK(pc.device.touches.empty());
        CHECK(pc.run({0xf7, 0x03, 1, 0, 0, 0}).outcome == Outcome::Done); // test is a read
    }
    SECTION("from user mode") {
        pc.user(true);
        pc.map(0x10000, Pc::device_gpa, 3);
        CHECK(pc.run_precisely({0x8b, 0x03}).outcome == Outcome::Fault);
        CHECK(pc.raised(vector::pf, 5));
    }
    SECTION("in the source of a PUSH or its stack, before the source is read") {
        pc.page.gpr[abi::rsp] = 0x20008;
        CHECK(pc.run_precisely({0xff, 0x33}).outcome == Outcome::Fault); // push [rbx]
        CHECK(pc.page.cr2 == 0x20000);
        CHECK(pc.device.touches.empty());
    }
    SECTION("in ENTER, whose frame crosses into a missing page") {
        pc.page.gpr[abi::rsp] = 0x10010;
        pc.page.gpr[abi::rbp] = 0x10010;
        CHECK(pc.run_precisely({0xc8, 0x40, 0, 0}).outcome == Outcome::Fault);
        CHECK(pc.raised(vector::pf, 2));
        CHECK(pc.device.touches.empty());
    }
    SECTION("CMOVcc reads whether or not the condition holds") {
        pc.page.gpr[abi::rbx] = 0x30000;
        CHECK(pc.run_precisely({0x0f, 0x44, 0x03}).outcome == Outcome::Fault);
    }
    CHECK((pc.page.interrupt_shadow == 0));
}

TEST_CASE("a fault saves RF and ends the interrupt shadow", "[emulator][fault]") {
    LongPc pc;
    pc.page.interrupt_shadow = 1;
    pc.page.gpr[abi::rbx] = 0x30000;
    CHECK(pc.run({0x8b, 0x03}).outcome == Outcome::Fault);
    CHECK((pc.page.rflags & flag::rf) != 0);
    CHECK(pc.page.interrupt_shadow == 0);
    CHECK((pc.page.dirty & abi::group_general) != 0);
}

TEST_CASE("non-canonical addresses", "[emulator][fault]") {
    LongPc pc;
    pc.page.gpr[abi::rbx] = 0x0000'8000'0000'0000;
    CHECK(pc.run_precisely({0x8b, 0x03}).outcome == Outcome::Fault);
    CHECK(pc.raised(vector::gp, 0));
    pc.page.gpr[abi::rbx] = 0x0000'7fff'ffff'fffe; // the last bytes are not
    CHECK(pc.run_precisely({0x8b, 0x03}).outcome == Outcome::Fault);
    CHECK(pc.raised(vector::gp, 0));
    pc.page.gpr[abi::rsp] = pc.page.gpr[abi::rbp] = 0x1000'0000'0000'0000;
    CHECK(pc.run_precisely({0x8b, 0x45, 0x00}).outcome == Outcome::Fault); // [rbp]
    CHECK(pc.raised(vector::ss, 0));
    CHECK(pc.run_precisely({0x50}).outcome == Outcome::Fault); // push rax
    CHECK(pc.raised(vector::ss, 0));
}

TEST_CASE("segment limits and rights", "[emulator][fault]") {
    Pc pc;
    pc.protected_mode(32);
    auto& ds = pc.page.segment[abi::seg_ds];
    auto& ss = pc.page.segment[abi::seg_ss];
    pc.page.gpr[abi::rbx] = pc.page.gpr[abi::rbp] = Pc::device_gpa;
    const auto store = [&] { return pc.run({0x89, 0x03}).outcome; };
    const auto load = [&] { return pc.run({0x8b, 0x03}).outcome; };

    SECTION("limit") {
        ds.limit = Pc::device_gpa + 3;
        CHECK(load() == Outcome::Done);
        ds.limit = Pc::device_gpa + 2;
        CHECK(load() == Outcome::Fault);
        CHECK(pc.raised(vector::gp, 0));
        ss.limit = 0x1000;
        CHECK(pc.run({0x8b, 0x45, 0x00}).outcome == Outcome::Fault); // mov eax, [ebp]
        CHECK(pc.raised(vector::ss, 0));
    }
    SECTION("offsets do not wrap within an access") {
        pc.page.gpr[abi::rbx] = 0xfffffffe;
        CHECK(load() == Outcome::Fault);
        CHECK(pc.raised(vector::gp, 0));
    }
    SECTION("expand-down") {
        ds.attributes |= 4;
        ds.limit = Pc::device_gpa - 1;
        CHECK(store() == Outcome::Done);
        ds.limit = Pc::device_gpa;
        CHECK(store() == Outcome::Fault);
        ds.limit = 0xfff;
        ds.attributes &= static_cast<std::uint16_t>(~Pc::big); // ends at 64 KiB
        CHECK(store() == Outcome::Fault);
    }
    SECTION("read-only data") {
        ds.attributes = 0x91 | Pc::big;
        CHECK(load() == Outcome::Done);
        CHECK(store() == Outcome::Fault);
        CHECK(pc.raised(vector::gp, 0));
    }
    SECTION("code") {
        CHECK(pc.run({0x2e, 0x8b, 0x03}).outcome == Outcome::Done); // readable
        CHECK(pc.run({0x2e, 0x89, 0x03}).outcome == Outcome::Fault);
        pc.page.segment[abi::seg_cs].attributes &= static_cast<std::uint16_t>(~2);
        CHECK(pc.run({0x2e, 0x8b, 0x03}).outcome == Outcome::Fault);
    }
    SECTION("a null selector") {
        ds.attributes = 0;
        CHECK(load() == Outcome::Fault);
        CHECK(pc.raised(vector::gp, 0));
    }
    SECTION("the code segment's limit bounds the instruction") {
        pc.page.segment[abi::seg_cs].limit = Pc::code + 1;
        CHECK(load() == Outcome::Done);
        CHECK(pc.run({0x81, 0x0b, 1, 0, 0, 0}).outcome == Outcome::Fault);
        CHECK(pc.raised(vector::gp, 0));
    }
}

TEST_CASE("real mode faults have no error code", "[emulator][fault]") {
    Pc pc;
    pc.page.segment[abi::seg_ds].base = 0xa0000;
    pc.page.gpr[abi::rbx] = 0xffff;
    CHECK(pc.run({0x8b, 0x07}).outcome == Outcome::Fault); // mov ax, [bx]
    CHECK(pc.raised(vector::gp));
    pc.page.gpr[abi::rbp] = 0xffff;
    CHECK(pc.run({0x8b, 0x46, 0x00}).outcome == Outcome::Fault); // mov ax, [bp]
    CHECK(pc.raised(vector::ss));
}

TEST_CASE("alignment checks need AM, AC and CPL 3", "[emulator][fault]") {
    LongPc pc;
    pc.user(true);
    pc.page.gpr[abi::rbx] = 0x10002;
    pc.page.cr0 |= control::cr0_am;
    CHECK(pc.run({0x8b, 0x03}).outcome == Outcome::Done);
    pc.page.rflags |= flag::ac;
    CHECK(pc.run_precisely({0x8b, 0x03}).outcome == Outcome::Fault);
    CHECK(pc.raised(vector::ac, 0));
    CHECK(pc.run({0x66, 0x8b, 0x03}).outcome == Outcome::Done);
    pc.user(false);
    CHECK(pc.run({0x8b, 0x03}).outcome == Outcome::Done);
}

TEST_CASE("divide errors", "[emulator][fault]") {
    LongPc pc;
    pc.page.gpr[abi::rax] = 5;
    CHECK(pc.run_precisely({0xf7, 0x33}).outcome == Outcome::Fault); // div dword [rbx], of zero
    CHECK(pc.raised(vector::de));
}

TEST_CASE("faults of the instruction fetch", "[emulator][fault]") {
    LongPc pc;
    const auto run_at = [&](std::uint64_t rip) {
        pc.page.rip = rip;
        pc.page.event = {};
        return pc.emulator.emulate(pc.page).outcome;
    };
    SECTION("the second page is only touched when needed") {
        pc.map(0x20000, 0x30000);
        pc.poke(0x30ffe, {0x8b, 0x03});
        CHECK(run_at(0x20ffe) == Outcome::Done);
        pc.poke(0x30ffe, {0x8b, 0x83});
        CHECK(run_at(0x20ffe) == Outcome::Fault);
        CHECK(pc.raised(vector::pf, 0x10));
        CHECK(pc.page.cr2 == 0x21000);
        pc.map(0x21000, 0x40000);
        pc.poke(0x40000, {0x10, 0, 0, 0});
        pc.set_device<std::uint32_t>(0x10, 0x12345678);
        CHECK(run_at(0x20ffe) == Outcome::Done);
        CHECK(pc.page.gpr[abi::rax] == 0x12345678);
    }
    SECTION("more than 15 bytes") {
        CHECK(pc.run({0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
                      0x66, 0x8b, 0x03})
                  .outcome == Outcome::Fault);
        CHECK(pc.raised(vector::gp, 0));
    }
    SECTION("execution that strayed into unmapped memory reads ones: an invalid opcode") {
        pc.map(0x20000, 0xc0000);
        pc.memory_exit(0xc0000, false);
        pc.page.exit.memory.fetch = 1;
        CHECK(run_at(0x20000) == Outcome::Fault);
        CHECK(pc.raised(vector::ud));
    }
}

TEST_CASE("single-step traps after the instruction", "[emulator][fault]") {
    LongPc pc;
    pc.page.rflags |= flag::tf | flag::rf;
    pc.page.interrupt_shadow = 1;
    CHECK(pc.run({0x8b, 0x03}).outcome == Outcome::Done);
    CHECK(pc.raised(vector::db));
    CHECK(pc.page.rip == Pc::code + 2);
    CHECK((pc.page.dr6 & 1u << 14) != 0);
    CHECK((pc.page.rflags & flag::rf) == 0);
    CHECK(pc.page.interrupt_shadow == 0);
    CHECK((pc.page.dirty & (abi::group_general | abi::group_other)) ==
          (abi::group_general | abi::group_other));
    // POPF that sets TF traps after the next instruction.
    pc.page.rflags = 2;
    pc.set_device<std::uint64_t>(0x80, 0x102);
    pc.page.gpr[abi::rsp] = 0x10080;
    CHECK(pc.run({0x9d}).outcome == Outcome::Done);
    CHECK(pc.page.event.valid == 0);
    CHECK((pc.page.rflags & flag::tf) != 0);
}

TEST_CASE("an instruction beyond the emulator is reported with all there is to know", "[emulator][fault]") {
    LongPc pc;
    pc.page.gpr[abi::rbx] = 0x10040;
    pc.memory_exit(Pc::device_gpa + 0x40, true);
    const auto result = pc.run_precisely({0x0f, 0xae, 0x03}); // fxsave [rbx]
    CHECK(result.outcome == Outcome::Unsupported);
    CHECK(pc.page.event.valid == 0);
    for (const char* part : {"0f ae 03", "fxsave", "0xa0040", "write", "rbx 0000000000010040",
                             "rip 0000000000007c00", "64-bit"}) {
        INFO(part << " in\n" << result.text);
        CHECK(result.text.find(part) != std::string::npos);
    }
}

TEST_CASE("what cannot have caused the exit is tried again, for a while", "[emulator][fault]") {
    LongPc pc;
    // Another CPU put a breakpoint where the MOV was.
    pc.memory_exit(Pc::device_gpa, false);
    CHECK(pc.run_precisely({0xcc}).outcome == Outcome::Retry);
    Outcome last{};
    for (unsigned i = 0; i < 20; ++i)
        last = pc.run({0xcc}).outcome;
    CHECK(last == Outcome::Unsupported);
    // The address became memory in the meantime.
    pc.memory_exit(0x50000, true);
    pc.page.rip = 0x7c10;
    pc.poke(0x7c10, {0x0f, 0xae, 0x03});
    CHECK(pc.emulator.emulate(pc.page).outcome == Outcome::Retry);
}

TEST_CASE("event delivery through device memory is reported", "[emulator][fault]") {
    LongPc pc;
    pc.memory_exit(Pc::device_gpa, true);
    pc.page.event.valid = 1;
    pc.page.event.vector = 0x20;
    const auto result = pc.emulator.emulate(pc.page);
    CHECK(result.outcome == Outcome::Unsupported);
    CHECK(result.text.find("vector 32") != std::string::npos);
}

TEST_CASE("the exit's address spares the page walk where it surely applies", "[emulator][fault]") {
    LongPc pc;
    pc.set_device<std::uint32_t>(0x1234, 0xcafe);
    pc.page.gpr[abi::rbx] = 0x55234; // not mapped: only the exit knows where it leads
    pc.memory_exit(Pc::device_gpa + 0x1234, false);
    CHECK(pc.run({0x8b, 0x03}).outcome == Outcome::Done);
    CHECK(pc.page.gpr[abi::rax] == 0xcafe);
    CHECK(pc.run({0x89, 0x03}).outcome == Outcome::Fault); // it was a read
    pc.memory_exit(Pc::device_gpa + 0x1230, false);
    CHECK(pc.run({0x8b, 0x03}).outcome == Outcome::Fault); // another offset
    pc.memory_exit(Pc::device_gpa + 0x1234, false);
    pc.page.exit.memory.page_walk = 1;
    CHECK(pc.run({0x8b, 0x03}).outcome == Outcome::Fault);
    // Of two operands at the same offset of different pages it could be either.
    pc.map(0x20000, 0x50000);
    pc.memory.bytes[0x50100] = 0x77;
    pc.page.gpr[abi::rbx] = 0x20100;
    pc.page.gpr[abi::rsp] = 0x10108;
    pc.memory_exit(Pc::device_gpa + 0x100, true);
    CHECK(pc.run({0xff, 0x33}).outcome == Outcome::Done); // push [rbx]
    CHECK(pc.device_value<std::uint64_t>(0x100) == 0x77);
}

TEST_CASE("the exit's bytes are the instruction", "[emulator][fault]") {
    LongPc pc;
    pc.set_device<std::uint32_t>(0, 0x11);
    pc.memory_exit(Pc::device_gpa, false);
    pc.page.exit.memory.bytes_valid = 2;
    pc.page.exit.memory.bytes[0] = 0x8b;
    pc.page.exit.memory.bytes[1] = 0x0b; // mov ecx, [rbx]
    CHECK(pc.run({0x0f, 0x0b}).outcome == Outcome::Done);
    CHECK(pc.page.gpr[abi::rcx] == 0x11);
    CHECK(pc.page.rip == Pc::code + 2);
}

TEST_CASE("changed code at the same address is decoded anew", "[emulator][fault]") {
    LongPc pc;
    pc.set_device<std::uint32_t>(0, 7);
    CHECK(pc.run({0x8b, 0x03}).outcome == Outcome::Done);
    CHECK(pc.page.gpr[abi::rax] == 7);
    CHECK(pc.run({0x8b, 0x13}).outcome == Outcome::Done);
    CHECK(pc.page.gpr[abi::rdx] == 7);
    CHECK(pc.run({0x48, 0x01, 0x03}).outcome == Outcome::Done);
    CHECK(pc.device_value<std::uint64_t>(0) == 14);
}

TEST_CASE("ROM swallows writes and absent memory reads ones", "[emulator][fault]") {
    Pc pc;
    pc.protected_mode(32);
    pc.memory.bytes[0xf0010] = 0x21;
    pc.page.gpr[abi::rbx] = 0xf0010;
    CHECK(pc.run({0x80, 0x03, 0x01}).outcome == Outcome::Done); // add byte [ebx], 1
    CHECK(pc.memory.bytes[0xf0010] == 0x21);
    CHECK((pc.page.rflags & flag::zf) == 0);
    pc.page.gpr[abi::rbx] = 0xd0000000;
    CHECK(pc.run({0x8b, 0x03}).outcome == Outcome::Done);
    CHECK(pc.page.gpr[abi::rax] == 0xffffffff);
    CHECK(pc.run({0x89, 0x03}).outcome == Outcome::Done);
}

TEST_CASE("a device over ROM gets the writes", "[emulator][fault]") {
    Pc pc;
    pc.protected_mode(32);
    Scratch flash{0x1000};
    pc.memory_bus.add(0xf0000, 0x1000, flash, 0);
    pc.page.gpr[abi::rbx] = 0xf0010;
    CHECK(pc.run({0xc6, 0x03, 0x42}).outcome == Outcome::Done);
    CHECK(flash.bytes[0x10] == 0x42);
    CHECK(pc.memory.bytes[0xf0010] == 0);
}

} // namespace escalus::test
