// SPDX-License-Identifier: GPL-2.0-or-later
// Branches through device memory and stacks on it, in the modes that the differential test cannot reach.
#include "devmodel/emulator/emulator.hpp"
#include "fixture.hpp"

#include <catch2/catch.hpp>

namespace escalus::test {

namespace {
using namespace emulation;

struct StackPc : Pc {
    explicit StackPc(unsigned bits) {
        if (bits == 64) {
            long_mode();
            map(code, code);
            map(0xa0000, device_gpa);
        } else {
            protected_mode(bits == 32 ? 32 : 16);
        }
        for (auto& s : page.segment)
            s.base = bits == 16 && &s != &page.segment[abi::seg_cs] ? 0xa0000 : 0;
        base = bits == 16 ? 0 : 0xa0000;
        page.gpr[abi::rbx] = base + 0x100;
        page.gpr[abi::rsp] = base + 0x800;
    }
    std::uint64_t base = 0; ///< of the device, as an offset
};
} // namespace

TEST_CASE("CALL and JMP through device memory", "[emulator][stack]") {
    SECTION("64-bit") {
        StackPc pc{64};
        pc.set_device<std::uint64_t>(0x100, 0x123456789a);
        REQUIRE(pc.run({0xff, 0x13}).outcome == Outcome::Done); // call [rbx]
        CHECK(pc.page.rip == 0x123456789a);
        CHECK(pc.page.gpr[abi::rsp] == 0xa07f8);
        CHECK(pc.device_value<std::uint64_t>(0x7f8) == Pc::code + 2);
        REQUIRE(pc.run({0xff, 0x23}).outcome == Outcome::Done); // jmp [rbx]
        CHECK(pc.page.rip == 0x123456789a);
        pc.set_device<std::uint64_t>(0x100, 1ull << 60);
        CHECK(pc.run({0xff, 0x13}).outcome == Outcome::Fault);
        CHECK(pc.raised(vector::gp, 0));
        CHECK(pc.page.gpr[abi::rsp] == 0xa07f8);
        pc.page.gpr[abi::rsp] = 0xa07f8;
        REQUIRE(pc.run({0xc2, 0x10, 0}).outcome == Outcome::Done); // ret 16
        CHECK(pc.page.rip == Pc::code + 2);
        CHECK(pc.page.gpr[abi::rsp] == 0xa0810);
    }
    SECTION("32-bit") {
        StackPc pc{32};
        pc.set_device<std::uint32_t>(0x100, 0x8000);
        REQUIRE(pc.run({0xff, 0x13}).outcome == Outcome::Done);
        CHECK(pc.page.rip == 0x8000);
        CHECK(pc.device_value<std::uint32_t>(0x7fc) == Pc::code + 2);
        REQUIRE(pc.run({0xe8, 0xfb, 0xff, 0xff, 0xff}).outcome == Outcome::Done); // call self
        CHECK(pc.page.rip == Pc::code);
        CHECK(pc.device_value<std::uint32_t>(0x7f8) == Pc::code + 5);
        REQUIRE(pc.run({0xc3}).outcome == Outcome::Done);
        CHECK(pc.page.rip == Pc::code + 5);
        pc.page.segment[abi::seg_cs].limit = 0x7fff;
        CHECK(pc.run({0xff, 0x23}).outcome == Outcome::Fault);
        CHECK(pc.raised(vector::gp, 0));
    }
    SECTION("16-bit") {
        StackPc pc{16};
        pc.set_device<std::uint32_t>(0x100, 0xabcd8000);
        REQUIRE(pc.run({0xff, 0x17}).outcome == Outcome::Done); // call [bx]
        CHECK(pc.page.rip == 0x8000);
        CHECK(pc.page.gpr[abi::rsp] == 0x7fe);
        CHECK(pc.device_value<std::uint16_t>(0x7fe) == Pc::code + 2);
    }
    SECTION("far forms are not emulated") {
        StackPc pc{32};
        CHECK(pc.run({0xff, 0x1b}).outcome == Outcome::Unsupported);
        CHECK(pc.run({0xff, 0x2b}).outcome == Outcome::Unsupported);
        CHECK(pc.run({0xcb}).outcome == Outcome::Unsupported);
    }
}

TEST_CASE("PUSHA and POPA", "[emulator][stack]") {
    StackPc pc{32};
    for (unsigned i = 0; i < 8; ++i)
        if (i != abi::rsp)
            pc.page.gpr[i] = 0x1000 + i;
    const auto before = pc.page;
    REQUIRE(pc.run({0x60}).outcome == Outcome::Done);
    CHECK(pc.page.gpr[abi::rsp] == 0xa07e0);
    for (unsigned i = 0; i < 8; ++i)
        CHECK(pc.device_value<std::uint32_t>(0x7fc - 4 * i) == before.gpr[i]);
    for (unsigned i = 0; i < 8; ++i)
        if (i != abi::rsp)
            pc.page.gpr[i] = 0;
    REQUIRE(pc.run({0x61}).outcome == Outcome::Done);
    CHECK(std::memcmp(pc.page.gpr, before.gpr, sizeof before.gpr) == 0);
}

TEST_CASE("a 16-bit stack pointer wraps and keeps the upper half of ESP", "[emulator][stack]") {
    StackPc pc{16};
    pc.page.gpr[abi::rsp] = 0x5555'0000;
    REQUIRE(pc.run({0x68, 0x34, 0x12}).outcome == Outcome::Done); // push 0x1234
    CHECK(pc.page.gpr[abi::rsp] == 0x5555'fffe);
    CHECK(pc.device_value<std::uint16_t>(0xfffe) == 0x1234);
    REQUIRE(pc.run({0x66, 0x59}).outcome == Outcome::Fault); // pop ecx beyond the limit
    CHECK(pc.raised(vector::ss, 0));
    REQUIRE(pc.run({0x59}).outcome == Outcome::Done);
    CHECK(pc.page.gpr[abi::rsp] == 0x5555'0000);
}

TEST_CASE("PUSHF and POPF respect privilege", "[emulator][stack]") {
    StackPc pc{32};
    pc.page.rflags = 0x246 | flag::rf;
    REQUIRE(pc.run({0x9c}).outcome == Outcome::Done);
    CHECK(pc.device_value<std::uint32_t>(0x7fc) == 0x246);
    pc.set_device<std::uint32_t>(0x7fc, 0x245cd7 | 0x3000); // all but IF
    REQUIRE(pc.run({0x9d}).outcome == Outcome::Done);
    CHECK((pc.page.rflags & (flag::iopl | flag::intr)) == flag::iopl);
    pc.user(true);
    pc.page.rflags = 0x202;
    pc.page.gpr[abi::rsp] = 0xa07fc;
    pc.set_device<std::uint32_t>(0x7fc, 0x3cd7);
    REQUIRE(pc.run({0x9d}).outcome == Outcome::Done);
    CHECK((pc.page.rflags & (flag::iopl | flag::intr)) == flag::intr); // neither may be changed
    CHECK((pc.page.rflags & flag::df) != 0);
}

TEST_CASE("PUSH of segment registers", "[emulator][stack]") {
    StackPc pc{32};
    pc.page.segment[abi::seg_ds].selector = 0x23;
    REQUIRE(pc.run({0x1e}).outcome == Outcome::Done);
    CHECK(pc.device_value<std::uint32_t>(0x7fc) == 0x23);
    CHECK(pc.run({0x1f}).outcome == Outcome::Unsupported); // pop ds needs a descriptor
}

} // namespace escalus::test
