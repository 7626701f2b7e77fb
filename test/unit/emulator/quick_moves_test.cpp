// SPDX-License-Identifier: GPL-2.0-or-later
// The short way of moves: it is taken when nothing has changed, does what the long way does, and is not taken
// when anything that it rests on is different.
#include "test/unit/emulator/fixture.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;
using emulation::flag::ac, emulation::flag::rf, emulation::flag::tf;

namespace {

using Bytes = std::vector<std::uint8_t>;

struct Polling : Pc {
    Polling() : Pc{{.memory_generation = &generation}} {}

    /// RBX holds the device's address; with paging, the code and the device are mapped.
    void prepare(unsigned bits) {
        if (bits == 64) {
            long_mode();
            map(code, code);
            map(device_gpa, device_gpa);
        } else {
            protected_mode(bits);
        }
        page.gpr[abi::rbx] = device_gpa + 0x40;
        page.gpr[abi::rax] = 0x1122334455667788;
        page.gpr[abi::rcx] = 0x99aabbccddeeff00;
        page.gpr[abi::rsi] = 4;
        for (unsigned i = 0; i < 0x100; ++i)
            device.bytes[i] = static_cast<std::uint8_t>(0x80 + 3 * i);
    }
    /// Once more, from the same state; whether the short way was taken.
    bool quick(const Bytes& bytes, bool write, std::uint64_t gpa = device_gpa + 0x40) {
        memory_exit(gpa, write);
        put(bytes);
        last = Outcome::Done;
        if (emulator.emulate_quickly(page))
            return true;
        last = emulator.emulate(page, &vectors).outcome;
        return false;
    }
    bool learnt(const Bytes& bytes, bool write, std::uint64_t gpa = device_gpa + 0x40) {
        const abi::VcpuPage state = page;
        const bool first = quick(bytes, write, gpa);
        page = state;
        const bool second = quick(bytes, write, gpa);
        page = state;
        return !first && second && last == Outcome::Done;
    }

    std::uint64_t generation = 1;
    Outcome last = Outcome::Done;
};

const Bytes load_eax{0x8b, 0x03}, store_eax{0x89, 0x03};

} // namespace

TEST_CASE("A poll of a register goes the short way from the second time on", "[emulator]") {
    for (const unsigned bits : {32u, 64u}) {
        Polling pc;
        pc.prepare(bits);
        pc.set_device<std::uint32_t>(0x40, 0xcafef00d);
        CHECK_FALSE(pc.quick(load_eax, false));
        CHECK(pc.page.gpr[abi::rax] == 0xcafef00d);
        pc.set_device<std::uint32_t>(0x40, 0x12345678); // the device is asked each time
        pc.page.rflags |= rf;
        pc.page.interrupt_shadow = 1;
        CHECK(pc.quick(load_eax, false));
        CHECK(pc.page.gpr[abi::rax] == 0x12345678);
        CHECK(pc.page.rip == Pc::code + 2);
        CHECK((pc.page.rflags & rf) == 0);
        CHECK(pc.page.interrupt_shadow == 0);
        CHECK(pc.page.dirty == abi::group_general);
        CHECK(pc.device.touches == std::vector<Scratch::Touch>{{false, 0x40, 4}});
        CHECK(pc.learnt(store_eax, true));
        CHECK(pc.device_value<std::uint32_t>(0x40) == 0x12345678);
    }
}

