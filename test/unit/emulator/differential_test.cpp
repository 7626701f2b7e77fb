// SPDX-License-Identifier: GPL-2.0-or-later
// The emulator against the CPU that runs the tests: same instruction, same registers, same memory. The guest
// sees the operand page as a device and the page after it as RAM, so operands that cross are covered too.
#include "devmodel/emulator/emulator.hpp"
#include "fixture.hpp"
#include "native_cpu.hpp"

#include <random>

#include <catch2/catch.hpp>
#include <fmt/format.h>

namespace escalus::test {

namespace {
using namespace emulation;
using Bytes = std::vector<std::uint8_t>;

class Differential {
  public:
    static constexpr std::uint64_t ram_gpa = 0x150000;
    static constexpr std::size_t page = 4096;

    Differential() {
        pc.long_mode();
        pc.user(true);
        pc.map(Pc::code, Pc::code);
        pc.map(NativeCpu::data_address, Pc::device_gpa);
        pc.map(NativeCpu::data_address + page, ram_gpa);
    }

    /// Mostly values around the edges of the operand sizes.
    std::uint64_t value() {
        static constexpr std::uint64_t edges[] = {
            0,          1,          2,          0x0f,       0x10,
            0x7f,       0x80,       0xff,       0x7fff,     0x8000,
            0xffff,     0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff,
            1ull << 63, ~0ull};
        switch (random() % 4) {
        case 0:
            return edges[random() % std::size(edges)];
        case 1:
            return edges[random() % std::size(edges)] + random() % 3 - 1;
        default:
            return random();
        }
    }
    unsigned below(unsigned n) { return static_cast<unsigned>(random() % n); }

    void randomize() {
        auto& regs = native.registers();
        for (auto& gpr : regs.gpr)
            gpr = value();
        regs.rflags = 2 | (random() & flag::arithmetic);
        auto data = native.data();
        for (std::size_t i = 0; i < data.size(); i += 8) {
            const std::uint64_t v = i % 64 == 0 ? value() : random();
            std::memcpy(&data[i], &v, 8);
        }
        // RBX points to the operand; now and then it crosses from the device into RAM.
        regs.gpr[abi::rbx] = NativeCpu::data_address + 0x800 + below(16);
        if (below(4) == 0)
            regs.gpr[abi::rbx] = NativeCpu::data_address + page - below(8);
        regs.gpr[abi::rsi] = below(16);
        // Some kernels end a program that they are to go on with after a signal with a stack pointer that is
        // no address, as after a division error.
        constexpr std::uint64_t user_addresses = (1ull << 47) - 1;
        regs.gpr[abi::rsp] &= user_addresses;
    }
    void put_operand(std::uint64_t at, std::uint64_t v, unsigned width) {
        std::memcpy(&native.data()[at - NativeCpu::data_address], &v, width);
    }

    /// One of some ways to address near RBX.
    void memory_operand(Bytes& code, unsigned reg) {
        const auto field = static_cast<std::uint8_t>((reg & 7) << 3);
        switch (below(4)) {
        case 0:
            code.push_back(field | 3); // [rbx]
            break;
        case 1:
            code.push_back(0x40 | field | 3); // [rbx + disp8]
            code.push_back(static_cast<std::uint8_t>(static_cast<int>(below(32)) - 16));
            break;
        case 2:
            code.push_back(0x80 | field | 4); // [rbx + rsi * scale + disp32]
            code.push_back(static_cast<std::uint8_t>(below(4) << 6 | 6 << 3 | 3));
            code.insert(code.end(), {static_cast<std::uint8_t>(below(64)), 0, 0, 0});
            break;
        default:
            code.push_back(field | 4); // [rbx + rsi]
            code.push_back(6 << 3 | 3);
            break;
        }
    }
    /// `reg`: the ModRM reg field, or any register when it is none.
    Bytes encode(unsigned width, const Bytes& opcode, std::optional<unsigned> reg,
                 const Bytes& immediate = {}, std::optional<std::uint8_t> prefix = {}) {
        Bytes code;
        if (prefix)
            code.push_back(*prefix);
        if (width == 2)
            code.push_back(0x66);
        const unsigned r = reg ? *reg : below(16);
        std::uint8_t rex = 0;
        if (width == 8)
            rex |= 0x48;
        if (r >= 8)
            rex |= 0x44;
        if (rex == 0 && below(3) == 0)
            rex = 0x40; // SPL, BPL, SIL, DIL instead of AH, CH, DH, BH
        if (rex != 0)
            code.push_back(rex);
        code.insert(code.end(), opcode.begin(), opcode.end());
        memory_operand(code, r);
        code.insert(code.end(), immediate.begin(), immediate.end());
        return code;
    }
    Bytes immediate(unsigned width) {
        const std::uint64_t v = value();
        Bytes result(std::min(width, 4u));
        std::memcpy(result.data(), &v, result.size());
        return result;
    }

