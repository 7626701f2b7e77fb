// SPDX-License-Identifier: GPL-2.0-or-later
// Hand-written cases: address forms and sizes of each mode, and instructions that guests are known to use on
// device memory.
#include "devmodel/emulator/emulator.hpp"
#include "fixture.hpp"

#include <catch2/catch.hpp>

namespace escalus::test {

namespace {
using namespace emulation;

struct ModePc : Pc {
    enum Start { Real, Protected16, Protected32, Compatibility, Long };
    explicit ModePc(Start start) {
        switch (start) {
        case Real:
            page.segment[abi::seg_ds].base = device_gpa;
            page.segment[abi::seg_ss].base = device_gpa + 0x8000;
            break;
        case Protected16:
            protected_mode(16);
            page.segment[abi::seg_ds].base = device_gpa;
            break;
        case Protected32:
            protected_mode(32);
            break;
        case Compatibility:
            long_mode();
            page.segment[abi::seg_cs].attributes = code_rights | big;
            map(code, code);
            map(0xa0000, device_gpa);
            break;
        case Long:
            long_mode();
            map(code, code);
            map(0xa0000, device_gpa);
            break;
        }
        if (start == Protected32 || start == Compatibility || start == Long)
            page.gpr[abi::rbx] = device_gpa;
    }
    std::uint64_t& reg(unsigned index) { return page.gpr[index]; }
    bool done(std::initializer_list<std::uint8_t> bytes) {
        const auto result = run(bytes);
        INFO(result.text);
        return result.outcome == Outcome::Done && page.rip == code + bytes.size();
    }
};
} // namespace

TEST_CASE("16-bit address forms", "[emulator][modes]") {
    for (auto mode : {ModePc::Real, ModePc::Protected16}) {
        ModePc pc{mode};
        pc.page.segment[abi::seg_ss].base = Pc::device_gpa + 0x8000;
        pc.reg(abi::rbx) = 0x1230100;
        pc.reg(abi::rsi) = 0x20;
        pc.reg(abi::rdi) = 0xfff0;
        pc.reg(abi::rbp) = 0x40;
        pc.reg(abi::rax) = 0x1111'2222'3333'4444;
        CHECK(pc.done({0x89, 0x40, 0x02})); // mov [bx+si+2], ax
        CHECK(pc.device_value<std::uint32_t>(0x122) == 0x4444);
        CHECK(pc.done({0x66, 0x89, 0x01})); // mov [bx+di], eax: wraps
        CHECK(pc.device_value<std::uint32_t>(0xf0) == 0x33334444);
        CHECK(pc.done({0x88, 0x62, 0xff})); // mov [bp+si-1], ah: through SS
        CHECK(pc.device_value<std::uint8_t>(0x805f) == 0x44);
        CHECK(pc.done({0xa1, 0x22, 0x01})); // mov ax, [0x122]
        CHECK(pc.reg(abi::rax) == 0x1111'2222'3333'4444);
        pc.set_device<std::uint16_t>(0x122, 0x9876);
        CHECK(pc.done({0xa1, 0x22, 0x01}));
        CHECK(pc.reg(abi::rax) == 0x1111'2222'3333'9876);
        CHECK(pc.done({0x89, 0x06, 0x00, 0x20})); // mov [0x2000], ax
        CHECK(pc.device_value<std::uint16_t>(0x2000) == 0x9876);
        pc.page.segment[abi::seg_es].base = Pc::device_gpa + 0x3000;
        CHECK(pc.done({0x26, 0x89, 0x06, 0x00, 0x01})); // mov es:[0x100], ax
        CHECK(pc.device_value<std::uint16_t>(0x3100) == 0x9876);
    }
}

TEST_CASE("real mode with big segments", "[emulator][modes]") {
    ModePc pc{ModePc::Real};
    Scratch apic{0x1000};
    pc.memory_bus.add(0xfee00000, 0x1000, apic, 0);
    pc.page.segment[abi::seg_ds] = {
        .selector = 0, .attributes = Pc::data_rights, .limit = 0xffffffff, .base = 0};
    pc.reg(abi::rbx) = 0xfee00000;
    pc.reg(abi::rax) = 0x100;
    CHECK(pc.done({0x67, 0x66, 0x89, 0x83, 0xf0, 0, 0, 0})); // mov [ebx+0xf0], eax
    CHECK(apic.bytes[0xf1] == 1);
    pc.page.segment[abi::seg_ds].limit = 0xffff;
    CHECK(pc.run({0x67, 0x66, 0x89, 0x83, 0xf0, 0, 0, 0}).outcome == Outcome::Fault);
    CHECK(pc.raised(vector::gp));
}

TEST_CASE("segment loads from device memory in real mode", "[emulator][modes]") {
    ModePc pc{ModePc::Real};
    pc.set_device<std::uint32_t>(0x10, 0x1234'5678);
    pc.reg(abi::rbx) = 0x10;
    CHECK(pc.done({0xc4, 0x0f})); // les cx, [bx]
    CHECK(pc.reg(abi::rcx) == 0x5678);
    CHECK(pc.page.segment[abi::seg_es].selector == 0x1234);
    CHECK(pc.page.segment[abi::seg_es].base == 0x12340);
    CHECK(pc.page.segment[abi::seg_es].limit == 0xffff);
    CHECK((pc.page.dirty & abi::group_segments) != 0);
    CHECK(pc.done({0x8e, 0x27})); // mov fs, [bx]
    CHECK(pc.page.segment[abi::seg_fs].base == 0x56780);
    CHECK(pc.done({0x0f, 0xb5, 0x17})); // lgs dx, [bx]
    CHECK(pc.page.segment[abi::seg_gs].selector == 0x1234);
    CHECK(pc.page.interrupt_shadow == 0);
    CHECK(pc.done({0x8e, 0x17})); // mov ss, [bx]
    CHECK(pc.page.interrupt_shadow == 1);
    CHECK(pc.done({0x8c, 0x17})); // mov [bx], ss
    CHECK(pc.device_value<std::uint16_t>(0x10) == 0x5678);
    ModePc other{ModePc::Protected32};
    CHECK(other.run({0x8e, 0x23}).outcome == Outcome::Unsupported);
}

TEST_CASE("virtual 8086 mode has real mode's segments at CPL 3", "[emulator][modes]") {
    ModePc pc{ModePc::Real};
    pc.page.cr0 |= control::cr0_pe;
    pc.page.rflags |= flag::vm;
    pc.reg(abi::rax) = 0xabcd;
    CHECK(pc.done({0xa3, 0x20, 0x00})); // mov [0x20], ax
    CHECK(pc.device_value<std::uint16_t>(0x20) == 0xabcd);
    CHECK(pc.run({0x9c}).outcome == Outcome::Fault); // pushf needs IOPL 3
    CHECK(pc.raised(vector::gp, 0));
    pc.page.rflags |= flag::iopl;
    pc.reg(abi::rsp) = 0x100;
    CHECK(pc.done({0x9c}));
    CHECK((pc.device_value<std::uint16_t>(0x80fe) & flag::iopl) != 0);
}

TEST_CASE("operand and address sizes of 32-bit code", "[emulator][modes]") {
    for (auto mode : {ModePc::Protected32, ModePc::Compatibility}) {
        ModePc pc{mode};
        pc.reg(abi::rax) = 0x12345678;
        CHECK(pc.done({0x89, 0x03}));
        CHECK(pc.done({0x66, 0x89, 0x43, 0x04}));
        CHECK(pc.device_value<std::uint64_t>(0) == 0x0000'5678'1234'5678);
        CHECK(pc.done({0x88, 0x63, 0x06})); // mov [ebx+6], ah
        CHECK(pc.device_value<std::uint8_t>(6) == 0x56);
        CHECK(pc.done({0xa1, 0x04, 0x00, 0x0a, 0x00})); // mov eax, [0xa0004]
        CHECK(pc.reg(abi::rax) == 0x00565678);
        pc.reg(abi::rsi) = 0x40;
        CHECK(pc.done({0x8b, 0x04, 0xb5, 0x00, 0xff, 0x09, 0x00})); // mov eax, [esi*4+0x9ff00]
        CHECK(pc.reg(abi::rax) == 0x12345678);
        CHECK(pc.done({0x40}) == true); // inc eax, not REX
        CHECK(pc.reg(abi::rax) == 0x12345679);
    }
}

TEST_CASE("64-bit code: RIP-relative, FS base, 32-bit addresses, moffs", "[emulator][modes]") {
    ModePc pc{ModePc::Long};
    pc.set_device<std::uint64_t>(0x100, 0x8877665544332211);
    pc.reg(abi::rax) = ~0ull;
    CHECK(pc.done({0x8b, 0x05, 0xfa, 0x84, 0x09, 0x00}));          // mov eax, [rip+0x984fa]
    CHECK(pc.reg(abi::rax) == 0x44332211);                         // zero-extended
    CHECK(pc.done({0x48, 0xa1, 0x00, 0x01, 0x0a, 0, 0, 0, 0, 0})); // mov rax, [moffs64]
    CHECK(pc.reg(abi::rax) == 0x8877665544332211);
    pc.page.segment[abi::seg_fs].base = 0x98000;
    pc.page.segment[abi::seg_ds].base = 0x5000; // ignored
    pc.reg(abi::rbx) = 0x8100;
    CHECK(pc.done({0x64, 0x8b, 0x0b})); // mov ecx, fs:[rbx]
    CHECK(pc.reg(abi::rcx) == 0x44332211);
    pc.reg(abi::rbx) = 0xffffffff000a0100;
    CHECK(pc.done({0x67, 0x8b, 0x13})); // mov edx, [ebx]
    CHECK(pc.reg(abi::rdx) == 0x44332211);
    pc.reg(abi::r13) = 0xa0100;
    CHECK(pc.done({0x45, 0x8a, 0x65, 0x01})); // mov r12b, [r13+1]
    CHECK(pc.reg(abi::r12) == 0x22);
}

TEST_CASE("instructions that guests used on device memory and hypervisors did not know",
          "[emulator][modes]") {
    ModePc pc{ModePc::Long};
    pc.set_device<std::uint32_t>(0, 0x80000010);
    CHECK(pc.done({0xf7, 0x03, 0x00, 0x00, 0x00, 0x80})); // OpenBSD: test dword [rbx], imm32
    CHECK((pc.page.rflags & (flag::zf | flag::sf)) == flag::sf);
    CHECK(pc.done({0xf6, 0x03, 0x10})); // test byte [rbx], imm8
    CHECK((pc.page.rflags & flag::zf) == 0);
    CHECK(pc.done({0x85, 0x03}));         // test [rbx], eax
    CHECK(pc.device.touches.size() == 1); // a read, no write
    CHECK(pc.done({0x83, 0x0b, 0x01}));   // Solaris: or dword [rbx], imm8
    CHECK(pc.done({0x83, 0x23, 0xef}));   // and dword [rbx], imm8
    CHECK(pc.device_value<std::uint32_t>(0) == 0x80000001);
    CHECK(pc.done({0x0f, 0xae, 0x3b})); // FreeBSD: clflush [rbx]
    CHECK(pc.device.touches.empty());
    CHECK(pc.done({0x66, 0x0f, 0xae, 0x3b})); // clflushopt
    CHECK(pc.done({0x66, 0x0f, 0xae, 0x33})); // clwb
    CHECK(pc.done({0x0f, 0x18, 0x03}));       // prefetchnta
    CHECK(pc.done({0x0f, 0x0d, 0x0b}));       // prefetchw
    CHECK(pc.done({0x0f, 0x1f, 0x03}));       // nop [rbx]
    CHECK(pc.device.touches.empty());
    pc.reg(abi::rax) = 0x22;
    CHECK(pc.done({0x87, 0x03})); // Windows: xchg [rbx], eax
    CHECK(pc.reg(abi::rax) == 0x80000001);
    CHECK(pc.device_value<std::uint32_t>(0) == 0x22);
    CHECK(pc.done({0x29, 0x03}));       // sub [rbx], eax
    CHECK(pc.done({0x0f, 0xb7, 0x0b})); // movzx ecx, word [rbx]
    CHECK(pc.reg(abi::rcx) == 0x21);
    pc.reg(abi::rax) = 1;
    CHECK(pc.done({0xd7})); // xlat
    CHECK((pc.reg(abi::rax) & 0xff) == pc.device.bytes[1]);
    CHECK(pc.run({0x0f, 0xae, 0x7b, 0x00}).outcome == Outcome::Done);
    pc.reg(abi::rbx) = 0x200000; // not mapped: CLFLUSH faults as a read
    CHECK(pc.run({0x0f, 0xae, 0x3b}).outcome == Outcome::Fault);
    CHECK(pc.raised(vector::pf, 0));
    CHECK(pc.done({0x0f, 0x18, 0x03})); // prefetch never does
}

TEST_CASE("device accesses have the operand's width, and are aligned chunks across pages",
          "[emulator][modes]") {
    ModePc pc{ModePc::Long};
    CHECK(pc.done({0x48, 0x8b, 0x03}));
    CHECK(pc.device.touches == std::vector<Scratch::Touch>{{false, 0, 8}});
    CHECK(pc.done({0x66, 0x83, 0x03, 0x01}));
    CHECK(pc.device.touches == std::vector<Scratch::Touch>{{false, 0, 2}, {true, 0, 2}});
    CHECK(pc.done({0x8a, 0x43, 0x03}));
    CHECK(pc.device.touches == std::vector<Scratch::Touch>{{false, 3, 1}});
    pc.map(0xa1000, Pc::device_gpa + 0x5000);
    pc.reg(abi::rbx) = 0xa0ffd;
    pc.reg(abi::rax) = 0x44332211;
    CHECK(pc.done({0x89, 0x03}));
    CHECK(pc.device.touches ==
          std::vector<Scratch::Touch>{{true, 0xffd, 2}, {true, 0xfff, 1}, {true, 0x5000, 1}});
    CHECK(pc.device_value<std::uint8_t>(0x5000) == 0x44);
}

TEST_CASE("descriptor tables and the machine status word", "[emulator][modes]") {
    ModePc pc{ModePc::Protected32};
    pc.page.gdtr = {.base = 0x12345678, .limit = 0x7f};
    CHECK(pc.done({0x0f, 0x01, 0x03})); // sgdt [ebx]
    CHECK(pc.device_value<std::uint16_t>(0) == 0x7f);
    CHECK(pc.device_value<std::uint32_t>(2) == 0x12345678);
    CHECK(pc.done({0x0f, 0x01, 0x1b})); // lidt [ebx]
    CHECK(pc.page.idtr.base == 0x12345678);
    CHECK(pc.page.idtr.limit == 0x7f);
    CHECK((pc.page.dirty & abi::group_segments) != 0);
    CHECK(pc.done({0x66, 0x0f, 0x01, 0x13})); // lgdt with 24 bits of base
    CHECK(pc.page.gdtr.base == 0x345678);
    CHECK(pc.done({0x0f, 0x01, 0x23})); // smsw [ebx]
    CHECK(pc.device_value<std::uint16_t>(0) == 0x11);
    pc.set_device<std::uint16_t>(0, 0xfffa);
    CHECK(pc.done({0x0f, 0x01, 0x33})); // lmsw [ebx]
    CHECK(pc.page.cr0 == 0x1b);
    pc.user(true);
    CHECK(pc.run({0x0f, 0x01, 0x1b}).outcome == Outcome::Fault);
    CHECK(pc.raised(vector::gp, 0));

    ModePc wide{ModePc::Long};
    wide.page.idtr = {.base = 0xffff8000'12345678, .limit = 0xfff};
    CHECK(wide.done({0x0f, 0x01, 0x0b})); // sidt
    CHECK(wide.device_value<std::uint64_t>(2) == 0xffff8000'12345678);
    wide.set_device<std::uint64_t>(2, 1ull << 55);
    CHECK(wide.run({0x0f, 0x01, 0x1b}).outcome == Outcome::Fault);
    CHECK(wide.raised(vector::gp, 0));
}

TEST_CASE("code that runs from device memory", "[emulator][modes]") {
    ModePc pc{ModePc::Protected32};
    const std::uint8_t code[] = {0x90, 0xeb, 0x02, 0, 0, 0x74, 0x10};
    std::memcpy(&pc.device.bytes[0x200], code, sizeof code);
    pc.memory_exit(Pc::device_gpa + 0x200, false);
    pc.page.exit.memory.fetch = 1;
    pc.page.rip = Pc::device_gpa + 0x200;
    for (std::uint64_t next : {0x201, 0x205, 0x207}) {
        REQUIRE(pc.emulator.emulate(pc.page).outcome == Outcome::Done);
        CHECK(pc.page.rip == Pc::device_gpa + next);
    }
}

TEST_CASE("locked operations on RAM are done when nothing came between", "[emulator][modes]") {
    ModePc pc{ModePc::Protected32};
    pc.reg(abi::rbx) = 0x30000;
    pc.memory.bytes[0x30000] = 5;
    CHECK(pc.done({0xf0, 0xff, 0x03})); // lock inc dword [ebx]
    CHECK(pc.memory.bytes[0x30000] == 6);
    pc.reg(abi::rbx) = 0x30001; // misaligned
    CHECK(pc.done({0xf0, 0xff, 0x03}));
    CHECK(pc.memory.bytes[0x30001] == 1);
}

} // namespace escalus::test