TEST_CASE("Whatever form the move has, the short way does what the long way does", "[emulator]") {
    const std::vector<std::pair<Bytes, bool>> moves{
        {{0x8a, 0x03}, false},                               // mov al, [rbx]
        {{0x66, 0x8b, 0x03}, false},                         // mov ax, [rbx]
        {{0x8b, 0x0b}, false},                               // mov ecx, [rbx]
        {{0x48, 0x8b, 0x0b}, false},                         // mov rcx, [rbx]
        {{0x4c, 0x8b, 0x3b}, false},                         // mov r15, [rbx]
        {{0x0f, 0xb6, 0x03}, false},                         // movzx eax, byte [rbx]
        {{0x66, 0x0f, 0xb6, 0x03}, false},                   // movzx ax, byte [rbx]
        {{0x48, 0x0f, 0xb7, 0x03}, false},                   // movzx rax, word [rbx]
        {{0x0f, 0xbe, 0x03}, false},                         // movsx eax, byte [rbx]
        {{0x48, 0x0f, 0xbf, 0x03}, false},                   // movsx rax, word [rbx]
        {{0x48, 0x63, 0x03}, false},                         // movsxd rax, dword [rbx]
        {{0x8b, 0x44, 0xb3, 0xf0}, false},                   // mov eax, [rbx + rsi * 4 - 16]
        {{0x67, 0x8b, 0x03}, false},                         // mov eax, [ebx]
        {{0x88, 0x03}, true},                                // mov [rbx], al
        {{0x66, 0x89, 0x0b}, true},                          // mov [rbx], cx
        {{0x89, 0x0b}, true},                                // mov [rbx], ecx
        {{0x48, 0x89, 0x0b}, true},                          // mov [rbx], rcx
        {{0xc6, 0x03, 0x5a}, true},                          // mov byte [rbx], 5ah
        {{0xc7, 0x03, 0x78, 0x56, 0x34, 0xf2}, true},        // mov dword [rbx], 0f2345678h
        {{0x48, 0xc7, 0x03, 0x78, 0x56, 0x34, 0xf2}, true}}; // mov qword [rbx], 0fffffffff2345678h
    for (const unsigned bits : {32u, 64u})
        for (const auto& [bytes, write] : moves) {
            if (bits == 32 && (bytes[0] == 0x67 || (bytes[0] & 0xf0) == 0x40))
                continue; // another instruction there
            CAPTURE(bits, bytes);
            Polling short_way, long_way;
            short_way.prepare(bits);
            long_way.prepare(bits);
            REQUIRE(short_way.learnt(bytes, write)); // its page is as before
            CHECK(short_way.quick(bytes, write));
            CHECK_FALSE(long_way.quick(bytes, write));
            CHECK(std::ranges::equal(short_way.page.gpr, long_way.page.gpr));
            CHECK(short_way.page.rip == long_way.page.rip);
            CHECK(short_way.page.rflags == long_way.page.rflags);
            CHECK(short_way.page.dirty == long_way.page.dirty);
            CHECK(short_way.page.event.valid == 0);
            CHECK(short_way.device.bytes == long_way.device.bytes);
            CHECK(short_way.device.touches == long_way.device.touches);
        }
}

TEST_CASE("An instruction that was rewritten is decoded again", "[emulator]") {
    Polling pc;
    pc.prepare(64);
    REQUIRE(pc.learnt(load_eax, false));
    CHECK_FALSE(pc.quick({0x8b, 0x0b}, false)); // into ECX
    CHECK(pc.page.gpr[abi::rcx] == pc.device_value<std::uint32_t>(0x40));
    CHECK(pc.page.gpr[abi::rax] == 0x1122334455667788);
}

TEST_CASE("Changes to the guest's page tables are seen", "[emulator]") {
    Polling pc;
    pc.prepare(64);
    REQUIRE(pc.learnt(load_eax, false));
    const auto state = pc.page;

    SECTION("another page of code") {
        const std::uint64_t elsewhere = 0x9000;
        pc.poke(elsewhere + (Pc::code & 0xfff), {0x8b, 0x0b, 0x90});
        pc.map(Pc::code, elsewhere);
        CHECK_FALSE(pc.quick(load_eax, false));
        CHECK(pc.page.gpr[abi::rcx] == pc.device_value<std::uint32_t>(0x40));
    }
    SECTION("no code at all") {
        pc.map(Pc::code, Pc::code, 6);
        CHECK_FALSE(pc.quick(load_eax, false));
        CHECK(pc.raised(14, 16));
    }
    SECTION("one level higher") {
        pc.set_entry(pc.entry_address(Pc::code, 3), 0);
        CHECK_FALSE(pc.quick(load_eax, false));
        CHECK(pc.raised(14, 16));
    }
    SECTION("an accessed bit that the guest has cleared is set again") {
        const auto at = pc.entry_address(Pc::code);
        pc.set_entry(at, pc.entry(at) & ~0x20ull);
        CHECK_FALSE(pc.quick(load_eax, false));
        CHECK((pc.entry(at) & 0x20) != 0);
        pc.page = state;
        CHECK(pc.quick(load_eax, false));
    }
    SECTION("other tables") {
        pc.page.cr3 = 0x1f0000; // nothing is mapped there
        CHECK_FALSE(pc.quick(load_eax, false));
        CHECK(pc.raised(14, 16));
    }
}