    /// Runs both and compares all but the `undefined` flags.
    void compare(const Bytes& code, std::uint64_t undefined) {
        auto& regs = native.registers();
        auto data = native.data();
        std::memcpy(pc.page.gpr, regs.gpr, sizeof pc.page.gpr);
        pc.page.rflags = regs.rflags;
        std::memcpy(pc.device.bytes.data(), data.data(), page);
        std::memcpy(&pc.memory.bytes[ram_gpa], data.data() + page, page);
        const auto before = regs;

        const bool executed = native.run(code);
        const auto result = pc.run(code);
        std::string context = fmt::format("code {:02x} rflags {:x}", fmt::join(code, " "), before.rflags);
        for (unsigned i = 0; i < 16; ++i)
            context += fmt::format(" r{}={:x}", i, before.gpr[i]);
        INFO(context << "\n" << result.text);
        if (!executed) {
            REQUIRE(result.outcome == Outcome::Fault);
            REQUIRE(pc.raised(vector::de));
            REQUIRE(pc.page.rip == Pc::code);
        } else {
            REQUIRE(result.outcome == Outcome::Done);
            REQUIRE(pc.page.rip == Pc::code + code.size());
            const std::uint64_t compared = (flag::arithmetic | flag::df) & ~undefined;
            REQUIRE(flags_text(pc.page.rflags & compared) == flags_text(regs.rflags & compared));
        }
        for (unsigned i = 0; i < 16; ++i) {
            INFO("register " << i);
            REQUIRE(pc.page.gpr[i] == regs.gpr[i]);
        }
        REQUIRE(std::memcmp(pc.device.bytes.data(), data.data(), page) == 0);
        REQUIRE(std::memcmp(&pc.memory.bytes[ram_gpa], data.data() + page, page) == 0);
    }
    static std::string flags_text(std::uint64_t flags) { return fmt::format("{:x}", flags); }

