// SPDX-License-Identifier: GPL-2.0-or-later
// What VMRUN, #VMEXIT, VMLOAD and VMSAVE switch: registers of the guest arrive, come back, and leave those of
// root mode alone; and what is not switched is shared.
#include "test/nested/framework/interrupts.hpp"
#include "test/nested/guests/registers_code.hpp"
#include "test/nested/svm/guest.hpp"

#include <cstring>

namespace escalus::nested::svm {

namespace {

constexpr Group group{"svm-world-switch", "state is preserved and isolated, in both directions", vendor};

void do_nothing() {}

GUEST_CODE(
    rotate_registers, 64,
    "xchg %rax, %r15; xchg %rcx, %r14; xchg %rdx, %r13; xchg %rbx, %r12; xchg %rbp, %r11; xchg %rsi, %r10;"
    "xchg %rdi, %r9; not %r8");

CHECK(group, "general-registers", "APM 2, 15.5.1, 15.6") {
    Guest guest(rotate_registers);
    constexpr auto pattern = [](unsigned i) { return 0x1111'1111'1111'1111u * i ^ 0xfedc'ba98'7654'3210u; };
    for (unsigned i = 0; i < 16; ++i)
        guest.gprs.r[i] = pattern(i);
    guest.save.rax = pattern(abi::rax);
    guest.run_to_end();
    EXPECT_EQ(guest.save.rax, pattern(abi::r15));
    constexpr abi::GprIndex pairs[][2] = {{abi::rcx, abi::r14}, {abi::rdx, abi::r13}, {abi::rbx, abi::r12},
                                          {abi::rbp, abi::r11}, {abi::rsi, abi::r10}, {abi::rdi, abi::r9}};
    for (const auto& pair : pairs) {
        EXPECT_EQ(guest.r(pair[0]), pattern(pair[1]));
        EXPECT_EQ(guest.r(pair[1]), pattern(pair[0]));
    }
    EXPECT_EQ(guest.r(abi::r8), ~pattern(abi::r8));
    EXPECT_EQ(guest.r(abi::r15), pattern(abi::rax));
}

CHECK(group, "nothing-changes-in-an-empty-run", "APM 2, 15.5.1, 15.6: what is loaded is what is saved") {
    Guest guest(do_nothing);
    guest.control.intercepts2 |= intercept2::vmmcall;
    static const std::uint8_t vmmcall[] = {0x0f, 0x01, 0xd9};
    guest.save.rip = reinterpret_cast<std::uint64_t>(vmmcall);
    const VmcbSave before = guest.save;
    REQUIRE_EQ(guest.run(), ExitCode::Vmmcall);
    EXPECT_EQ(guest.save.rip, before.rip);
    EXPECT_EQ(guest.save.rsp, before.rsp);
    EXPECT_EQ(guest.save.rax, before.rax);
    EXPECT_EQ(guest.save.rflags, before.rflags);
    EXPECT_EQ(guest.save.cr0, before.cr0);
    EXPECT_EQ(guest.save.cr3, before.cr3);
    EXPECT_EQ(guest.save.cr4, before.cr4);
    EXPECT_EQ(guest.save.efer, before.efer);
    EXPECT_EQ(guest.save.dr6, before.dr6);
    EXPECT_EQ(guest.save.dr7, before.dr7);
    EXPECT_EQ(guest.save.cpl, before.cpl);
}

// Segments: selector, attributes, limit and base of each come back as they were.

struct SegmentRow {
    const char* name;
    abi::Segment VmcbSave::*field;
    bool by_vmload;
    std::uint16_t attributes;
};
constexpr SegmentRow segments[] = {
    {"es", &VmcbSave::es, false, attributes::data32},  {"ss", &VmcbSave::ss, false, attributes::data32},
    {"ds", &VmcbSave::ds, false, attributes::data32},  {"fs", &VmcbSave::fs, true, attributes::data32},
    {"gs", &VmcbSave::gs, true, attributes::data32},   {"ldtr", &VmcbSave::ldtr, true, attributes::ldt},
    {"tr", &VmcbSave::tr, true, attributes::busy_tss}, {"cs", &VmcbSave::cs, false, attributes::code32}};

GUEST_CODE(nothing32, 32, "nop");

FAMILY(group, "segment-", segments, "APM 2, 15.5.1, 15.5.2: segment state in the VMCB") {
    Guest guest(Mode::Protected32, nothing32);
    auto& segment = guest.save.*row.field;
    const bool code = row.field == &VmcbSave::cs;
    segment.selector = 0x88;
    segment.attributes = row.attributes;
    segment.limit = code ? 0xffff'ffff : 0x1234'5fff;
    if (!code && row.field != &VmcbSave::ss)
        segment.base = 0x0765'4320;
    const abi::Segment before = segment;
    guest.run_to_end();
    EXPECT_EQ(segment.selector, before.selector);
    EXPECT_EQ(segment.limit, before.limit);
    EXPECT_EQ(segment.base, before.base);
    EXPECT_EQ(segment.attributes & ~3, before.attributes & ~3); // accessed and busy may differ
}

struct TableRow {
    const char* name;
    abi::Segment VmcbSave::*field;
    Code code;
};
GUEST_CODE(store_gdt, 64, "sgdt (%rdi)");
GUEST_CODE(store_idt, 64, "sidt (%rdi)");
constexpr TableRow tables[] = {{"gdtr", &VmcbSave::gdtr, store_gdt}, {"idtr", &VmcbSave::idtr, store_idt}};

FAMILY(group, "table-", tables, "APM 2, 15.5.1") {
    Guest guest(row.code);
    auto& table = guest.save.*row.field;
    table.base = 0x1234'5678'9ab0;
    table.limit = 0x7fff;
    guest.set(abi::rdi, reinterpret_cast<std::uint64_t>(guest_memory.data));
    std::uint8_t host_before[10] = {}, host_after[10] = {};
    asm volatile("sgdt %0" : "=m"(host_before));
    guest.run_to_end();
    asm volatile("sgdt %0" : "=m"(host_after));
    std::uint64_t base = 0;
    std::uint16_t limit = 0;
    std::memcpy(&limit, guest_memory.data, sizeof limit);
    std::memcpy(&base, guest_memory.data + 2, sizeof base);
    EXPECT_EQ(base, 0x1234'5678'9ab0);
    EXPECT_EQ(limit, 0x7fff);
    EXPECT_EQ(table.base, 0x1234'5678'9ab0);
    EXPECT_EQ(table.limit, 0x7fff);
    EXPECT(std::memcmp(host_before, host_after, sizeof host_before) == 0);
}

CHECK(group, "base-is-canonicalized", "APM 2, 15.5.1: VMRUN sign-extends the bases that it loads") {
    const bool has_la57 = vmm::cpuid(0).eax >= 7 && (vmm::cpuid(7).ecx & 1 << 16) != 0;
    const std::uint64_t sign = 1ull << (has_la57 ? 56 : 47);
    Guest guest([] { asm volatile("vmmcall"); });
    guest.save.gdtr.base = sign | 0x1000;
    REQUIRE_EQ(guest.run(), ExitCode::Vmmcall);
    EXPECT_EQ(guest.save.gdtr.base, (0 - sign) | 0x1000);
}

// Control registers.

// AM
// TSD
GUEST_CODE(change_cr3, 64, "mov %cr3, %rax; or $0x8, %rax; mov %rax, %cr3"); // PWT

CHECK(group, "cr0", "APM 2, 15.5.1, 15.6, 15.25.2") {
    Guest guest(change_cr0);
    const auto host = vmm::read_cr0();
    guest.run_to_end();
    EXPECT((guest.save.cr0 & cr0::am) != 0);
    EXPECT_EQ(vmm::read_cr0(), host);
}
CHECK(group, "cr4", "APM 2, 15.5.1, 15.6, 15.25.2") {
    Guest guest(change_cr4);
    const auto host = vmm::read_cr4();
    guest.run_to_end();
    EXPECT((guest.save.cr4 & 4) != 0);
    EXPECT_EQ(vmm::read_cr4(), host);
}
CHECK(group, "cr3", "APM 2, 15.5.1, 15.6, 15.25.4") {
    Guest guest(change_cr3);
    const auto host = vmm::read_cr3();
    const auto before = guest.save.cr3;
    guest.run_to_end();
    EXPECT_EQ(guest.save.cr3, before | 8);
    EXPECT_EQ(vmm::read_cr3(), host);
}
CHECK(group, "cr2-is-loaded", "APM 2, 15.5.1, 15.25.2: CR2 is loaded by VMRUN") {
    Guest guest(read_cr2);
    guest.save.cr2 = 0x1234'5678'9abc;
    guest.run_to_end();
    EXPECT_EQ(guest.r(abi::rcx), 0x1234'5678'9abc);
}
CHECK(group, "cr2-is-saved", "APM 2, 15.6") {
    Guest guest(change_cr2);
    guest.set(abi::rcx, 0xcba9'8765'4321);
    guest.run_to_end();
    EXPECT_EQ(guest.save.cr2, 0xcba9'8765'4321);
}
CHECK(group, "efer-of-the-host", "APM 2, 15.6") {
    Guest guest(Mode::Protected32, nothing32);
    const auto host = vmm::read_msr(msr::efer);
    guest.run_to_end();
    EXPECT_EQ(vmm::read_msr(msr::efer), host);
}
CHECK(group, "rflags-of-the-host", "APM 2, 15.5.1: guest values of EFLAGS have no effect on the host") {
    Guest guest([] { asm volatile("std; stc"); });
    guest.run_to_end();
    EXPECT((guest.save.rflags & 0x401) == 0x401);
    std::uint64_t flags = 0;
    asm volatile("pushf; pop %0" : "=r"(flags));
    EXPECT_EQ(flags & 0x400, 0);
}
CHECK(group, "rflags-of-the-guest", "APM 2, 15.5.1: host values of EFLAGS have no effect on the guest") {
    Guest guest([] { asm volatile("vmmcall"); });
    guest.save.rflags = rflags::fixed | 0x8d5; // all arithmetic flags
    REQUIRE_EQ(guest.run(), ExitCode::Vmmcall);
    EXPECT_EQ(guest.save.rflags, rflags::fixed | 0x8d5);
}
CHECK(group, "trap-flag-after-the-first-instruction", "APM 2, 15.5.1: EFLAGS.TF from the VMCB") {
    Guest guest([] { asm volatile("nop; nop"); });
    guest.save.rflags |= rflags::tf;
    guest.control.exceptions = 1 << 1;
    const auto rip = guest.save.rip;
    REQUIRE_EQ(guest.run(), ExitCode::ExceptionDb);
    EXPECT(guest.save.rip > rip);
    EXPECT(guest.save.rip <= rip + 4); // the first instruction may be the function's prologue
}

// System-call and other MSRs that VMLOAD and VMSAVE carry: what a guest sees and leaves is in svm-msr.

struct Carried {
    const char* name;
    std::uint32_t number;
    std::uint64_t guest_value;
};
constexpr Carried carried[] = {{"star", msr::star, 0x0010'0008'0000'0000},
                               {"lstar", msr::lstar, 0xffff'8000'1111'0000},
                               {"cstar", msr::cstar, 0xffff'8000'2222'0000},
                               {"sfmask", msr::sfmask, 0x700},
                               {"kernel-gs-base", msr::kernel_gs_base, 0x1111'2222'3000},
                               {"sysenter-cs", msr::sysenter_cs, 0x20},
                               {"sysenter-esp", msr::sysenter_esp, 0x3333'0000},
                               {"sysenter-eip", msr::sysenter_eip, 0x4444'0000},
                               {"fs-base", msr::fs_base, 0x5555'6666'7000},
                               {"gs-base", msr::gs_base, 0x7777'0000'1000}};

Vmcb& spare_vmcb() {
    return *reinterpret_cast<Vmcb*>(guest_memory.data);
}
std::uint64_t field_of(const VmcbSave& save, std::uint32_t number) {
    switch (number) {
    case msr::star:
        return save.star;
    case msr::lstar:
        return save.lstar;
    case msr::cstar:
        return save.cstar;
    case msr::sfmask:
        return save.sfmask;
    case msr::kernel_gs_base:
        return save.kernel_gs_base;
    case msr::sysenter_cs:
        return save.sysenter_cs;
    case msr::sysenter_esp:
        return save.sysenter_esp;
    case msr::sysenter_eip:
        return save.sysenter_eip;
    case msr::fs_base:
        return save.fs.base;
    default:
        return save.gs.base;
    }
}

FAMILY(group, "vmsave-", carried, "APM 2, 15.5.2") {
    std::memset(guest_memory.data, 0, page_size);
    vmm::write_msr(row.number, row.guest_value);
    vmsave(spare_vmcb());
    EXPECT_EQ(field_of(spare_vmcb().save, row.number), row.guest_value);
}
FAMILY(group, "vmload-", carried, "APM 2, 15.5.2") {
    std::memset(guest_memory.data, 0, page_size);
    vmm::write_msr(row.number, row.guest_value);
    vmsave(spare_vmcb());
    vmm::write_msr(row.number, 0);
    vmload(spare_vmcb());
    EXPECT_EQ(vmm::read_msr(row.number), row.guest_value);
}
FAMILY(group, "vmrun-leaves-", carried,
       "APM 2, 15.5.2: neither VMRUN nor #VMEXIT changes what VMLOAD carries") {
    Guest guest(do_nothing);
    vmm::write_msr(row.number, row.guest_value);
    guest.run_to_end(); // VMSAVE and VMLOAD around it bring the host's back
    EXPECT_EQ(vmm::read_msr(row.number), row.guest_value);
}
CHECK(group, "vmload-needs-an-aligned-address",
      "APM 3, VMLOAD: #GP for an address that is not page-aligned") {
    EXPECT_EQ(fault_of([] { asm volatile("vmload %%rax" ::"a"(guest_memory.data + 8) : "memory"); }), 13);
}
CHECK(group, "vmsave-needs-an-aligned-address",
      "APM 3, VMSAVE: #GP for an address that is not page-aligned") {
    EXPECT_EQ(fault_of([] { asm volatile("vmsave %%rax" ::"a"(guest_memory.data + 8) : "memory"); }), 13);
}
CHECK(group, "vmrun-needs-an-aligned-address", "APM 3, VMRUN: #GP for an address that is not page-aligned") {
    EXPECT_EQ(fault_of([] { asm volatile("vmrun %%rax" ::"a"(guest_memory.data + 8) : "memory"); }), 13);
}

// Debug registers.

GUEST_CODE(touch_dr, 64,
           "mov $0x1111, %eax; mov %rax, %dr0; mov $0x2222, %eax; mov %rax, %dr3; mov %dr1, %rcx");

CHECK(group, "dr0-to-dr3-are-shared", "APM 2, 15.5.1, B: only DR6 and DR7 are in the VMCB") {
    Guest guest(touch_dr);
    vmm::write_dr1(0x5150);
    guest.run_to_end();
    EXPECT_EQ(guest.r(abi::rcx), 0x5150);
    EXPECT_EQ(vmm::read_dr0(), 0x1111);
    EXPECT_EQ(vmm::read_dr3(), 0x2222);
}

std::uint64_t host_dr7() {
    std::uint64_t value = 0;
    asm volatile("mov %%dr7, %0" : "=r"(value));
    return value;
}
[[gnu::noinline]] void break_here() {
    asm volatile("nop");
}

CHECK(group, "host-breakpoints-are-disabled",
      "APM 2, 15.6: #VMEXIT disables all breakpoints in the host's DR7") {
    Guest guest(do_nothing);
    guest.run_to_end();
    EXPECT_EQ(host_dr7(), 0x400);
}

CHECK(group, "guest-breakpoints-do-not-stay",
      "APM 2, 15.6: #VMEXIT disables all breakpoints in the host's DR7") {
    Guest guest(do_nothing);
    vmm::write_dr0(reinterpret_cast<std::uint64_t>(&break_here));
    guest.save.dr7 = 0x402;
    guest.run_to_end();
    EXPECT_EQ(host_dr7(), 0x400);
    EXPECT_EQ(fault_of([] { break_here(); }), no_fault);
}

GUEST_CODE(set_dr7, 64, "mov %rcx, %dr7; nop");
CHECK(group, "breakpoints-that-the-guest-sets-do-not-stay", "APM 2, 15.6") {
    Guest guest(set_dr7);
    vmm::write_dr0(reinterpret_cast<std::uint64_t>(&break_here));
    guest.set(abi::rcx, 0x402);
    guest.run_to_end();
    EXPECT_EQ(guest.save.dr7, 0x402);
    EXPECT_EQ(host_dr7(), 0x400);
    EXPECT_EQ(fault_of([] { break_here(); }), no_fault);
}

CHECK(group, "host-breakpoints-do-not-reach-the-guest", "APM 2, 15.5.1: DR7 is the VMCB's") {
    Guest guest(&break_here);
    vmm::write_dr0(reinterpret_cast<std::uint64_t>(&break_here));
    asm volatile("mov %0, %%dr7" ::"r"(0x402ull));
    guest.run_to_end();
}

GUEST_CODE(read_dr67, 64, "mov %dr6, %rcx; mov %dr7, %rdx");
CHECK(group, "dr6-and-dr7", "APM 2, 15.5.1") {
    Guest guest(read_dr67);
    guest.save.dr6 = 0xffff4ff2;
    guest.save.dr7 = 0x1500;
    guest.run_to_end();
    EXPECT_EQ(guest.r(abi::rcx), 0xffff4ff2);
    EXPECT_EQ(guest.r(abi::rdx), 0x1500);
}

// Floating point, SSE, AVX, protection keys: not switched by the hardware, so shared; and root mode's values
// are whole.

CHECK(group, "sse-is-shared", "APM 2, 15.5.1, B: the VMCB has no FPU state") {
    Guest guest([] { asm volatile("movq %%xmm5, %%rax; not %%rax; movq %%rax, %%xmm6" ::: "rax"); });
    const std::uint64_t pattern = 0x0123'4567'89ab'cdef;
    std::uint64_t seen = 0, kept = 0;
    asm volatile("movq %0, %%xmm5" ::"r"(pattern));
    guest.run_to_end();
    asm volatile("movq %%xmm6, %0; movq %%xmm5, %1" : "=r"(seen), "=r"(kept));
    EXPECT_EQ(seen, ~pattern);
    EXPECT_EQ(kept, pattern);
}

CHECK(group, "x87-is-shared", "APM 2, 15.5.1, B: the VMCB has no FPU state") {
    Guest guest([] { asm volatile("fld1; faddp"); });
    const std::uint32_t two = 2;
    std::uint32_t result = 0;
    asm volatile("fninit; fildl %0" ::"m"(two));
    guest.run_to_end();
    asm volatile("fistpl %0; fninit" : "=m"(result));
    EXPECT_EQ(result, 3);
}

CHECK(group, "mxcsr-is-shared", "APM 2, 15.5.1, B: the VMCB has no FPU state") {
    Guest guest([] {
        const std::uint32_t value = 0x9f80;
        asm volatile("ldmxcsr %0" ::"m"(value));
    });
    const std::uint32_t initial = 0x1f80;
    std::uint32_t after = 0;
    asm volatile("ldmxcsr %0" ::"m"(initial));
    guest.run_to_end();
    asm volatile("stmxcsr %0; ldmxcsr %1" : "=m"(after) : "m"(initial));
    EXPECT_EQ(after, 0x9f80);
}

bool has_xsave() {
    return (vmm::cpuid(1).ecx & 1 << 26) != 0;
}
bool has_avx() {
    return has_xsave() && (vmm::cpuid(1).ecx & 1 << 28) != 0 && (vmm::cpuid(0xd).eax & 4) != 0;
}

CHECK(group, "avx-is-shared", "APM 2, 11.5, 15.5.1, B: the VMCB has no FPU state") {
    if (!has_avx())
        skip("no AVX");
    Guest guest([] { asm volatile("vpermilpd $5, %ymm1, %ymm2"); }); // swaps the halves of each 128 bits
    guest.save.cr4 |= cr4::osxsave;
    alignas(32) static const std::uint64_t pattern[4] = {1, 2, 3, 4};
    alignas(32) static std::uint64_t result[4];
    vmm::write_cr4(vmm::read_cr4() | cr4::osxsave);
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

CHECK(group, "xcr0-is-shared", "APM 2, 15.5.1, B: XCR0 is not in the VMCB") {
    if (!has_avx())
        skip("no AVX");
    Guest guest([] { asm volatile("xsetbv" ::"a"(3), "d"(0), "c"(0)); });
    guest.save.cr4 |= cr4::osxsave;
    vmm::write_cr4(vmm::read_cr4() | cr4::osxsave);
    vmm::write_xcr0(7);
    guest.run();
    const auto after = vmm::read_xcr0();
    vmm::write_xcr0(1);
    EXPECT(guest.at_end());
    EXPECT_EQ(after, 3);
}

CHECK(group, "protection-keys-are-shared", "APM 2, 5.6.6, 15.5.1, B: PKRU is not in the VMCB") {
    if (vmm::cpuid(0).eax < 7 || (vmm::cpuid(7).ecx & 1 << 3) == 0)
        skip("no protection keys");
    Guest guest([] { asm volatile("wrpkru" ::"a"(0x5500), "c"(0), "d"(0)); });
    guest.save.cr4 |= cr4::pke;
    vmm::write_cr4(vmm::read_cr4() | cr4::pke);
    asm volatile("wrpkru" ::"a"(0), "c"(0), "d"(0));
    guest.run();
    std::uint32_t after = 0;
    asm volatile("rdpkru" : "=a"(after) : "c"(0) : "rdx");
    asm volatile("wrpkru" ::"a"(0), "c"(0), "d"(0));
    EXPECT(guest.at_end());
    EXPECT_EQ(after, 0x5500);
}

// Time.

struct Clock {
    const char* name;
    Code code;
    std::uint64_t offset;
};
constexpr Clock clocks[] = {{"rdtsc-ahead", read_tsc, 1ull << 40},
                            {"rdtsc-behind", read_tsc, 0 - (1ull << 30)},
                            {"rdtsc-none", read_tsc, 0},
                            {"rdmsr-ahead", read_tsc_msr, 1ull << 40},
                            {"rdtscp-ahead", read_tscp, 1ull << 40}};

FAMILY(group, "tsc-offset-", clocks,
       "APM 2, 15.30.5, B: the offset is added in RDTSC, RDTSCP and reads of the MSR") {
    if (row.code.start == read_tscp.start && (vmm::cpuid(0x80000001).edx & 1 << 27) == 0)
        skip("no RDTSCP");
    Guest guest(row.code);
    guest.control.tsc_offset = row.offset;
    const auto before = vmm::read_tsc();
    guest.run_to_end();
    const auto after = vmm::read_tsc();
    EXPECT(guest.save.rax - row.offset >= before);
    EXPECT(guest.save.rax - row.offset <= after);
}

CHECK(group, "tsc-offset-does-not-stay", "APM 2, 15.6: TSC_OFFSET is cleared inside the processor") {
    Guest guest(do_nothing);
    guest.control.tsc_offset = 1ull << 50;
    const auto before = vmm::read_tsc();
    guest.run_to_end();
    EXPECT(vmm::read_tsc() - before < 1ull << 49);
}

// The rest of #VMEXIT.

CHECK(group, "intercepts-do-not-stay", "APM 2, 15.6: clears all intercepts") {
    Guest guest(do_nothing);
    guest.control.intercepts1 |= intercept1::cpuid | intercept1::rdtsc | intercept1::msr;
    guest.control.cr_reads = guest.control.cr_writes = 0xffff;
    guest.run_to_end();
    vmm::cpuid(0);
    vmm::read_tsc();
    vmm::write_cr3(vmm::read_cr3());
}

CHECK(group, "exit-int-info-is-cleared", "APM 2, 15.7.2: V is 0 when no event was being delivered") {
    Guest guest(do_nothing);
    guest.control.exit_interrupt = ~0ull;
    guest.run_to_end();
    EXPECT_EQ(guest.control.exit_interrupt & event::valid, 0);
}

CHECK(group, "next-rip-is-cleared", "APM 2, 15.7.1: for all other intercepts, nRIP is reset to zero") {
    if (!has(feature::next_rip))
        skip("no next-RIP save");
    Guest guest([] { asm volatile("ud2"); });
    guest.control.exceptions = 1 << 6;
    guest.control.next_rip = 0x1234;
    REQUIRE_EQ(guest.run(), number(ExitCode::Exception0) + 6);
    EXPECT_EQ(guest.control.next_rip, 0);
}

CHECK(group, "many-runs", "APM 2, 15.5.1, 15.6") {
    Guest guest([] {
        for (std::uint64_t i = 0; i < 200; ++i)
            asm volatile("mov %0, %%rax; vmmcall" ::"r"(i) : "rax");
    });
    for (std::uint64_t i = 0; i < 200; ++i) {
        REQUIRE_EQ(guest.run(), ExitCode::Vmmcall);
        REQUIRE_EQ(guest.save.rax, i);
        guest.skip(3);
    }
    guest.run_to_end();
}

} // namespace

} // namespace escalus::nested::svm
