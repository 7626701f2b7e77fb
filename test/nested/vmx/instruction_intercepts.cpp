// SPDX-License-Identifier: GPL-2.0-or-later
// Instructions that leave guest mode: always, when asked, and not when not asked; before or after their own
// faults.
#include "test/nested/guests/instructions_code.hpp"
#include "test/nested/vmx/guest.hpp"

namespace escalus::nested::vmx {

namespace {

constexpr Group group{"vmx-intercepts", "instructions exit when asked, and only then", vendor};
constexpr unsigned vector_ud = 6, vector_gp = 13;

GUEST_CODE(do_vmcall, 64, "vmcall");
GUEST_CODE(do_vmclear, 64, "vmclear (%rdi)");
GUEST_CODE(do_vmlaunch, 64, "vmlaunch");
GUEST_CODE(do_vmptrld, 64, "vmptrld (%rdi)");
GUEST_CODE(do_vmptrst, 64, "vmptrst (%rdi)");
GUEST_CODE(do_vmread, 64, "vmread %rax, %rcx");
GUEST_CODE(do_vmresume, 64, "vmresume");
GUEST_CODE(do_vmwrite, 64, "vmwrite %rcx, %rax");
GUEST_CODE(do_vmxoff, 64, "vmxoff");
GUEST_CODE(do_vmxon, 64, "vmxon (%rdi)");
GUEST_CODE(do_invept, 64, "invept (%rdi), %rax");
GUEST_CODE(do_invvpid, 64, "invvpid (%rdi), %rax");
GUEST_CODE(do_rdrand, 64, "rdrand %eax");
GUEST_CODE(do_rdseed, 64, "rdseed %eax");
GUEST_CODE(do_invpcid, 64, "invpcid (%rdi), %rax");
GUEST_CODE(do_vmfunc, 64, "vmfunc");
GUEST_CODE(do_xsaves, 64, "xsaves (%rdi)");
GUEST_CODE(do_xrstors, 64, "xrstors (%rdi)");

/// A control that makes an instruction exit; none for those that always do.
struct Control {
    Field field{};
    std::uint32_t bit = 0;
};
constexpr Control always{};
constexpr Control by_primary(std::uint32_t bit) {
    return {Field::PrimaryControls, bit};
}
constexpr Control by_secondary(std::uint32_t bit) {
    return {Field::SecondaryControls, bit};
}
namespace control {
// Table 24-7: what the monitor does not use.
constexpr std::uint32_t rdrand = 1 << 11, rdseed = 1 << 16;
} // namespace control

struct Instruction {
    const char* name;
    Code code;
    unsigned length;
    ExitReason exit;
    Control control;
    bool (*available)() = nullptr;
};

bool has_monitor() {
    return (vmm::cpuid(1).ecx & 1 << 3) != 0;
}
bool has_xsave() {
    return (vmm::cpuid(1).ecx & 1 << 26) != 0;
}
bool has_rdtscp() {
    return has_secondary(secondary::rdtscp) && (vmm::cpuid(0x80000001).edx & 1 << 27) != 0;
}
bool has_invpcid() {
    return has_secondary(secondary::invpcid) && (vmm::cpuid(7).ebx & 1 << 10) != 0;
}
bool has_invept() {
    return has_ept(ept_capability::invept);
}
bool has_invvpid() {
    return has_ept(1ull << 32);
}

constexpr Instruction instructions[] = {
    {"cpuid", do_cpuid, 2, ExitReason::Cpuid, always},
    {"invd", do_invd, 2, ExitReason::Invd, always},
    {"vmcall", do_vmcall, 3, ExitReason::Vmcall, always},
    {"vmclear", do_vmclear, 4, ExitReason::Vmclear, always},
    {"vmlaunch", do_vmlaunch, 3, ExitReason::Vmlaunch, always},
    {"vmptrld", do_vmptrld, 3, ExitReason::Vmptrld, always},
    {"vmptrst", do_vmptrst, 3, ExitReason::Vmptrst, always},
    {"vmread", do_vmread, 3, ExitReason::Vmread, always},
    {"vmresume", do_vmresume, 3, ExitReason::Vmresume, always},
    {"vmwrite", do_vmwrite, 3, ExitReason::Vmwrite, always},
    {"vmxoff", do_vmxoff, 3, ExitReason::Vmxoff, always},
    {"vmxon", do_vmxon, 4, ExitReason::Vmxon, always},
    {"invept", do_invept, 5, ExitReason::Invept, always, has_invept},
    {"invvpid", do_invvpid, 5, ExitReason::Invvpid, always, has_invvpid},
    {"xsetbv", do_xsetbv, 3, ExitReason::Xsetbv, always, has_xsave},
    {"hlt", do_hlt, 1, ExitReason::Hlt, by_primary(primary::hlt)},
    {"invlpg", do_invlpg, 3, ExitReason::Invlpg, by_primary(primary::invlpg)},
    {"mwait", do_mwait, 3, ExitReason::Mwait, by_primary(primary::mwait), has_monitor},
    {"monitor", do_monitor, 3, ExitReason::Monitor, by_primary(primary::monitor), has_monitor},
    {"rdpmc", do_rdpmc, 2, ExitReason::Rdpmc, by_primary(primary::rdpmc)},
    {"rdtsc", do_rdtsc, 2, ExitReason::Rdtsc, by_primary(primary::rdtsc)},
    {"rdtscp", do_rdtscp, 3, ExitReason::Rdtscp, by_primary(primary::rdtsc), has_rdtscp},
    {"pause", do_pause, 2, ExitReason::Pause, by_primary(primary::pause)},
    {"wbinvd", do_wbinvd, 2, ExitReason::Wbinvd, by_secondary(secondary::wbinvd)},
    {"rdrand", do_rdrand, 3, ExitReason::Rdrand, by_secondary(control::rdrand)},
    {"rdseed", do_rdseed, 3, ExitReason::Rdseed, by_secondary(control::rdseed)},
    {"invpcid", do_invpcid, 5, ExitReason::Invpcid, by_primary(primary::invlpg), has_invpcid},
    {"sidt", do_sidt, 5, ExitReason::GdtrIdtr, by_secondary(secondary::descriptor_tables)},
    {"sgdt", do_sgdt, 5, ExitReason::GdtrIdtr, by_secondary(secondary::descriptor_tables)},
    {"sldt", do_sldt, 3, ExitReason::LdtrTr, by_secondary(secondary::descriptor_tables)},
    {"str", do_str, 3, ExitReason::LdtrTr, by_secondary(secondary::descriptor_tables)},
    {"lidt", do_lidt, 3, ExitReason::GdtrIdtr, by_secondary(secondary::descriptor_tables)},
    {"lgdt", do_lgdt, 3, ExitReason::GdtrIdtr, by_secondary(secondary::descriptor_tables)},
    {"lldt", do_lldt, 3, ExitReason::LdtrTr, by_secondary(secondary::descriptor_tables)},
    {"ltr", do_ltr, 3, ExitReason::LdtrTr, by_secondary(secondary::descriptor_tables)},
};

/// Operands with which each of the instructions is harmless.
void prepare(Guest& guest, Code code) {
    auto* data = guest_memory.data;
    guest.set(abi::rax, reinterpret_cast<std::uint64_t>(data));
    guest.set(abi::rdi, reinterpret_cast<std::uint64_t>(data));
    const auto is = [&](Code other) { return code.start == other.start; };
    if (is(do_ltr)) {
        guest.set(abi::rcx, selector::tss);
        guest_memory.gdt[selector::tss / 8] &= ~(1ull << 41); // not busy
    }
    if (is(do_lidt) || is(do_lgdt)) {
        const auto limit =
            static_cast<std::uint16_t>(read(is(do_lidt) ? Field::GuestIdtrLimit : Field::GuestGdtrLimit));
        const auto base = read(is(do_lidt) ? Field::GuestIdtrBase : Field::GuestGdtrBase);
        __builtin_memcpy(data, &limit, sizeof limit);
        __builtin_memcpy(data + 2, &base, sizeof base);
    }
    if (is(do_invpcid))
        guest.set(abi::rax, 2); // all contexts
    if (is(do_xsetbv)) {
        set_bits(Field::GuestCr4, cr4::osxsave);
        guest.set(abi::rax, 1);
    }
}

void need_instruction(const Instruction& row) {
    if (row.available != nullptr && !row.available())
        skip("this CPU has no such instruction");
}

FAMILY(group, "taken-", instructions, "SDM 3C, 25.1.2, 25.1.3") {
    need_instruction(row);
    Guest guest(row.code);
    prepare(guest, row.code);
    if (row.control.field == Field::PrimaryControls)
        need_primary(row.control.bit);
    if (row.control.field == Field::SecondaryControls)
        need_secondary(row.control.bit);
    const auto before_rip = rip(), before_rsp = read(Field::GuestRsp),
               before_flags = read(Field::GuestRflags);
    const vmm::Gprs registers = guest.gprs;
    REQUIRE_EQ(guest.run(), row.exit);
    EXPECT_EQ(rip(), before_rip);
    EXPECT_EQ(read(Field::GuestRsp), before_rsp);
    EXPECT_EQ(read(Field::GuestRflags), before_flags);
    for (const auto index : {abi::rax, abi::rcx, abi::rdx, abi::rbx, abi::rdi})
        EXPECT_EQ(guest.r(index), registers.r[index]);
    EXPECT_EQ(read(Field::VectoringEvent) & event::valid, 0);
    EXPECT_EQ(read(Field::ExitEvent) & event::valid, 0);
}

FAMILY(group, "length-", instructions, "SDM 3C, 27.2.4: the VM-exit instruction length") {
    need_instruction(row);
    Guest guest(row.code);
    prepare(guest, row.code);
    if (row.control.field == Field::PrimaryControls)
        need_primary(row.control.bit);
    if (row.control.field == Field::SecondaryControls)
        need_secondary(row.control.bit);
    REQUIRE_EQ(guest.run(), row.exit);
    EXPECT_EQ(read(Field::ExitInstructionLength), row.length);
}

/// Those that can be executed in a guest without harm.
constexpr Instruction harmless[] = {
    {"invlpg", do_invlpg, 0, ExitReason::Invlpg, by_primary(primary::invlpg)},
    {"monitor", do_monitor, 0, ExitReason::Monitor, by_primary(primary::monitor), has_monitor},
    {"rdtsc", do_rdtsc, 0, ExitReason::Rdtsc, by_primary(primary::rdtsc)},
    {"rdtscp", do_rdtscp, 0, ExitReason::Rdtscp, by_primary(primary::rdtsc), has_rdtscp},
    {"pause", do_pause, 0, ExitReason::Pause, by_primary(primary::pause)},
    {"wbinvd", do_wbinvd, 0, ExitReason::Wbinvd, by_secondary(secondary::wbinvd)},
    {"invpcid", do_invpcid, 0, ExitReason::Invpcid, by_primary(primary::invlpg), has_invpcid},
    {"sidt", do_sidt, 0, ExitReason::GdtrIdtr, by_secondary(secondary::descriptor_tables)},
    {"sgdt", do_sgdt, 0, ExitReason::GdtrIdtr, by_secondary(secondary::descriptor_tables)},
    {"sldt", do_sldt, 0, ExitReason::LdtrTr, by_secondary(secondary::descriptor_tables)},
    {"str", do_str, 0, ExitReason::LdtrTr, by_secondary(secondary::descriptor_tables)},
    {"lidt", do_lidt, 0, ExitReason::GdtrIdtr, by_secondary(secondary::descriptor_tables)},
    {"lgdt", do_lgdt, 0, ExitReason::GdtrIdtr, by_secondary(secondary::descriptor_tables)},
    {"lldt", do_lldt, 0, ExitReason::LdtrTr, by_secondary(secondary::descriptor_tables)},
    {"ltr", do_ltr, 0, ExitReason::LdtrTr, by_secondary(secondary::descriptor_tables)},
};

FAMILY(group, "not-taken-", harmless, "SDM 3C, 25.1.3") {
    need_instruction(row);
    Guest guest(row.code);
    prepare(guest, row.code);
    // Every other instruction exits, as far as the CPU can.
    constexpr std::uint32_t all_primary = primary::hlt | primary::invlpg | primary::mwait | primary::rdpmc |
                                          primary::rdtsc | primary::monitor | primary::pause;
    constexpr std::uint32_t all_secondary =
        secondary::descriptor_tables | secondary::wbinvd | control::rdrand | control::rdseed;
    set_bits(Field::PrimaryControls, static_cast<std::uint32_t>(capabilities.primary >> 32) & all_primary);
    set_bits(Field::SecondaryControls,
             static_cast<std::uint32_t>(capabilities.secondary >> 32) & all_secondary);
    if ((row.control.field == Field::PrimaryControls ? capabilities.primary : capabilities.secondary) &
        row.control.bit)
        skip("it always exits on this CPU");
    clear_bits(row.control.field, row.control.bit);
    guest.run_to_end();
}

FAMILY(group, "at-cpl-3-", instructions, "SDM 3C, 25.1.1: #GP by CPL, or #UD, comes before the exit") {
    need_instruction(row);
    Guest guest(row.code);
    prepare(guest, row.code);
    if (row.control.field == Field::PrimaryControls)
        need_primary(row.control.bit);
    if (row.control.field == Field::SecondaryControls)
        need_secondary(row.control.bit);
    Guest::to_user();
    // No privilege needed: exits at CPL 3 as well.
    const bool anywhere[] = {
        row.exit == ExitReason::Cpuid,   row.exit == ExitReason::Vmcall,  row.exit == ExitReason::Rdtsc,
        row.exit == ExitReason::Rdtscp,  row.exit == ExitReason::Pause,   row.exit == ExitReason::Rdrand,
        row.exit == ExitReason::Rdseed,  row.code.start == do_sidt.start, row.code.start == do_sgdt.start,
        row.code.start == do_sldt.start, row.code.start == do_str.start};
    for (const bool exits : anywhere)
        if (exits) {
            EXPECT_EQ(guest.run(), row.exit);
            return;
        }
    // The VMX instructions exit instead of faulting by CPL: section 30.3, "IF in VMX non-root operation".
    const bool vmx = (row.exit >= ExitReason::Vmclear && row.exit <= ExitReason::Vmxon) ||
                     row.exit == ExitReason::Invept || row.exit == ExitReason::Invvpid;
    if (vmx) {
        EXPECT_EQ(guest.run(), row.exit);
        return;
    }
    const bool undefined = row.exit == ExitReason::Monitor || row.exit == ExitReason::Mwait;
    guest.run_to_handler(undefined ? vector_ud : vector_gp);
}

// Exits that say more: the exit qualification and the VM-exit instruction information.

CHECK(group, "invlpg-has-its-address", "SDM 3C, 27.2.1: the linear address") {
    Guest guest(do_invlpg);
    need_primary(primary::invlpg);
    guest.set(abi::rdi, 0x1234'5678'9000);
    REQUIRE_EQ(guest.run(), ExitReason::Invlpg);
    EXPECT_EQ(qualification(), 0x1234'5678'9000);
}

GUEST_CODE(vmptrld_far, 64, "vmptrld 0x12345(%rdi,%rcx,8)");
CHECK(group, "vmptrld-has-its-displacement", "SDM 3C, 27.2.1: the instruction's displacement field") {
    Guest guest(vmptrld_far);
    REQUIRE_EQ(guest.run(), ExitReason::Vmptrld);
    EXPECT_EQ(qualification(), 0x12345);
}
GUEST_CODE(vmclear_back, 64, "vmclear -0x1234(%rsi)");
CHECK(group, "vmclear-has-its-negative-displacement", "SDM 3C, 27.2.1: sign-extended to 64 bits") {
    Guest guest(vmclear_back);
    REQUIRE_EQ(guest.run(), ExitReason::Vmclear);
    EXPECT_EQ(qualification(), 0 - 0x1234ull);
}

/// Fields of the VM-exit instruction information: tables 27-9 to 27-14.
namespace info {
constexpr unsigned scale(std::uint64_t i) {
    return i & 3;
}
constexpr unsigned address_size(std::uint64_t i) {
    return i >> 7 & 7;
}
constexpr unsigned segment(std::uint64_t i) {
    return i >> 15 & 7;
}
constexpr unsigned index(std::uint64_t i) {
    return i >> 18 & 15;
}
constexpr bool no_index(std::uint64_t i) {
    return (i >> 22 & 1) != 0;
}
constexpr unsigned base(std::uint64_t i) {
    return i >> 23 & 15;
}
constexpr bool no_base(std::uint64_t i) {
    return (i >> 27 & 1) != 0;
}
constexpr unsigned register2(std::uint64_t i) {
    return i >> 28 & 15;
}
} // namespace info

CHECK(group, "vmptrld-names-base-index-and-scale", "SDM 3C, 27.2.4, table 27-13") {
    Guest guest(vmptrld_far);
    REQUIRE_EQ(guest.run(), ExitReason::Vmptrld);
    const auto i = read(Field::ExitInstructionInfo);
    EXPECT_EQ(info::scale(i), 3);
    EXPECT_EQ(info::address_size(i), 2);
    EXPECT_EQ(info::segment(i), 3);
    EXPECT(!info::no_index(i));
    EXPECT_EQ(info::index(i), abi::rcx);
    EXPECT(!info::no_base(i));
    EXPECT_EQ(info::base(i), abi::rdi);
}
GUEST_CODE(vmptrst_fs, 64, "addr32 vmptrst %fs:(%r14d)");
CHECK(group, "vmptrst-names-segment-and-address-size", "SDM 3C, 27.2.4, table 27-13") {
    Guest guest(vmptrst_fs);
    REQUIRE_EQ(guest.run(), ExitReason::Vmptrst);
    const auto i = read(Field::ExitInstructionInfo);
    EXPECT_EQ(info::address_size(i), 1);
    EXPECT_EQ(info::segment(i), 4);
    EXPECT(info::no_index(i));
    EXPECT_EQ(info::base(i), 14);
}
GUEST_CODE(vmread_registers, 64, "vmread %r9, %r12");
CHECK(group, "vmread-names-its-registers", "SDM 3C, 27.2.4, table 27-14") {
    Guest guest(vmread_registers);
    REQUIRE_EQ(guest.run(), ExitReason::Vmread);
    const auto i = read(Field::ExitInstructionInfo);
    EXPECT((i & 1 << 10) != 0); // a register
    EXPECT_EQ(i >> 3 & 15, 12);
    EXPECT_EQ(info::register2(i), 9);
}
GUEST_CODE(vmwrite_memory, 64, "vmwrite 0x10(%rbx), %rdx");
CHECK(group, "vmwrite-names-its-memory", "SDM 3C, 27.2.4, table 27-14") {
    Guest guest(vmwrite_memory);
    REQUIRE_EQ(guest.run(), ExitReason::Vmwrite);
    const auto i = read(Field::ExitInstructionInfo);
    EXPECT_EQ(i & 1 << 10, 0); // memory
    EXPECT_EQ(info::base(i), abi::rbx);
    EXPECT_EQ(info::register2(i), abi::rdx);
    EXPECT_EQ(qualification(), 0x10);
}
CHECK(group, "invept-names-its-type-register", "SDM 3C, 27.2.4, table 27-9") {
    if (!has_invept())
        skip("no INVEPT");
    Guest guest(do_invept);
    REQUIRE_EQ(guest.run(), ExitReason::Invept);
    EXPECT_EQ(info::register2(read(Field::ExitInstructionInfo)), abi::rax);
    EXPECT_EQ(info::base(read(Field::ExitInstructionInfo)), abi::rdi);
}
CHECK(group, "invpcid-names-its-type-register", "SDM 3C, 27.2.4, table 27-9") {
    if (!has_invpcid())
        skip("no INVPCID");
    Guest guest(do_invpcid);
    need_primary(primary::invlpg);
    REQUIRE_EQ(guest.run(), ExitReason::Invpcid);
    EXPECT_EQ(info::register2(read(Field::ExitInstructionInfo)), abi::rax);
}

struct Table {
    const char* name;
    Code code;
    unsigned identity;
};
constexpr Table tables[] = {{"sgdt", do_sgdt, 0}, {"sidt", do_sidt, 1}, {"lgdt", do_lgdt, 2},
                            {"lidt", do_lidt, 3}, {"sldt", do_sldt, 0}, {"str", do_str, 1},
                            {"lldt", do_lldt, 2}, {"ltr", do_ltr, 3}};
FAMILY(group, "identity-of-", tables, "SDM 3C, 27.2.4, tables 27-10 and 27-11: bits 29:28") {
    Guest guest(row.code);
    prepare(guest, row.code);
    need_secondary(secondary::descriptor_tables);
    guest.run();
    EXPECT_EQ(read(Field::ExitInstructionInfo) >> 28 & 3, row.identity);
}
constexpr Table memory_tables[] = {{"sgdt", do_sgdt, 0}, {"sidt", do_sidt, 0}};
FAMILY(group, "displacement-of-", memory_tables, "SDM 3C, 27.2.1") {
    Guest guest(row.code);
    need_secondary(secondary::descriptor_tables);
    REQUIRE_EQ(guest.run(), ExitReason::GdtrIdtr);
    EXPECT_EQ(qualification(), 0 - 64ull);
    EXPECT_EQ(info::base(read(Field::ExitInstructionInfo)), abi::rsp);
}

// Instructions that need a control to exist: section 25.3.

struct Enabled {
    const char* name;
    Code code;
    std::uint32_t bit;
    bool (*available)();
};
bool has_xsaves() {
    return has_secondary(secondary::xsaves) && (vmm::cpuid(0xd, 1).eax & 8) != 0;
}
constexpr Enabled enabled[] = {{"rdtscp", do_rdtscp, secondary::rdtscp, has_rdtscp},
                               {"invpcid", do_invpcid, secondary::invpcid, has_invpcid},
                               {"xsaves", do_xsaves, secondary::xsaves, has_xsaves},
                               {"xrstors", do_xrstors, secondary::xsaves, has_xsaves}};
FAMILY(group, "undefined-without-its-control-", enabled, "SDM 3C, 25.3") {
    if (!row.available())
        skip("this CPU has no such instruction");
    Guest guest(row.code);
    prepare(guest, row.code);
    if (row.bit == secondary::xsaves)
        set_bits(Field::GuestCr4, cr4::osxsave);
    clear_bits(Field::SecondaryControls, row.bit);
    guest.run_to_handler(vector_ud);
}
CHECK(group, "vmfunc-undefined-when-not-enabled", "SDM 3C, 25.5.5.2") {
    Guest guest(do_vmfunc);
    guest.run_to_handler(vector_ud);
}

struct SaveExit {
    const char* name;
    Code code;
    ExitReason exit;
};
constexpr SaveExit saves[] = {{"xsaves", do_xsaves, ExitReason::Xsaves},
                              {"xrstors", do_xrstors, ExitReason::Xrstors}};
FAMILY(group, "by-the-xss-exiting-bitmap-", saves, "SDM 3C, 25.1.3, 24.6.20") {
    if (!has_xsaves())
        skip("no XSAVES");
    const auto supported = vmm::cpuid(0xd, 1).ecx;
    if (supported == 0)
        skip("no supervisor state components");
    Guest guest(row.code);
    prepare(guest, row.code);
    set_bits(Field::GuestCr4, cr4::osxsave);
    constexpr std::uint32_t ia32_xss = 0xda0;
    vmm::write_msr(ia32_xss, supported);
    guest.set(abi::rax, supported);
    guest.set(abi::rdx, 0);
    write(Field::XssExitBitmap, supported);
    vmm::write_cr4(vmm::read_cr4() | cr4::osxsave);
    const auto exit = guest.run();
    vmm::write_msr(ia32_xss, 0);
    EXPECT_EQ(exit, row.exit);
}

CHECK(group, "rdtscp-fault-first", "SDM 3C, 25.1.1; CR4.TSD") {
    if (!has_rdtscp())
        skip("no RDTSCP");
    Guest guest(do_rdtscp);
    need_primary(primary::rdtsc);
    Guest::to_user();
    set_bits(Field::GuestCr4, 4);
    guest.run_to_handler(vector_gp);
}
CHECK(group, "rdtsc-fault-first", "SDM 3C, 25.1.1; CR4.TSD") {
    Guest guest(do_rdtsc);
    need_primary(primary::rdtsc);
    Guest::to_user();
    set_bits(Field::GuestCr4, 4);
    guest.run_to_handler(vector_gp);
}
CHECK(group, "rdpmc-fault-first", "SDM 3C, 25.1.1; CR4.PCE") {
    Guest guest(do_rdpmc);
    need_primary(primary::rdpmc);
    Guest::to_user();
    guest.run_to_handler(vector_gp);
}
CHECK(group, "rsm-outside-smm", "SDM 3C, 25.1.3: RSM causes an exit in SMM only") {
    Guest guest(do_rsm);
    guest.run_to_handler(vector_ud);
}
GUEST_CODE(do_ud2, 64, "ud2");
CHECK(group, "ud2-does-not-exit", "SDM 3C, 25.1.2, 25.1.3") {
    Guest guest(do_ud2);
    guest.run_to_handler(vector_ud);
}
CHECK(group, "lock-prefix-first", "SDM 3C, 25.1.1: #UD for a bad prefix comes before the exit") {
    Guest guest(assemble({0xf0, 0x0f, 0xa2})); // LOCK CPUID
    guest.run_to_handler(vector_ud);
}
CHECK(group, "prefixes-count-for-the-length", "SDM 3C, 27.2.4") {
    Guest guest(assemble({0x66, 0x2e, 0x48, 0x0f, 0xa2})); // CPUID with prefixes that do nothing
    REQUIRE_EQ(guest.run(), ExitReason::Cpuid);
    EXPECT_EQ(read(Field::ExitInstructionLength), 5);
}
CHECK(group, "skipped-instruction-goes-on", "SDM 3C, 27.2.4: RIP plus the length is the next one") {
    Guest guest([] { asm volatile("vmcall; cpuid; vmcall" ::: "rax", "rbx", "rcx", "rdx"); });
    for (const auto reason : {ExitReason::Vmcall, ExitReason::Cpuid, ExitReason::Vmcall}) {
        REQUIRE_EQ(guest.run(), reason);
        Guest::skip();
    }
    guest.run_to_end();
}

} // namespace

} // namespace escalus::nested::vmx
