// SPDX-License-Identifier: GPL-2.0-or-later
// What VM entry loads and VM exit saves, what of the host comes back, and what is shared: registers,
// segments, control and debug registers, FPU, SSE and AVX, time.
#include "test/nested/framework/interrupts.hpp"
#include "test/nested/guests/registers_code.hpp"
#include "test/nested/vmx/guest.hpp"

namespace escalus::nested::vmx {

namespace {

constexpr Group group{"vmx-world-switch", "registers of guest and host, both ways", vendor};

GUEST_CODE(do_nothing, 64, "nop");
GUEST_CODE(leave, 64, "vmcall");

struct Register {
    NumberedName name;
    unsigned number;
};
template <unsigned count>
struct Registers {
    Register rows[count]{};
    constexpr explicit Registers(const char* stem) {
        for (unsigned i = 0; i < count; ++i)
            rows[i] = {{stem, i}, i};
    }
};
constexpr Registers<16> general{"r"};
constexpr const auto& general_registers = general.rows;

// General registers are software's to switch (vmm/vmx/world_switch.S): what is given arrives, and comes back.
FAMILY(group, "general-", general_registers, "SDM 3C, 24.4.1, 26.3.2.3: only RSP has a field") {
    // NOT of the register: REX.W F7 /2.
    const unsigned number = row.number;
    if (number == abi::rsp) {
        Guest guest(assemble({0x48, 0x83, 0xec, 0x10})); // sub $16, %rsp
        const auto before = read(Field::GuestRsp);
        guest.run_to_end();
        EXPECT_EQ(read(Field::GuestRsp), before - 16);
        return;
    }
    Guest guest(assemble({0x48 | number >> 3, 0xf7, 0xd0 | (number & 7)}));
    for (unsigned i = 0; i < 16; ++i)
        guest.gprs.r[i] = 0x0101'0101'0101'0101ull * (i + 1);
    guest.run_to_end();
    for (unsigned i = 0; i < 16; ++i)
        if (i != abi::rsp)
            EXPECT_EQ(guest.gprs.r[i], (i == number ? ~0ull : 0) ^ 0x0101'0101'0101'0101ull * (i + 1));
}

/// Segments: what is in the fields is saved again, and the host's are its own.
struct Segment {
    const char* name;
    unsigned index;
};
constexpr Segment segments[] = {{"es", 0}, {"cs", 1}, {"ss", 2},   {"ds", 3},
                                {"fs", 4}, {"gs", 5}, {"ldtr", 6}, {"tr", 7}};
FAMILY(group, "segment-", segments, "SDM 3C, 26.3.2.2, 27.3.2") {
    Guest guest(leave);
    const Field selector = nth(Field::GuestEs, row.index), base = nth(Field::GuestEsBase, row.index),
                limit = nth(Field::GuestEsLimit, row.index), access = nth(Field::GuestEsRights, row.index);
    if (row.index != 1 && row.index != 2)
        write(selector, 0x1230);
    if (row.index == 4 || row.index == 5)
        write(base, 0x1234'5678'9000);
    const std::uint64_t before[] = {read(selector), read(base), read(limit), read(access)};
    REQUIRE_EQ(guest.run(), ExitReason::Vmcall);
    EXPECT_EQ(read(selector), before[0]);
    EXPECT_EQ(read(base), before[1]);
    EXPECT_EQ(read(limit), before[2]);
    EXPECT_EQ(read(access), before[3]);
}
FAMILY(group, "unusable-", segments, "SDM 3C, 26.3.2.2, 27.3.2: stays unusable") {
    if (row.index == 1 || row.index == 7)
        skip("CS and TR are always usable");
    Guest guest(leave);
    write(nth(Field::GuestEsRights, row.index), rights::unusable);
    REQUIRE_EQ(guest.run(), ExitReason::Vmcall);
    EXPECT((read(nth(Field::GuestEsRights, row.index)) & rights::unusable) != 0);
}
CHECK(group, "guest-sees-its-segment-bases", "SDM 3C, 26.3.2.2") {
    Guest guest([] { asm volatile("mov %%gs:0x10, %%rax; vmcall" ::: "rax"); });
    write(nth(Field::GuestEsBase, 5), reinterpret_cast<std::uint64_t>(guest_memory.data));
    *reinterpret_cast<std::uint64_t*>(guest_memory.data + 16) = 0x1122'3344'5566'7788;
    REQUIRE_EQ(guest.run(), ExitReason::Vmcall);
    EXPECT_EQ(guest.r(abi::rax), 0x1122'3344'5566'7788);
}
struct [[gnu::packed]] TablePointer {
    std::uint16_t limit;
    std::uint64_t base;
};
CHECK(group, "host-descriptor-tables", "SDM 3C, 27.5.2: bases from the fields, limits FFFFh") {
    Guest guest(do_nothing);
    TablePointer gdt{}, idt{};
    const auto gdt_base = read(Field::HostGdtrBase), idt_base = read(Field::HostIdtrBase);
    guest.run_to_end();
    asm volatile("sgdt %0; sidt %1" : "=m"(gdt), "=m"(idt));
    EXPECT_EQ(gdt.base, gdt_base);
    EXPECT_EQ(idt.base, idt_base);
    EXPECT_EQ(gdt.limit, 0xffff);
    EXPECT_EQ(idt.limit, 0xffff);
}
GUEST_CODE(load_tables, 64, "lgdt (%rdi); lidt 16(%rdi)");
CHECK(group, "guest-descriptor-tables", "SDM 3C, 27.3.2") {
    Guest guest(load_tables);
    const TablePointer gdt{0x1ff, 0xffff'8000'0000'1000}, idt{0xfff, 0x1234'5000};
    __builtin_memcpy(guest_memory.data, &gdt, sizeof gdt);
    __builtin_memcpy(guest_memory.data + 16, &idt, sizeof idt);
    guest.set(abi::rdi, reinterpret_cast<std::uint64_t>(guest_memory.data));
    guest.run_to_end();
    EXPECT_EQ(read(Field::GuestGdtrBase), gdt.base);
    EXPECT_EQ(read(Field::GuestGdtrLimit), gdt.limit);
    EXPECT_EQ(read(Field::GuestIdtrBase), idt.base);
    EXPECT_EQ(read(Field::GuestIdtrLimit), idt.limit);
}
CHECK(group, "host-task-register", "SDM 3C, 27.5.2") {
    Guest guest(do_nothing);
    guest.run_to_end();
    std::uint16_t selector = 0, local = 1;
    asm volatile("str %0; sldt %1" : "=r"(selector), "=r"(local));
    EXPECT_EQ(selector, read(Field::HostTr));
    EXPECT_EQ(local, 0);
}

// Control registers.

// AM
// TSD
CHECK(group, "cr0", "SDM 3C, 27.3.1, 27.5.1") {
    Guest guest(change_cr0);
    const auto host = vmm::read_cr0();
    guest.run_to_end();
    EXPECT((read(Field::GuestCr0) & cr0::am) != 0);
    EXPECT_EQ(vmm::read_cr0(), host);
}
CHECK(group, "cr4", "SDM 3C, 27.3.1, 27.5.1") {
    Guest guest(change_cr4);
    const auto host = vmm::read_cr4();
    guest.run_to_end();
    EXPECT((read(Field::GuestCr4) & 4) != 0);
    EXPECT_EQ(vmm::read_cr4(), host);
}
CHECK(group, "cr3", "SDM 3C, 27.5.1") {
    Guest guest(do_nothing);
    const auto host = vmm::read_cr3();
    guest.run_to_end();
    EXPECT(read(Field::GuestCr3) != host);
    EXPECT_EQ(vmm::read_cr3(), host);
}
CHECK(group, "cr2-is-shared", "SDM 3C, 24.4.1: no field has CR2") {
    Guest guest(read_cr2);
    vmm::write_cr2(0x1234'5678'9abc);
    guest.run_to_end();
    EXPECT_EQ(guest.r(abi::rcx), 0x1234'5678'9abc);
}
CHECK(group, "cr2-of-the-guest-stays", "SDM 3C, 27.5.1") {
    Guest guest(change_cr2);
    guest.set(abi::rcx, 0xcba9'8765'4321);
    guest.run_to_end();
    EXPECT_EQ(vmm::read_cr2(), 0xcba9'8765'4321);
}
CHECK(group, "cr0-fixed-bits-are-not-loaded", "SDM 3C, 26.3.2.1: ET is always 1; CD and NW are not changed") {
    Guest guest(leave);
    const auto host = vmm::read_cr0() & (cr0::cd | cr0::nw);
    write(Field::GuestCr0, (read(Field::GuestCr0) & ~cr0::et) | cr0::cd);
    REQUIRE_EQ(guest.run(), ExitReason::Vmcall);
    EXPECT_EQ(vmm::read_cr0() & (cr0::cd | cr0::nw), host);
}
CHECK(group, "rflags-of-the-guest", "SDM 3C, 26.3.2.3, 27.3.3") {
    Guest guest(leave);
    write(Field::GuestRflags, rflags::fixed | 0x8d5);
    REQUIRE_EQ(guest.run(), ExitReason::Vmcall);
    EXPECT_EQ(read(Field::GuestRflags), rflags::fixed | 0x8d5);
}
CHECK(group, "rflags-of-the-host", "SDM 3C, 27.5.3: all but bit 1 are cleared") {
    Guest guest([] { asm volatile("std; stc"); });
    guest.run_to_end();
    EXPECT((read(Field::GuestRflags) & 0x401) == 0x401);
    std::uint64_t flags = 0;
    asm volatile("pushf; pop %0" : "=r"(flags));
    EXPECT_EQ(flags & 0x400, 0);
}
CHECK(group, "trap-flag-after-the-first-instruction", "SDM 3C, 26.3.2.3") {
    Guest guest(leave);
    set_bits(Field::GuestRflags, rflags::tf);
    REQUIRE_EQ(guest.run(), ExitReason::Vmcall); // VMCALL exits before the trap
    EXPECT((read(Field::GuestRflags) & rflags::tf) != 0);
}

// Debug registers.

std::uint64_t host_dr7() {
    std::uint64_t value = 0;
    asm volatile("mov %%dr7, %0" : "=r"(value));
    return value;
}
[[gnu::noinline]] void break_here() {
    asm volatile("nop");
}
CHECK(group, "dr0-to-dr3-are-shared", "SDM 3C, 24.4.1: only DR7 has a field") {
    Guest guest([] { asm volatile("mov %%dr1, %%rcx; mov %%rcx, %%dr2" ::: "rcx"); });
    vmm::write_dr1(0x5150);
    guest.run_to_end();
    EXPECT_EQ(vmm::read_dr2(), 0x5150);
}
CHECK(group, "host-dr7", "SDM 3C, 27.5.1: 400h") {
    Guest guest(do_nothing);
    asm volatile("mov %0, %%dr7" ::"r"(0x500ull));
    guest.run_to_end();
    EXPECT_EQ(host_dr7(), 0x400);
}
CHECK(group, "guest-breakpoints-do-not-stay", "SDM 3C, 27.5.1") {
    Guest guest(do_nothing);
    vmm::write_dr0(reinterpret_cast<std::uint64_t>(&break_here));
    write(Field::GuestDr7, 0x402);
    guest.run_to_end();
    EXPECT_EQ(host_dr7(), 0x400);
    EXPECT_EQ(fault_of([] { break_here(); }), no_fault);
}
CHECK(group, "host-breakpoints-do-not-reach-the-guest", "SDM 3C, 26.3.2.1: DR7 is loaded") {
    Guest guest(&break_here);
    vmm::write_dr0(reinterpret_cast<std::uint64_t>(&break_here));
    asm volatile("mov %0, %%dr7" ::"r"(0x402ull));
    guest.run_to_end();
}
GUEST_CODE(set_dr7, 64, "mov %rcx, %dr7");
CHECK(group, "dr7-is-saved", "SDM 3C, 27.3.1: save debug controls") {
    Guest guest(set_dr7);
    guest.set(abi::rcx, 0x702);
    guest.run_to_end();
    EXPECT_EQ(read(Field::GuestDr7), 0x702);
}
CHECK(group, "dr7-is-not-saved", "SDM 3C, 27.3.1: without the control") {
    if ((capabilities.exit & exit_control::save_debug) != 0)
        skip("it is always saved");
    Guest guest(set_dr7);
    clear_bits(Field::ExitControls, exit_control::save_debug);
    guest.set(abi::rcx, 0x702);
    guest.run_to_end();
    EXPECT_EQ(read(Field::GuestDr7), 0x400);
}

// Not switched by the hardware, so shared; and root mode's values are whole.

CHECK(group, "sse-is-shared", "SDM 3C, 24.4.1: no field has FPU state") {
    Guest guest([] { asm volatile("movq %%xmm5, %%rax; not %%rax; movq %%rax, %%xmm6" ::: "rax"); });
    const std::uint64_t pattern = 0x0123'4567'89ab'cdef;
    std::uint64_t seen = 0, kept = 0;
    asm volatile("movq %0, %%xmm5" ::"r"(pattern));
    guest.run_to_end();
    asm volatile("movq %%xmm6, %0; movq %%xmm5, %1" : "=r"(seen), "=r"(kept));
    EXPECT_EQ(seen, ~pattern);
    EXPECT_EQ(kept, pattern);
}
CHECK(group, "x87-is-shared", "SDM 3C, 24.4.1: no field has FPU state") {
    Guest guest([] { asm volatile("fld1; faddp"); });
    const std::uint32_t two = 2;
    std::uint32_t result = 0;
    asm volatile("fninit; fildl %0" ::"m"(two));
    guest.run_to_end();
    asm volatile("fistpl %0; fninit" : "=m"(result));
    EXPECT_EQ(result, 3);
}
bool has_avx() {
    const auto words = vmm::cpuid(1).ecx;
    return (words >> 26 & 1) != 0 && (words >> 28 & 1) != 0 && (vmm::cpuid(0xd).eax & 4) != 0;
}
CHECK(group, "avx-is-shared", "SDM 3C, 24.4.1: no field has FPU state") {
    if (!has_avx())
        skip("no AVX");
    Guest guest([] { asm volatile("vpermilpd $5, %ymm1, %ymm2"); }); // swaps the halves of each 128 bits
    set_bits(Field::GuestCr4, cr4::osxsave);
    alignas(32) static const std::uint64_t pattern[4] = {1, 2, 3, 4};
    alignas(32) static std::uint64_t result[4];
    vmm::write_cr4(vmm::read_cr4() | cr4::osxsave);
    write(Field::HostCr4, vmm::read_cr4());
    const auto xcr0 = vmm::read_xcr0();
    vmm::write_xcr0(7);
    asm volatile("vmovdqa %0, %%ymm1" ::"m"(pattern));
    const Outcome outcome = guarded([&] { guest.run(); });
    asm volatile("vmovdqa %%ymm2, %0; vzeroupper" : "=m"(result));
    vmm::write_xcr0(xcr0);
    EXPECT(outcome == Outcome::Returned && guest.at_end());
    EXPECT_EQ(result[0], 2);
    EXPECT_EQ(result[1], 1);
    EXPECT_EQ(result[2], 4);
    EXPECT_EQ(result[3], 3);
}

// Time.

struct Clock {
    const char* name;
    Code code;
    std::uint64_t offset;
    bool used;
};
constexpr Clock clocks[] = {{"rdtsc-ahead", read_tsc, 1ull << 40, true},
                            {"rdtsc-behind", read_tsc, 0 - (1ull << 30), true},
                            {"rdtsc-none", read_tsc, 0, true},
                            {"rdtsc-not-used", read_tsc, 1ull << 40, false},
                            {"rdmsr-ahead", read_tsc_msr, 1ull << 40, true},
                            {"rdmsr-not-used", read_tsc_msr, 1ull << 40, false},
                            {"rdtscp-ahead", read_tscp, 1ull << 40, true}};
FAMILY(group, "tsc-offset-", clocks, "SDM 3C, 24.6.5, 25.3: RDTSC, RDTSCP and RDMSR of the TSC") {
    if (row.code.start == read_tscp.start &&
        (!has_secondary(secondary::rdtscp) || (vmm::cpuid(0x80000001).edx & 1 << 27) == 0))
        skip("no RDTSCP");
    Guest guest(row.code);
    if (row.used)
        need_primary(primary::tsc_offsetting);
    write(Field::TscOffset, row.offset);
    const auto offset = row.used ? row.offset : 0;
    const auto before = vmm::read_tsc();
    guest.run_to_end();
    const auto after = vmm::read_tsc();
    EXPECT(guest.r(abi::rax) - offset >= before);
    EXPECT(guest.r(abi::rax) - offset <= after);
}
CHECK(group, "many-runs", "SDM 3C, 26, 27") {
    Guest guest([] {
        for (std::uint64_t i = 0; i < 200; ++i)
            asm volatile("mov %0, %%rax; vmcall" ::"r"(i) : "rax");
    });
    for (std::uint64_t i = 0; i < 200; ++i) {
        REQUIRE_EQ(guest.run(), ExitReason::Vmcall);
        REQUIRE_EQ(guest.r(abi::rax), i);
        Guest::skip();
    }
    guest.run_to_end();
}

} // namespace

} // namespace escalus::nested::vmx