    NativeCpu native;
    Pc pc;
    std::mt19937_64 random{20260101};
};

constexpr unsigned widths[] = {1, 2, 4, 8};
constexpr unsigned rounds = 60;

/// The byte form of an opcode has bit 0 clear.
std::uint8_t sized(unsigned opcode, unsigned width) {
    return static_cast<std::uint8_t>(width == 1 ? opcode & ~1u : opcode);
}
} // namespace

TEST_CASE("ALU operations with device memory agree with the CPU", "[emulator]") {
    Differential d;
    for (unsigned op = 0; op < 8; ++op) {
        const std::uint64_t undefined = op == 1 || op == 4 || op == 6 ? flag::af : 0;
        for (unsigned width : widths) {
            for (unsigned round = 0; round < rounds; ++round) {
                d.randomize();
                d.compare(d.encode(width, {sized(op * 8 + 1, width)}, {}), undefined); // r/m, r
                d.randomize();
                d.compare(d.encode(width, {sized(op * 8 + 3, width)}, {}), undefined); // r, r/m
                d.randomize();
                d.compare(d.encode(width, {sized(0x81, width)}, op, d.immediate(width)), undefined);
                d.randomize();
                if (width != 1)
                    d.compare(d.encode(width, {0x83}, op, d.immediate(1)), undefined);
                d.randomize();
                if (op != 7)
                    d.compare(d.encode(width, {sized(0x81, width)}, op, d.immediate(width), 0xf0), undefined);
            }
        }
    }
}

TEST_CASE("TEST, NOT, NEG, INC, DEC, MUL, DIV with device memory agree with the CPU", "[emulator]") {
    Differential d;
    constexpr std::uint64_t multiply = flag::sf | flag::zf | flag::af | flag::pf;
    for (unsigned width : widths) {
        for (unsigned round = 0; round < 2 * rounds; ++round) {
            d.randomize();
            d.compare(d.encode(width, {sized(0x85, width)}, {}), flag::af);
            d.randomize();
            d.compare(d.encode(width, {sized(0xf7, width)}, 0, d.immediate(width)), flag::af);
            d.randomize();
            d.compare(d.encode(width, {sized(0xf7, width)}, 2), 0); // NOT
            d.randomize();
            d.compare(d.encode(width, {sized(0xf7, width)}, 3), 0); // NEG
            d.randomize();
            d.compare(d.encode(width, {sized(0xff, width)}, 0), 0); // INC
            d.randomize();
            d.compare(d.encode(width, {sized(0xff, width)}, 1), 0); // DEC
            d.randomize();
            d.compare(d.encode(width, {sized(0xf7, width)}, 4), multiply);
            d.randomize();
            d.compare(d.encode(width, {sized(0xf7, width)}, 5), multiply);
            for (unsigned op : {6u, 7u}) { // DIV, IDIV, with quotients that fit often enough
                d.randomize();
                if (round % 2 == 0)
                    d.native.registers().gpr[abi::rdx] = op == 7 && round % 4 == 0 ? ~0ull : d.below(3);
                d.compare(d.encode(width, {sized(0xf7, width)}, op), flag::arithmetic);
            }
            if (width == 1)
                continue;
            d.randomize();
            d.compare(d.encode(width, {0x0f, 0xaf}, {}), multiply);
            d.randomize();
            d.compare(d.encode(width, {0x69}, {}, d.immediate(width)), multiply);
            d.randomize();
            d.compare(d.encode(width, {0x6b}, {}, d.immediate(1)), multiply);
        }
    }
}

TEST_CASE("shifts and rotates of device memory agree with the CPU", "[emulator]") {
    Differential d;
    for (unsigned width : widths) {
        const unsigned count_mask = width == 8 ? 63 : 31;
        for (unsigned op = 0; op < 8; ++op) {
            const auto undefined = [&](unsigned count) -> std::uint64_t {
                count &= count_mask;
                if (count == 0)
                    return 0;
                std::uint64_t mask = count == 1 ? 0 : flag::of;
                if (op >= 4) {
                    mask |= flag::af;
                    if (op != 7 && count > 8 * width) // SAR's carry stays the sign
                        mask |= flag::cf;
                }
                return mask;
            };
            for (unsigned round = 0; round < 2 * rounds; ++round) {
                d.randomize();
                d.compare(d.encode(width, {sized(0xd1, width)}, op), undefined(1));
                d.randomize();
                const auto count = static_cast<std::uint8_t>(d.below(256));
                d.compare(d.encode(width, {sized(0xc1, width)}, op, {count}), undefined(count));
                d.randomize();
                d.compare(d.encode(width, {sized(0xd3, width)}, op),
                          undefined(d.native.registers().gpr[abi::rcx] & 0xff));
            }
        }
        if (width == 1)
            continue;
        for (std::uint8_t opcode : {0xa4, 0xac}) { // SHLD, SHRD
            for (unsigned round = 0; round < 4 * rounds; ++round) {
                d.randomize();
                auto count = static_cast<std::uint8_t>(d.below(256));
                if ((count & count_mask) > 8 * width)
                    count = static_cast<std::uint8_t>(count & 15);
                const unsigned effective = count & count_mask;
                const std::uint64_t undefined =
                    effective == 0 ? 0 : flag::af | (effective == 1 ? 0 : flag::of);
                d.compare(d.encode(width, {0x0f, opcode}, {}, {count}), undefined);
                d.randomize();
                auto& rcx = d.native.registers().gpr[abi::rcx];
                rcx = (rcx & ~0xffull) | count;
                d.compare(d.encode(width, {0x0f, static_cast<std::uint8_t>(opcode + 1)}, {}), undefined);
            }
        }
    }
}

TEST_CASE("bit instructions on device memory agree with the CPU", "[emulator]") {
    Differential d;
    constexpr std::uint64_t bit_test = flag::of | flag::sf | flag::af | flag::pf;
    for (unsigned width : {2u, 4u, 8u}) {
        for (unsigned round = 0; round < 2 * rounds; ++round) {
            for (unsigned op = 0; op < 4; ++op) {
                d.randomize();
                d.compare(d.encode(width, {0x0f, 0xba}, 4 + op, d.immediate(1)), bit_test);
                // A bit string: any bit within the two pages, before or after the address.
                d.randomize();
                const unsigned reg = abi::rdx;
                auto& offset = d.native.registers().gpr[reg];
                offset = static_cast<std::uint64_t>(static_cast<std::int64_t>(d.below(16000)) - 8000);
                if (width == 2)
                    offset = (offset & 0xffff) | (d.random() << 16);
                d.compare(d.encode(width, {0x0f, static_cast<std::uint8_t>(0xa3 + 8 * op)}, reg), bit_test);
            }
            for (std::uint8_t opcode : {0xbc, 0xbd}) { // BSF, BSR
                d.randomize();
                for (std::size_t i = 0; i < NativeCpu::data_size; ++i) // a zero source is a case of its own
                    d.native.data()[i] |= static_cast<std::uint8_t>(1u << d.below(8));
                d.compare(d.encode(width, {0x0f, opcode}, {}), bit_test | flag::cf);
                d.randomize();
                d.compare(d.encode(width, {0x0f, opcode}, {}, {}, 0xf3), bit_test); // TZCNT, LZCNT
            }
            d.randomize();
            d.compare(d.encode(width, {0x0f, 0xb8}, {}, {}, 0xf3), 0); // POPCNT
        }
    }
}

TEST_CASE("moves and exchanges with device memory agree with the CPU", "[emulator]") {
    Differential d;
    for (unsigned width : widths) {
        for (unsigned round = 0; round < 2 * rounds; ++round) {
            d.randomize();
            d.compare(d.encode(width, {sized(0x89, width)}, {}), 0);
            d.randomize();
            d.compare(d.encode(width, {sized(0x8b, width)}, {}), 0);
            d.randomize();
            d.compare(d.encode(width, {sized(0xc7, width)}, 0, d.immediate(width)), 0);
            d.randomize();
            d.compare(d.encode(width, {sized(0x87, width)}, {}), 0); // XCHG
            d.randomize();
            d.compare(d.encode(width, {0x0f, sized(0xc1, width)}, {}), 0); // XADD
            d.randomize();
            d.compare(d.encode(width, {0x0f, sized(0xc1, width)}, {}, {}, 0xf0), 0);
            // CMPXCHG, half of them equal
            d.randomize();
            if (round % 2 == 0) {
                for (std::size_t i = 0; i < NativeCpu::data_size; ++i)
                    d.native.data()[i] = 0x5a;
                d.native.registers().gpr[abi::rax] = 0x5a5a5a5a5a5a5a5a;
            }
            d.compare(d.encode(width, {0x0f, sized(0xb1, width)}, {}, {},
                               round % 3 == 0 ? std::optional<std::uint8_t>{0xf0} : std::nullopt),
                      0);
            for (unsigned condition = 0; condition < 16; ++condition) {
                d.randomize();
                d.compare(d.encode(1, {0x0f, static_cast<std::uint8_t>(0x90 + condition)}, 0), 0); // SETcc
                d.randomize();
                if (width != 1)
                    d.compare(d.encode(width, {0x0f, static_cast<std::uint8_t>(0x40 + condition)}, {}), 0);
            }
            if (width == 1)
                continue;
            for (std::uint8_t opcode : {0xb6, 0xb7, 0xbe, 0xbf}) { // MOVZX, MOVSX
                d.randomize();
                d.compare(d.encode(width, {0x0f, opcode}, {}), 0);
            }
            d.randomize();
            d.compare(d.encode(width, {0x0f, 0x38, 0xf0}, {}), 0); // MOVBE
            d.randomize();
            d.compare(d.encode(width, {0x0f, 0x38, 0xf1}, {}), 0);
            if (width == 2)
                continue;
            d.randomize();
            d.compare(d.encode(width, {0x0f, 0xc3}, {}), 0); // MOVNTI
            d.randomize();
            d.compare(d.encode(width, {0x63}, {}), 0); // MOVSXD
            // CMPXCHG8B, CMPXCHG16B (which must be aligned)
            d.randomize();
            auto& gpr = d.native.registers().gpr;
            gpr[abi::rsi] = NativeCpu::data_address + 0x400;
            for (std::size_t i = 0; i < 16; ++i)
                d.native.data()[0x400 + i] = static_cast<std::uint8_t>(i / 8 + 7);
            if (round % 2 == 0) {
                gpr[abi::rax] = width == 4 ? 0x07070707 : 0x0707070707070707;
                gpr[abi::rdx] = width == 4 ? 0x07070707 : 0x0808080808080808;
            }
            Bytes pair{0xf0, 0x0f, 0xc7, 0x0e}; // [rsi]
            if (width == 8)
                pair.insert(pair.begin() + 1, 0x48);
            d.compare(pair, 0);
        }
    }
}

TEST_CASE("string instructions on device memory agree with the CPU", "[emulator]") {
    Differential d;
    for (unsigned width : widths) {
        for (unsigned opcode : {0xa5u, 0xa7u, 0xabu, 0xadu, 0xafu}) {
            for (unsigned round = 0; round < rounds; ++round) {
                d.randomize();
                auto& regs = d.native.registers();
                const auto somewhere = [&] { return NativeCpu::data_address + 0x300 + d.below(0x1a00); };
                regs.gpr[abi::rsi] = somewhere();
                regs.gpr[abi::rdi] = round % 3 == 0 ? regs.gpr[abi::rsi] + d.below(16) : somewhere();
                regs.gpr[abi::rcx] = d.below(48);
                if (round % 2 == 0)
                    regs.rflags |= flag::df;
                if (round % 4 < 2) { // long runs of equal elements for CMPS and SCAS
                    for (auto& byte : d.native.data())
                        byte = 0x11;
                    regs.gpr[abi::rax] = 0x1111111111111111;
                    if (round % 8 < 4)
                        d.native.data()[0x300 + d.below(0x1a00)] = 0x12;
                }
                Bytes code;
                const unsigned repeat = d.below(3);
                if (repeat != 0)
                    code.push_back(repeat == 1 ? 0xf3 : 0xf2);
                if (width == 2)
                    code.push_back(0x66);
                if (width == 8)
                    code.push_back(0x48);
                code.push_back(sized(opcode, width));
                d.compare(code, 0);
                // 32-bit addresses and counts
                d.randomize();
                regs.gpr[abi::rsi] = somewhere();
                regs.gpr[abi::rdi] = somewhere();
                regs.gpr[abi::rcx] = 1 + d.below(40);
                code.insert(code.begin(), 0x67);
                d.compare(code, 0);
            }
        }
    }
}

TEST_CASE("pushes and pops with the stack on a device agree with the CPU", "[emulator]") {
    Differential d;
    const std::vector<Bytes> instructions = {
        {0x50},                   // push rax
        {0x54},                   // push rsp
        {0x66, 0x50},             // push ax
        {0x68, 0x80, 1, 2, 0x83}, // push imm32
        {0x6a, 0x85},             // push imm8
        {0x58},                   // pop rax
        {0x5c},                   // pop rsp
        {0x66, 0x59},             // pop cx
        {0xff, 0x33},             // push [rbx]
        {0xff, 0x74, 0x24, 0x10}, // push [rsp + 16]
        {0x8f, 0x03},             // pop [rbx]
        {0x8f, 0x44, 0x24, 0x10}, // pop [rsp + 16], addressed by the new RSP
        {0x66, 0x8f, 0x44, 0x24, 0x10},
        {0xc8, 0x20, 0, 0}, // enter 32, 0
        {0xc8, 0x10, 0, 1}, // enter 16, 1
        {0xc8, 0x18, 0, 5}, // enter 24, 5
        {0xc9},             // leave
    };
    for (unsigned round = 0; round < 3 * rounds; ++round) {
        for (const auto& code : instructions) {
            d.randomize();
            auto& gpr = d.native.registers().gpr;
            gpr[abi::rsp] = NativeCpu::data_address + 0xc00 + d.below(0x800);
            gpr[abi::rbp] = NativeCpu::data_address + 0xc00 + d.below(0x800);
            d.compare(code, 0);
        }
    }
}

} // namespace escalus::test