TEST_CASE("What else a move rests on is looked at each time", "[emulator]") {
    Polling pc;
    pc.prepare(32);
    REQUIRE(pc.learnt(load_eax, false));

    SECTION("the memory map") {
        ++pc.generation;
        CHECK_FALSE(pc.quick(load_eax, false));
        CHECK(pc.last == Outcome::Done);
    }
    SECTION("the segment's limit") {
        pc.page.segment[abi::seg_ds].limit = 0xfff;
        CHECK_FALSE(pc.quick(load_eax, false));
        CHECK(pc.raised(13, 0));
    }
    SECTION("the segment's rights") {
        pc.page.segment[abi::seg_ds].attributes = 0; // a null selector
        CHECK_FALSE(pc.quick(load_eax, false));
        CHECK(pc.raised(13, 0));
    }
    SECTION("the segment's base") {
        pc.page.segment[abi::seg_ds].base = 0x1000;
        CHECK_FALSE(pc.quick(load_eax, false, Pc::device_gpa + 0x1040)); // another page, not looked at yet
        CHECK(pc.last == Outcome::Done);
        CHECK(pc.device.touches == std::vector<Scratch::Touch>{{false, 0x1040, 4}});
    }
    SECTION("the code segment") {
        pc.page.segment[abi::seg_cs].attributes &= static_cast<std::uint16_t>(~Pc::big); // 16-bit code
        pc.page.gpr[abi::rbx] = 0;
        pc.page.gpr[abi::rsi] = 0;
        (void)pc.quick(load_eax, false);
        CHECK(pc.page.gpr[abi::rax] != pc.device_value<std::uint32_t>(0x40));
    }
    SECTION("the privilege level") {
        pc.user(true);
        CHECK_FALSE(pc.quick(load_eax, false));
    }
    SECTION("single steps") {
        pc.page.rflags |= tf;
        CHECK_FALSE(pc.quick(load_eax, false));
        CHECK(pc.page.event.valid == 1);
        CHECK(pc.page.event.vector == 1);
    }
    SECTION("alignment checks") {
        pc.page.rflags |= ac;
        CHECK_FALSE(pc.quick(load_eax, false));
    }
    SECTION("the exit's address: it is another operand's") {
        pc.page.gpr[abi::rbx] += 8;
        CHECK_FALSE(pc.quick(load_eax, false));
        CHECK(pc.device.touches == std::vector<Scratch::Touch>{{false, 0x48, 4}});
    }
    SECTION("the exit's direction") {
        CHECK_FALSE(pc.quick(load_eax, true));
    }
    SECTION("the end of the page") {
        pc.page.gpr[abi::rbx] = Pc::device_gpa + 0xffe;
        CHECK_FALSE(pc.quick(load_eax, false, Pc::device_gpa + 0xffe));
        CHECK(pc.last == Outcome::Done);
        std::size_t bytes = 0;
        for (const auto& touch : pc.device.touches)
            bytes += touch.size;
        CHECK(bytes == 4);
    }
}

TEST_CASE("Code at the end of a page, in ROM or memory that is a device's keeps going the long way",
          "[emulator]") {
    Polling pc;
    pc.prepare(32);
    SECTION("other instructions") {
        CHECK_FALSE(pc.learnt({0x03, 0x03}, false));       // add eax, [ebx]
        CHECK_FALSE(pc.learnt({0x8a, 0x23}, false));       // mov ah, [ebx]
        CHECK_FALSE(pc.learnt({0x87, 0x03}, true));        // xchg
        CHECK_FALSE(pc.learnt({0x0f, 0x10, 0x03}, false)); // movups: four registers' worth
    }
    SECTION("the operand is memory: a write to ROM") {
        pc.page.gpr[abi::rbx] = PcMemory::rom;
        CHECK_FALSE(pc.learnt(store_eax, true, PcMemory::rom));
    }
    SECTION("at the end of a page") {
        pc.poke(0x8ffe, {0x8b, 0x03});
        for (int i = 0; i < 2; ++i) {
            pc.memory_exit(Pc::device_gpa + 0x40, false);
            pc.page.rip = 0x8ffe;
            CHECK_FALSE(pc.emulator.emulate_quickly(pc.page));
            CHECK(pc.emulator.emulate(pc.page).outcome == Outcome::Done);
        }
    }
    SECTION("an event whose delivery exited") {
        REQUIRE(pc.learnt(load_eax, false));
        pc.memory_exit(Pc::device_gpa + 0x40, false);
        pc.put(load_eax);
        pc.page.event = {.valid = 1,
                         .type = abi::EventType::Exception,
                         .vector = 14,
                         .has_error_code = 0,
                         .error_code = 0};
        CHECK_FALSE(pc.emulator.emulate_quickly(pc.page));
    }
}
