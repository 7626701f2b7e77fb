// SPDX-License-Identifier: GPL-2.0-or-later
// Moves between vector registers and device memory.
#include "devmodel/emulator/vector_registers.hpp"
#include "fixture.hpp"

#include <catch2/catch.hpp>

namespace escalus::test {

namespace {
using namespace emulation;

struct VectorPc : Pc {
    VectorPc() {
        long_mode();
        map(code, code);
        map(0x10000, device_gpa);
        page.cr4 |= control::cr4_osfxsr | control::cr4_osxsave;
        page.xcr0 = 7;
        page.gpr[abi::rbx] = 0x10040;
        for (std::size_t i = 0; i < 0x100; ++i)
            device.bytes[i] = static_cast<std::uint8_t>(i);
        for (unsigned r = 0; r < 16; ++r)
            for (unsigned i = 0; i < 32; ++i)
                vectors.reg[r][i] = static_cast<std::uint8_t>(0x80 + 7 * r + i);
    }
    bool device_is(std::uint64_t offset, const std::uint8_t* data, std::size_t n) const {
        return std::memcmp(&device.bytes[offset], data, n) == 0;
    }
    /// Bytes [from, to) of a register are all zero.
    bool zero(unsigned reg, unsigned from, unsigned to) const {
        for (unsigned i = from; i < to; ++i)
            if (vectors.reg[reg][i] != 0)
                return false;
        return true;
    }
};
} // namespace

TEST_CASE("16-byte stores and loads", "[emulator][vector]") {
    VectorPc pc;
    // movaps, movups, movdqa, movdqu, movntdq, movntps [rbx], xmm1
    for (auto code : {std::vector<std::uint8_t>{0x0f, 0x29, 0x0b},
                      {0x0f, 0x11, 0x0b},
                      {0x66, 0x0f, 0x7f, 0x0b},
                      {0xf3, 0x0f, 0x7f, 0x0b},
                      {0x66, 0x0f, 0xe7, 0x0b},
                      {0x0f, 0x2b, 0x0b}}) {
        std::memset(&pc.device.bytes[0x40], 0, 32);
        REQUIRE(pc.run(code).outcome == Outcome::Done);
        CHECK(pc.device_is(0x40, pc.vectors.reg[1], 16));
        CHECK(pc.device_value<std::uint64_t>(0x50) == 0);
        // Devices see accesses of 8 bytes at most.
        CHECK(pc.device.touches == std::vector<Scratch::Touch>{{true, 0x40, 8}, {true, 0x48, 8}});
    }
    // movaps, movdqu, lddqu, movntdqa xmm9, [rbx]
    for (auto code : {std::vector<std::uint8_t>{0x44, 0x0f, 0x28, 0x0b},
                      {0xf3, 0x44, 0x0f, 0x6f, 0x0b},
                      {0xf2, 0x44, 0x0f, 0xf0, 0x0b},
                      {0x66, 0x44, 0x0f, 0x38, 0x2a, 0x0b}}) {
        std::memset(pc.vectors.reg[9], 0xee, 32);
        REQUIRE(pc.run(code).outcome == Outcome::Done);
        CHECK(pc.device_is(0x40, pc.vectors.reg[9], 16));
        CHECK(pc.vectors.reg[9][16] == 0xee); // legacy SSE keeps the upper half
    }
}

TEST_CASE("VEX moves are 32 bytes wide or clear the upper half", "[emulator][vector]") {
    VectorPc pc;
    REQUIRE(pc.run({0xc5, 0xfe, 0x6f, 0x13}).outcome == Outcome::Done); // vmovdqu ymm2, [rbx]
    CHECK(pc.device_is(0x40, pc.vectors.reg[2], 32));
    REQUIRE(pc.run({0xc5, 0xfd, 0xe7, 0x1b}).outcome == Outcome::Done); // vmovntdq [rbx], ymm3
    CHECK(pc.device_is(0x40, pc.vectors.reg[3], 32));
    REQUIRE(pc.run({0xc5, 0xf8, 0x28, 0x23}).outcome == Outcome::Done); // vmovaps xmm4, [rbx]
    CHECK(pc.device_is(0x40, pc.vectors.reg[4], 16));
    CHECK(pc.zero(4, 16, 32));
}

TEST_CASE("narrow moves clear the rest of the XMM register", "[emulator][vector]") {
    VectorPc pc;
    REQUIRE(pc.run({0x66, 0x0f, 0x6e, 0x0b}).outcome == Outcome::Done); // movd xmm1, [rbx]
    CHECK(pc.device_is(0x40, pc.vectors.reg[1], 4));
    CHECK(pc.zero(1, 4, 16));
    CHECK(pc.vectors.reg[1][16] != 0);
    REQUIRE(pc.run({0xf3, 0x0f, 0x7e, 0x13}).outcome == Outcome::Done); // movq xmm2, [rbx]
    CHECK(pc.device_is(0x40, pc.vectors.reg[2], 8));
    CHECK(pc.zero(2, 8, 16));
    REQUIRE(pc.run({0xf2, 0x0f, 0x10, 0x1b}).outcome == Outcome::Done); // movsd xmm3, [rbx]
    CHECK(pc.device_is(0x40, pc.vectors.reg[3], 8));
    CHECK(pc.zero(3, 8, 16));
    REQUIRE(pc.run({0xf3, 0x0f, 0x11, 0x23}).outcome == Outcome::Done); // movss [rbx], xmm4
    CHECK(pc.device_is(0x40, pc.vectors.reg[4], 4));
    REQUIRE(pc.run({0x66, 0x0f, 0xd6, 0x2b}).outcome == Outcome::Done); // movq [rbx], xmm5
    CHECK(pc.device_is(0x40, pc.vectors.reg[5], 8));
    REQUIRE(pc.run({0x0f, 0x17, 0x33}).outcome == Outcome::Done); // movhps [rbx], xmm6
    CHECK(pc.device_is(0x40, pc.vectors.reg[6] + 8, 8));
    const std::uint8_t low = pc.vectors.reg[7][0];
    REQUIRE(pc.run({0x66, 0x0f, 0x16, 0x3b}).outcome == Outcome::Done); // movhpd xmm7, [rbx]
    CHECK(pc.device_is(0x40, pc.vectors.reg[7] + 8, 8));
    CHECK(pc.vectors.reg[7][0] == low);
}

TEST_CASE("vector moves fault as on hardware", "[emulator][vector]") {
    VectorPc pc;
    pc.page.gpr[abi::rbx] = 0x10048;
    CHECK(pc.run({0x66, 0x0f, 0x7f, 0x0b}).outcome == Outcome::Fault); // movdqa, misaligned
    CHECK(pc.raised(vector::gp, 0));
    CHECK(pc.run({0xf3, 0x0f, 0x7f, 0x0b}).outcome == Outcome::Done); // movdqu
    pc.page.cr0 |= control::cr0_ts;
    CHECK(pc.run({0xf3, 0x0f, 0x7f, 0x0b}).outcome == Outcome::Fault);
    CHECK(pc.raised(vector::nm));
    pc.page.cr0 &= ~control::cr0_ts;
    pc.page.cr4 &= ~control::cr4_osfxsr;
    CHECK(pc.run({0xf3, 0x0f, 0x7f, 0x0b}).outcome == Outcome::Fault);
    CHECK(pc.raised(vector::ud));
    pc.page.xcr0 = 3;
    CHECK(pc.run({0xc5, 0xfe, 0x6f, 0x13}).outcome == Outcome::Fault);
    CHECK(pc.raised(vector::ud));
    CHECK(pc.device.touches.empty());
}

TEST_CASE("without vector registers such a move is unsupported and changes nothing", "[emulator][vector]") {
    VectorPc pc;
    pc.vectors_present = false;
    const auto result = pc.run({0xf3, 0x0f, 0x7f, 0x0b});
    CHECK(result.outcome == Outcome::Unsupported);
    CHECK(result.text.find("movdqu") != std::string::npos);
    CHECK(pc.device.touches.empty());
    CHECK(pc.page.rip == Pc::code);
}

TEST_CASE("vector moves may cross from a device into RAM", "[emulator][vector]") {
    VectorPc pc;
    pc.map(0x11000, 0x50000);
    pc.page.gpr[abi::rbx] = 0x10ffb;
    REQUIRE(pc.run({0xf3, 0x0f, 0x7f, 0x0b}).outcome == Outcome::Done);
    CHECK(pc.device_is(0xffb, pc.vectors.reg[1], 5));
    CHECK(std::memcmp(&pc.memory.bytes[0x50000], pc.vectors.reg[1] + 5, 11) == 0);
}

} // namespace escalus::test
