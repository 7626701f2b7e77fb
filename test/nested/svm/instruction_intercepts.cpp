// SPDX-License-Identifier: GPL-2.0-or-later
// Instructions that leave guest mode: when asked, not when not asked, before or after their own faults.
#include "test/nested/guests/instructions_code.hpp"
#include "test/nested/svm/guest.hpp"

namespace escalus::nested::svm {

namespace {

constexpr Group group{"svm-intercepts", "instructions are intercepted when asked, and only then", vendor};
constexpr unsigned vector_db = 1, vector_ud = 6, vector_gp = 13;

GUEST_CODE(do_pushf, 64, "pushfq");
GUEST_CODE(do_popf, 64, "popfq");
GUEST_CODE(do_iret, 64, "iretq");
GUEST_CODE(do_int, 64, "int $0x40");
GUEST_CODE(do_invlpga, 64, "invlpga %rax, %ecx");
GUEST_CODE(do_vmrun, 64, "vmrun %rax");
GUEST_CODE(do_vmmcall, 64, "vmmcall");
GUEST_CODE(do_vmload, 64, "vmload %rax");
GUEST_CODE(do_vmsave, 64, "vmsave %rax");
GUEST_CODE(do_stgi, 64, "stgi");
GUEST_CODE(do_clgi, 64, "clgi");
GUEST_CODE(do_skinit, 64, "skinit %eax");
GUEST_CODE(do_icebp, 64, ".byte 0xf1");
GUEST_CODE(do_rdpru, 64, "rdpru");
GUEST_CODE(do_rdmsr, 64, "rdmsr");
GUEST_CODE(do_wrmsr, 64, "wrmsr");
GUEST_CODE(do_clts, 64, "clts");
GUEST_CODE(do_lmsw, 64, "lmsw %ax");
GUEST_CODE(do_smsw, 64, "smsw %ecx");
GUEST_CODE(do_read_cr0, 64, "mov %cr0, %rcx");
GUEST_CODE(do_write_cr3, 64, "mov %rcx, %cr3");
GUEST_CODE(do_read_dr7, 64, "mov %dr7, %rcx");
GUEST_CODE(do_write_dr7, 64, "mov %rcx, %dr7");

bool has_rdtscp() {
    return (vmm::cpuid(0x80000001).edx & 1 << 27) != 0;
}
bool has_monitor() {
    return (vmm::cpuid(1).ecx & 1 << 3) != 0;
}
bool has_xsave() {
    return (vmm::cpuid(1).ecx & 1 << 26) != 0;
}
bool has_rdpru() {
    return vmm::cpuid(0x80000000).eax >= 0x80000008 && (vmm::cpuid(0x80000008).ebx & 1 << 4) != 0;
}
bool has_skinit() {
    return (vmm::cpuid(0x80000001).ecx & 1 << 12) != 0;
}

struct Instruction {
    const char* name;
    Code code;
    unsigned length;
    ExitCode exit;
    std::uint32_t intercepts1, intercepts2;
    bool (*available)();
};
using namespace intercept1; // NOLINT(google-build-using-namespace): the columns below

constexpr Instruction instructions[] = {
    {"sidt", do_sidt, 5, ExitCode::IdtrRead, idtr_read, 0, nullptr},
    {"sgdt", do_sgdt, 5, ExitCode::GdtrRead, gdtr_read, 0, nullptr},
    {"sldt", do_sldt, 3, ExitCode::LdtrRead, ldtr_read, 0, nullptr},
    {"str", do_str, 3, ExitCode::TrRead, tr_read, 0, nullptr},
    {"lidt", do_lidt, 3, ExitCode::IdtrWrite, idtr_write, 0, nullptr},
    {"lgdt", do_lgdt, 3, ExitCode::GdtrWrite, gdtr_write, 0, nullptr},
    {"lldt", do_lldt, 3, ExitCode::LdtrWrite, ldtr_write, 0, nullptr},
    {"ltr", do_ltr, 3, ExitCode::TrWrite, tr_write, 0, nullptr},
    {"rdtsc", do_rdtsc, 2, ExitCode::Rdtsc, rdtsc, 0, nullptr},
    {"rdpmc", do_rdpmc, 2, ExitCode::Rdpmc, rdpmc, 0, nullptr},
    {"pushf", do_pushf, 1, ExitCode::Pushf, pushf, 0, nullptr},
    {"popf", do_popf, 1, ExitCode::Popf, popf, 0, nullptr},
    {"cpuid", do_cpuid, 2, ExitCode::Cpuid, cpuid, 0, nullptr},
    {"rsm", do_rsm, 2, ExitCode::Rsm, rsm, 0, nullptr},
    {"iret", do_iret, 2, ExitCode::Iret, iret, 0, nullptr},
    {"int-n", do_int, 2, ExitCode::IntN, intn, 0, nullptr},
    {"invd", do_invd, 2, ExitCode::Invd, invd, 0, nullptr},
    {"pause", do_pause, 2, ExitCode::Pause, intercept1::pause, 0, nullptr},
    {"hlt", do_hlt, 1, ExitCode::Hlt, hlt, 0, nullptr},
    {"invlpg", do_invlpg, 3, ExitCode::Invlpg, invlpg, 0, nullptr},
    {"invlpga", do_invlpga, 3, ExitCode::Invlpga, invlpga, 0, nullptr},
    {"vmrun", do_vmrun, 3, ExitCode::Vmrun, 0, intercept2::vmrun, nullptr},
    {"vmmcall", do_vmmcall, 3, ExitCode::Vmmcall, 0, intercept2::vmmcall, nullptr},
    {"vmload", do_vmload, 3, ExitCode::Vmload, 0, intercept2::vmload, nullptr},
    {"vmsave", do_vmsave, 3, ExitCode::Vmsave, 0, intercept2::vmsave, nullptr},
    {"stgi", do_stgi, 3, ExitCode::Stgi, 0, intercept2::stgi, nullptr},
    {"clgi", do_clgi, 3, ExitCode::Clgi, 0, intercept2::clgi, nullptr},
    {"skinit", do_skinit, 3, ExitCode::Skinit, 0, intercept2::skinit, has_skinit},
    {"rdtscp", do_rdtscp, 3, ExitCode::Rdtscp, 0, intercept2::rdtscp, has_rdtscp},
    {"icebp", do_icebp, 1, ExitCode::Icebp, 0, intercept2::icebp, nullptr},
    {"wbinvd", do_wbinvd, 2, ExitCode::Wbinvd, 0, intercept2::wbinvd, nullptr},
    {"monitor", do_monitor, 3, ExitCode::Monitor, 0, intercept2::monitor, has_monitor},
    {"mwait", do_mwait, 3, ExitCode::Mwait, 0, intercept2::mwait, has_monitor},
    {"xsetbv", do_xsetbv, 3, ExitCode::Xsetbv, 0, intercept2::xsetbv, has_xsave},
    {"rdpru", do_rdpru, 3, ExitCode::Rdpru, 0, intercept2::rdpru, has_rdpru},
    {"rdmsr", do_rdmsr, 2, ExitCode::Msr, intercept1::msr, 0, nullptr},
    {"wrmsr", do_wrmsr, 2, ExitCode::Msr, intercept1::msr, 0, nullptr},
};

const Instruction& find(Code code) {
    for (const auto& row : instructions)
        if (row.code.start == code.start)
            return row;
    fail("no such row");
}

/// Operands with which each of the instructions is harmless.
void prepare(Guest& guest, const Instruction& row) {
    if (row.available != nullptr && !row.available())
        skip("this CPU has no such instruction");
    auto* data = guest_memory.data;
    guest.save.rax = reinterpret_cast<std::uint64_t>(data);
    guest.set(abi::rdi, reinterpret_cast<std::uint64_t>(data));
    if (row.exit == ExitCode::LdtrWrite)
        guest.set(abi::rcx, 0);
    if (row.exit == ExitCode::TrWrite) {
        guest.set(abi::rcx, selector::tss);
        guest_memory.gdt[selector::tss / 8] &= ~(1ull << 41); // not busy
    }
    if (row.exit == ExitCode::IdtrWrite || row.exit == ExitCode::GdtrWrite) {
        const auto& table = row.exit == ExitCode::IdtrWrite ? guest.save.idtr : guest.save.gdtr;
        const auto limit = static_cast<std::uint16_t>(table.limit);
        __builtin_memcpy(data, &limit, sizeof limit);
        __builtin_memcpy(data + 2, &table.base, sizeof table.base);
    }
    auto* stack = reinterpret_cast<std::uint64_t*>(guest.save.rsp);
    if (row.exit == ExitCode::Popf)
        stack[0] = rflags::fixed;
    if (row.exit == ExitCode::Iret) {
        stack[0] = guest.save.rip + row.length;
        stack[1] = selector::code64;
        stack[2] = rflags::fixed;
        stack[3] = guest.save.rsp;
        stack[4] = selector::data32;
    }
    if (row.exit == ExitCode::Xsetbv) {
        guest.save.cr4 |= cr4::osxsave;
        guest.save.rax = 1;
    }
    if (row.exit == ExitCode::Msr) {
        guest.set(abi::rcx, msr::star);
        guest.save.rax = 0;
        for (unsigned i = 0; i < msrpm_pages * page_size; ++i)
            guest.msrpm[i] = 0xff;
    }
}

FAMILY(group, "taken-", instructions, "APM 2, 15.9, table 15-7") {
    Guest guest(row.code);
    prepare(guest, row);
    guest.control.intercepts1 |= row.intercepts1;
    guest.control.intercepts2 |= row.intercepts2;
    const VmcbSave before = guest.save;
    const vmm::Gprs registers = guest.gprs;
    REQUIRE_EQ(guest.run(), row.exit);
    EXPECT_EQ(guest.save.rip, before.rip);
    EXPECT_EQ(guest.save.rsp, before.rsp);
    EXPECT_EQ(guest.save.rflags, before.rflags);
    EXPECT_EQ(guest.save.rax, before.rax);
    for (const auto index : {abi::rcx, abi::rdx, abi::rbx})
        EXPECT_EQ(guest.r(index), registers.r[index]);
    EXPECT_EQ(guest.control.exit_interrupt & event::valid, 0);
}

FAMILY(group, "next-rip-", instructions, "APM 2, 15.7.1") {
    if (!has(feature::next_rip))
        skip("no next-RIP save");
    Guest guest(row.code);
    prepare(guest, row);
    guest.control.intercepts1 |= row.intercepts1;
    guest.control.intercepts2 |= row.intercepts2;
    const auto rip = guest.save.rip;
    REQUIRE_EQ(guest.run(), row.exit);
    EXPECT_EQ(guest.control.next_rip, rip + row.length);
}

/// Those that can be executed in a guest without harm.
struct Harmless {
    const char* name;
    Code code;
};
constexpr Harmless harmless[] = {
    {"sidt", do_sidt},       {"sgdt", do_sgdt},     {"sldt", do_sldt},       {"str", do_str},
    {"lidt", do_lidt},       {"lgdt", do_lgdt},     {"lldt", do_lldt},       {"ltr", do_ltr},
    {"rdtsc", do_rdtsc},     {"pushf", do_pushf},   {"popf", do_popf},       {"cpuid", do_cpuid},
    {"iret", do_iret},       {"pause", do_pause},   {"invlpg", do_invlpg},   {"rdpmc", do_rdpmc},
    {"invlpga", do_invlpga}, {"vmsave", do_vmsave}, {"stgi", do_stgi},       {"clgi", do_clgi},
    {"rdtscp", do_rdtscp},   {"wbinvd", do_wbinvd}, {"monitor", do_monitor}, {"xsetbv", do_xsetbv},
    {"rdpru", do_rdpru},
};

FAMILY(group, "not-taken-", harmless, "APM 2, 15.9, table 15-7") {
    Guest guest(row.code);
    const Instruction& instruction = find(row.code);
    if (instruction.exit == ExitCode::Xsetbv)
        skip("a guest's XSETBV would change the suite's XCR0"); // checked in svm-world-switch
    prepare(guest, instruction);
    // Every other instruction is intercepted.
    for (const auto& other : instructions) {
        guest.control.intercepts1 |= other.intercepts1;
        guest.control.intercepts2 |= other.intercepts2;
    }
    guest.control.intercepts1 &= ~instruction.intercepts1;
    guest.control.intercepts2 &= ~instruction.intercepts2;
    guest.set(abi::rcx, instruction.exit == ExitCode::TrWrite ? guest.r(abi::rcx) : 0);
    guest.set(abi::rdx, 0);
    if (instruction.exit == ExitCode::Clgi) { // nothing is to be held pending
        REQUIRE_EQ(guest.run(), ExitCode::Hlt);
        return;
    }
    guest.run_to_end();
}

struct Raising {
    const char* name;
    Code code;
    unsigned vector;
};
constexpr Raising raising[] = {{"int-n", do_int, 0x40},
                               {"icebp", do_icebp, vector_db},
                               {"rsm", do_rsm, vector_ud},
                               {"vmmcall", do_vmmcall, vector_ud}};

FAMILY(group, "not-taken-", raising, "APM 2, 15.9, table 15-7; 15.18") {
    Guest guest(row.code);
    guest.control.intercepts2 &= ~intercept2::vmmcall;
    guest.run_to_handler(row.vector);
}

/// Privileged instructions at CPL 3: the fault comes before the intercept.
constexpr Raising privileged[] = {
    {"lidt", do_lidt, vector_gp},         {"lgdt", do_lgdt, vector_gp},
    {"lldt", do_lldt, vector_gp},         {"ltr", do_ltr, vector_gp},
    {"invd", do_invd, vector_gp},         {"hlt", do_hlt, vector_gp},
    {"invlpg", do_invlpg, vector_gp},     {"invlpga", do_invlpga, vector_gp},
    {"vmrun", do_vmrun, vector_gp},       {"vmload", do_vmload, vector_gp},
    {"vmsave", do_vmsave, vector_gp},     {"stgi", do_stgi, vector_gp},
    {"clgi", do_clgi, vector_gp},         {"wbinvd", do_wbinvd, vector_gp},
    {"rdmsr", do_rdmsr, vector_gp},       {"wrmsr", do_wrmsr, vector_gp},
    {"clts", do_clts, vector_gp},         {"lmsw", do_lmsw, vector_gp},
    {"read-cr0", do_read_cr0, vector_gp}, {"write-cr3", do_write_cr3, vector_gp},
    {"read-dr7", do_read_dr7, vector_gp}, {"write-dr7", do_write_dr7, vector_gp},
};

FAMILY(group, "fault-first-", privileged,
       "APM 2, 15.9, table 15-7: exceptions are checked before the intercept") {
    Guest guest(row.code);
    guest.to_user();
    for (const auto& other : instructions) {
        guest.control.intercepts1 |= other.intercepts1;
        guest.control.intercepts2 |= other.intercepts2;
    }
    guest.control.cr_reads = guest.control.cr_writes = guest.control.dr_reads = guest.control.dr_writes =
        0xffff;
    const auto rip = guest.save.rip;
    guest.run_to_handler(row.vector);
    EXPECT_EQ(guest.frame()[0], 0); // error code
    EXPECT_EQ(guest.frame()[1], rip);
    EXPECT_EQ(guest.frame()[2], selector::user_code64);
}

GUEST_CODE(v86_pushf, 16, "pushf");
GUEST_CODE(v86_popf, 16, "popf");
GUEST_CODE(v86_int, 16, "int $0x40");
GUEST_CODE(v86_iret, 16, "iret");

struct Early {
    const char* name;
    Code code;
    std::uint32_t intercept;
    ExitCode exit;
};
constexpr Early early[] = {{"pushf", v86_pushf, pushf, ExitCode::Pushf},
                           {"popf", v86_popf, popf, ExitCode::Popf},
                           {"int-n", v86_int, intn, ExitCode::IntN},
                           {"iret", v86_iret, iret, ExitCode::Iret}};

FAMILY(group, "intercept-first-v8086-", early,
       "APM 2, 15.9, table 15-7: the intercept comes before exceptions") {
    Guest guest(Mode::Virtual8086, row.code);
    guest.save.rflags &= ~(3ull << 12); // IOPL 0: these raise #GP when they are not intercepted
    guest.control.intercepts1 |= row.intercept;
    EXPECT_EQ(guest.run(), row.exit);
    EXPECT_EQ(guest.save.rip, 0);
}

FAMILY(group, "fault-v8086-", early, "APM 2, 2.5.2: IOPL-sensitive instructions in virtual-8086 mode") {
    Guest guest(Mode::Virtual8086, row.code);
    guest.save.rflags &= ~(3ull << 12);
    guest.run_to_handler(vector_gp);
}

CHECK(group, "rdtsc-fault-first", "APM 2, 15.9, table 15-7; 3.1.3: CR4.TSD") {
    Guest guest(do_rdtsc);
    guest.to_user();
    guest.save.cr4 |= 4;
    guest.control.intercepts1 |= rdtsc;
    guest.run_to_handler(vector_gp);
}

CHECK(group, "int-n-has-its-vector", "APM 2, 15.8.2") {
    if (!has(feature::decode_assists))
        skip("no decode assists");
    Guest guest(do_int);
    guest.control.intercepts1 |= intn;
    REQUIRE_EQ(guest.run(), ExitCode::IntN);
    EXPECT_EQ(guest.control.exit_info1, 0x40);
}

CHECK(group, "invlpg-has-its-address", "APM 2, 15.8.3") {
    if (!has(feature::decode_assists))
        skip("no decode assists");
    Guest guest(do_invlpg);
    guest.control.intercepts1 |= invlpg;
    guest.set(abi::rdi, 0x1234'5678'9000);
    REQUIRE_EQ(guest.run(), ExitCode::Invlpg);
    EXPECT_EQ(guest.control.exit_info1, 0x1234'5678'9000);
}

CHECK(group, "mwait-armed", "APM 2, 15.9, table 15-7: MWAIT with the monitor armed") {
    if (!has_monitor())
        skip("no MONITOR");
    Guest guest([] {
        static std::uint64_t watched;
        asm volatile("monitor %%rax, %%ecx, %%edx; mwait %%eax, %%ecx" ::"a"(&watched), "c"(0), "d"(0));
    });
    guest.control.intercepts2 |= intercept2::mwait_armed;
    EXPECT_EQ(guest.run(), ExitCode::MwaitArmed);
}

CHECK(group, "int-3-is-not-int-n", "APM 2, 15.12.4") {
    Guest guest([] { asm volatile("int3"); });
    guest.control.intercepts1 |= intn;
    guest.run_to_handler(3);
}

} // namespace

} // namespace escalus::nested::svm
