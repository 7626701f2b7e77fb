// SPDX-License-Identifier: GPL-2.0-or-later
// The VMX instructions in root mode: what succeeds, and each VM-instruction error (SDM 3C, section 30.4).
#include "test/nested/framework/interrupts.hpp"
#include "test/nested/vmx/guest.hpp"

#include <cstring>

namespace escalus::nested::vmx {

namespace {

constexpr Group group{"vmx-instructions", "VMX instructions in root mode and their errors", vendor};
constexpr unsigned vector_ud = 6, vector_gp = 13, vector_pf = 14;

void nothing() {}

std::uint64_t beyond() {
    return 1ull << capabilities.physical_bits;
}

/// Runs an instruction that fails with a current VMCS, and reads its error.
void expect_error(Said said, unsigned error) {
    EXPECT_EQ(said, Said::FailValid);
    EXPECT_EQ(read(Field::InstructionError), error);
}

struct BadPointer {
    const char* name;
    std::uint64_t (*pointer)();
};
constexpr BadPointer bad_pointers[] = {
    {"misaligned", [] { return spare_vmcs() + 8; }},
    {"misaligned-by-half", [] { return spare_vmcs() + 0x800; }},
    {"beyond-memory", beyond},
    {"bit-63", []() -> std::uint64_t { return spare_vmcs() | 1ull << 63; }}};
FAMILY(group, "vmclear-", bad_pointers, "SDM 3C, 30.3, 30.4: error 2") {
    const Guest guest(nothing);
    expect_error(vmclear(row.pointer()), 2);
}
FAMILY(group, "vmptrld-", bad_pointers, "SDM 3C, 30.3, 30.4: error 9") {
    const Guest guest(nothing);
    expect_error(vmptrld(row.pointer()), 9);
    std::uint64_t current = 0;
    asm volatile("vmptrst %0" : "=m"(current) : : "cc");
    EXPECT_EQ(current, guest_vmcs());
}
CHECK(group, "vmclear-of-the-vmxon-region", "SDM 3C, 30.4: error 3") {
    const Guest guest(nothing);
    expect_error(vmclear(vmxon_region()), 3);
}
CHECK(group, "vmptrld-of-the-vmxon-region", "SDM 3C, 30.4: error 10") {
    const Guest guest(nothing);
    expect_error(vmptrld(vmxon_region()), 10);
}
CHECK(group, "vmptrld-of-another-revision", "SDM 3C, 30.4: error 11") {
    const Guest guest(nothing);
    const std::uint32_t revision = (static_cast<std::uint32_t>(capabilities.basic) & 0x7fffffff) ^ 1;
    std::memcpy(guest_memory.data, &revision, sizeof revision);
    expect_error(vmptrld(reinterpret_cast<std::uint64_t>(guest_memory.data)), 11);
}
CHECK(group, "vmptrld-of-a-shadow-vmcs-not-offered",
      "SDM 3C, 30.3: bit 31 without VMCS shadowing is error 11") {
    const Guest guest(nothing);
    if (has_secondary(secondary::vmcs_shadowing))
        skip("VMCS shadowing is offered");
    const std::uint32_t revision = static_cast<std::uint32_t>(capabilities.basic) | 1u << 31;
    std::memcpy(guest_memory.data, &revision, sizeof revision);
    expect_error(vmptrld(reinterpret_cast<std::uint64_t>(guest_memory.data)), 11);
}
CHECK(group, "vmxon-in-vmx-operation", "SDM 3C, 30.3, 30.4: error 15") {
    const Guest guest(nothing);
    expect_error(vmxon(vmxon_region()), 15);
}
CHECK(group, "vmcall-without-a-monitor-in-smm", "SDM 3C, 30.3, 30.4: error 1") {
    const Guest guest(nothing);
    const Said said = outcome_of([](bool& carry, bool& zero) {
        asm volatile("vmcall" : "=@ccc"(carry), "=@ccz"(zero) : : "memory");
    });
    EXPECT_EQ(said, Said::FailValid);
    EXPECT_EQ(read(Field::InstructionError), 1);
}
CHECK(group, "vmresume-of-a-clear-vmcs", "SDM 3C, 26.1, 30.4: error 5") {
    const Guest guest(nothing);
    const Said said = outcome_of([](bool& carry, bool& zero) {
        asm volatile("vmresume" : "=@ccc"(carry), "=@ccz"(zero) : : "memory");
    });
    expect_error(said, 5);
}
CHECK(group, "vmlaunch-of-a-launched-vmcs", "SDM 3C, 26.1, 30.4: error 4") {
    Guest guest(nothing);
    guest.run_to_end();
    const Said said = outcome_of([](bool& carry, bool& zero) {
        asm volatile("vmlaunch" : "=@ccc"(carry), "=@ccz"(zero) : : "memory");
    });
    expect_error(said, 4);
}
CHECK(group, "entry-blocked-by-mov-ss", "SDM 3C, 26.1, 30.4: error 26") {
    const Guest guest(nothing);
    const Said said = outcome_of([](bool& carry, bool& zero) {
        asm volatile("mov %%ss, %%eax; mov %%eax, %%ss; vmlaunch"
                     : "=@ccc"(carry), "=@ccz"(zero)
                     :
                     : "memory", "rax");
    });
    expect_error(said, 26);
}
CHECK(group, "vmclear-makes-it-clear", "SDM 3C, 24.1, 30.3: VMLAUNCH works again after VMCLEAR") {
    Guest guest(nothing);
    guest.run_to_end();
    EXPECT_EQ(vmclear(guest_vmcs()), Said::Success);
    EXPECT_EQ(vmptrld(guest_vmcs()), Said::Success);
    const Said said = outcome_of([](bool& carry, bool& zero) {
        asm volatile("vmresume" : "=@ccc"(carry), "=@ccz"(zero) : : "memory");
    });
    expect_error(said, 5);
}
CHECK(group, "vmptrst-gives-the-current-vmcs", "SDM 3C, 30.3") {
    const Guest guest(nothing);
    std::uint64_t current = 0;
    asm volatile("vmptrst %0" : "=m"(current) : : "cc");
    EXPECT_EQ(current, guest_vmcs());
}
CHECK(group, "vmclear-of-the-current-leaves-none", "SDM 3C, 30.3: then the pointer is FFFFFFFF_FFFFFFFFh") {
    const Guest guest(nothing);
    EXPECT_EQ(vmclear(guest_vmcs()), Said::Success);
    std::uint64_t current = 0;
    asm volatile("vmptrst %0" : "=m"(current) : : "cc");
    EXPECT_EQ(current, ~0ull);
}
CHECK(group, "vmclear-of-another-leaves-the-current", "SDM 3C, 30.3") {
    const Guest guest(nothing);
    EXPECT_EQ(vmclear(spare_vmcs()), Said::Success);
    std::uint64_t current = 0;
    asm volatile("vmptrst %0" : "=m"(current) : : "cc");
    EXPECT_EQ(current, guest_vmcs());
}
CHECK(group, "two-vmcs-keep-their-own", "SDM 3C, 24.1, 24.11.1") {
    const Guest guest(nothing);
    write(Field::GuestRsp, 0x1111);
    EXPECT_EQ(vmclear(spare_vmcs()), Said::Success);
    EXPECT_EQ(vmptrld(spare_vmcs()), Said::Success);
    write(Field::GuestRsp, 0x2222);
    EXPECT_EQ(vmptrld(guest_vmcs()), Said::Success);
    EXPECT_EQ(read(Field::GuestRsp), 0x1111);
    EXPECT_EQ(vmptrld(spare_vmcs()), Said::Success);
    EXPECT_EQ(read(Field::GuestRsp), 0x2222);
    EXPECT_EQ(vmclear(spare_vmcs()), Said::Success);
}

/// Without a current VMCS there is no place for an error: VMfailInvalid.
struct Without {
    const char* name;
    Said (*execute)();
};
constexpr Without withouts[] = {
    {"vmread",
     [] {
         std::uint64_t value = 0;
         return vmread(number(Field::GuestRip), value);
     }},
    {"vmwrite", [] { return vmwrite(number(Field::GuestRip), 0); }},
    {"vmlaunch",
     [] {
         return outcome_of([](bool& carry, bool& zero) {
             asm volatile("vmlaunch" : "=@ccc"(carry), "=@ccz"(zero) : : "memory");
         });
     }},
    {"vmresume",
     [] {
         return outcome_of([](bool& carry, bool& zero) {
             asm volatile("vmresume" : "=@ccc"(carry), "=@ccz"(zero) : : "memory");
         });
     }},
    {"vmptrld", [] { return vmptrld(beyond()); }},
    {"vmclear", [] { return vmclear(beyond()); }},
    {"vmxon", [] { return vmxon(vmxon_region()); }},
};
FAMILY(group, "without-a-current-vmcs-", withouts, "SDM 3C, 30.2: VMfailInvalid") {
    const Guest guest(nothing);
    EXPECT_EQ(vmclear(guest_vmcs()), Said::Success);
    EXPECT_EQ(row.execute(), Said::FailInvalid);
}

// VMREAD and VMWRITE.

struct Encoding {
    const char* name;
    std::uint64_t encoding;
};
constexpr Encoding unknown[] = {{"reserved-bit-12", 0x7802},     {"reserved-bit-15", 0xe81e},
                                {"reserved-bit-31", 0x8000681e}, {"bit-40", 1ull << 40 | 0x681e},
                                {"high-of-natural", 0x681f},     {"index-511", 0x6bfe}};
FAMILY(group, "vmread-of-", unknown, "SDM 3C, 30.3, 30.4: error 12") {
    const Guest guest(nothing);
    std::uint64_t value = 0x77;
    expect_error(vmread(row.encoding, value), 12);
}
FAMILY(group, "vmwrite-of-", unknown, "SDM 3C, 30.3, 30.4: error 12") {
    const Guest guest(nothing);
    expect_error(vmwrite(row.encoding, 0), 12);
}
constexpr Encoding read_only[] = {{"instruction-error", 0x4400},  {"exit-reason", 0x4402},
                                  {"exit-event", 0x4404},         {"exit-error-code", 0x4406},
                                  {"vectoring-event", 0x4408},    {"vectoring-error-code", 0x440a},
                                  {"instruction-length", 0x440c}, {"instruction-information", 0x440e},
                                  {"exit-qualification", 0x6400}, {"guest-linear-address", 0x640a}};
FAMILY(group, "vmwrite-to-read-only-", read_only,
       "SDM 3C, 30.3, 30.4: error 13, unless IA32_VMX_MISC[29] is 1") {
    const Guest guest(nothing);
    if ((capabilities.misc & 1 << 29) != 0) {
        EXPECT_EQ(vmwrite(row.encoding, 0), Said::Success);
        return;
    }
    expect_error(vmwrite(row.encoding, 0), 13);
}

/// One field of each width and type: what is written is read, cut to its width.
struct FieldRow {
    const char* name;
    Field field;
    unsigned bits;
};
constexpr FieldRow fields[] = {{"guest-es", Field::GuestEs, 16},
                               {"guest-tr", nth(Field::GuestEs, 7), 16},
                               {"host-cs", Field::HostCs, 16},
                               {"host-tr", Field::HostTr, 16},
                               {"io-bitmap-a", Field::IoBitmapA, 64},
                               {"msr-bitmap", Field::MsrBitmap, 64},
                               {"tsc-offset", Field::TscOffset, 64},
                               {"link-pointer", Field::LinkPointer, 64},
                               {"guest-debugctl", Field::GuestDebugControl, 64},
                               {"guest-pat", Field::GuestPat, 64},
                               {"guest-efer", Field::GuestEfer, 64},
                               {"host-pat", Field::HostPat, 64},
                               {"host-efer", Field::HostEfer, 64},
                               {"pin-controls", Field::PinControls, 32},
                               {"primary-controls", Field::PrimaryControls, 32},
                               {"exception-bitmap", Field::ExceptionBitmap, 32},
                               {"fault-mask", Field::FaultMask, 32},
                               {"fault-match", Field::FaultMatch, 32},
                               {"cr3-target-count", Field::Cr3TargetCount, 32},
                               {"exit-controls", Field::ExitControls, 32},
                               {"entry-controls", Field::EntryControls, 32},
                               {"entry-event", Field::EntryEvent, 32},
                               {"entry-error-code", Field::EntryErrorCode, 32},
                               {"entry-length", Field::EntryInstructionLength, 32},
                               {"guest-es-limit", Field::GuestEsLimit, 32},
                               {"guest-idtr-limit", Field::GuestIdtrLimit, 32},
                               {"guest-activity", Field::GuestActivity, 32},
                               {"guest-sysenter-cs", Field::GuestSysenterCs, 32},
                               {"host-sysenter-cs", Field::HostSysenterCs, 32},
                               {"cr0-mask", Field::Cr0Mask, 64},
                               {"cr4-shadow", Field::Cr4Shadow, 64},
                               {"cr3-target-0", field::cr3_target_0, 64},
                               {"cr3-target-3", nth(field::cr3_target_0, 3), 64},
                               {"guest-cr0", Field::GuestCr0, 64},
                               {"guest-cr3", Field::GuestCr3, 64},
                               {"guest-gs-base", nth(Field::GuestEsBase, 5), 64},
                               {"guest-dr7", Field::GuestDr7, 64},
                               {"guest-rip", Field::GuestRip, 64},
                               {"guest-rflags", Field::GuestRflags, 64},
                               {"guest-sysenter-eip", Field::GuestSysenterEip, 64},
                               {"host-cr3", Field::HostCr3, 64},
                               {"host-gs-base", Field::HostGsBase, 64},
                               {"host-rip", Field::HostRip, 64}};
FAMILY(group, "field-", fields, "SDM 3C, 24.11.2, 30.3; 3D, B: width of a field") {
    const Guest guest(nothing);
    const std::uint64_t mask = row.bits == 64 ? ~0ull : (1ull << row.bits) - 1;
    for (const std::uint64_t value : {0x0123'4567'89ab'cdefull, 0xfedc'ba98'7654'3210ull}) {
        EXPECT_EQ(vmwrite(number(row.field), value), Said::Success);
        std::uint64_t seen = 0;
        EXPECT_EQ(vmread(number(row.field), seen), Said::Success);
        EXPECT_EQ(seen, value & mask);
    }
}
constexpr FieldRow wide[] = {{"io-bitmap-a", Field::IoBitmapA, 64},
                             {"tsc-offset", Field::TscOffset, 64},
                             {"guest-pat", Field::GuestPat, 64},
                             {"host-efer", Field::HostEfer, 64}};
FAMILY(group, "high-half-of-", wide, "SDM 3C, 24.11.2, 3D, B.2: the access type high") {
    const Guest guest(nothing);
    write(row.field, 0x1111'2222'3333'4444);
    std::uint64_t seen = 0;
    EXPECT_EQ(vmread(number(row.field) | 1, seen), Said::Success);
    EXPECT_EQ(seen, 0x1111'2222);
    EXPECT_EQ(vmwrite(number(row.field) | 1, 0x5555'6666), Said::Success);
    EXPECT_EQ(read(row.field), 0x5555'6666'3333'4444);
}
CHECK(group, "vmread-into-memory", "SDM 3C, 30.3") {
    const Guest guest(nothing);
    write(Field::GuestRsp, 0x1234'5678'9abc);
    std::uint64_t value = 0;
    asm volatile("vmread %1, %0" : "=m"(value) : "r"(number(Field::GuestRsp)) : "cc");
    EXPECT_EQ(value, 0x1234'5678'9abc);
}
CHECK(group, "vmwrite-from-memory", "SDM 3C, 30.3") {
    const Guest guest(nothing);
    const std::uint64_t value = 0xcba9'8765'4321;
    asm volatile("vmwrite %0, %1" : : "m"(value), "r"(number(Field::GuestRsp)) : "cc", "memory");
    EXPECT_EQ(read(Field::GuestRsp), value);
}
CHECK(group, "success-clears-the-flags", "SDM 3C, 30.2: VMsucceed clears CF, PF, AF, ZF, SF, OF") {
    const Guest guest(nothing);
    std::uint64_t flags = 0;
    asm volatile("pushf; orq $0x8d5, (%%rsp); popf; vmwrite %1, %2; pushf; pop %0"
                 : "=r"(flags)
                 : "r"(0x1234ull), "r"(number(Field::GuestRsp))
                 : "cc", "memory");
    EXPECT_EQ(flags & 0x8d5, 0);
}
CHECK(group, "failure-sets-zf-only", "SDM 3C, 30.2: VMfailValid") {
    const Guest guest(nothing);
    std::uint64_t flags = 0;
    asm volatile("pushf; orq $0x8d5, (%%rsp); popf; vmwrite %1, %2; pushf; pop %0"
                 : "=r"(flags)
                 : "r"(0x1234ull), "r"(0x7802ull)
                 : "cc", "memory");
    EXPECT_EQ(flags & 0x8d5, 0x40);
}
CHECK(group, "failure-without-vmcs-sets-cf-only", "SDM 3C, 30.2: VMfailInvalid") {
    const Guest guest(nothing);
    EXPECT_EQ(vmclear(guest_vmcs()), Said::Success);
    std::uint64_t flags = 0;
    asm volatile("pushf; orq $0x8d5, (%%rsp); popf; vmwrite %1, %2; pushf; pop %0"
                 : "=r"(flags)
                 : "r"(0x1234ull), "r"(number(Field::GuestRsp))
                 : "cc", "memory");
    EXPECT_EQ(flags & 0x8d5, 1);
}

// INVEPT and INVVPID.

struct Invalidation {
    const char* name;
    std::uint64_t type;
    std::uint64_t capability; ///< bit of IA32_VMX_EPT_VPID_CAP; 0: never valid
};
constexpr Invalidation invepts[] = {{"type-0", 0, 0},
                                    {"single-context", 1, ept_capability::invept_single},
                                    {"all-contexts", 2, ept_capability::invept_all},
                                    {"type-3", 3, 0},
                                    {"type-huge", 1ull << 32 | 1, 0}};
FAMILY(group, "invept-", invepts, "SDM 3C, 30.3, 30.4: error 28 for a type that is not supported") {
    const Guest guest(nothing);
    if (!has_ept(ept_capability::invept))
        skip("no INVEPT");
    const Said said = invept(row.type, {read(Field::EptPointer), 0});
    if (row.capability != 0 && has_ept(row.capability))
        EXPECT_EQ(said, Said::Success);
    else
        expect_error(said, 28);
}
CHECK(group, "invept-of-a-bad-ept-pointer",
      "SDM 3C, 30.3: error 28 for a pointer that VM entry would refuse") {
    const Guest guest(nothing);
    if (!has_ept(ept_capability::invept | ept_capability::invept_single))
        skip("no single-context INVEPT");
    expect_error(invept(1, {read(Field::EptPointer) | 7, 0}), 28);
}
constexpr std::uint64_t invvpid_offered = 1ull << 32, invvpid_address = 1ull << 40,
                        invvpid_single = 1ull << 41, invvpid_all = 1ull << 42,
                        invvpid_single_globals = 1ull << 43;
constexpr Invalidation invvpids[] = {{"address", 0, invvpid_address},
                                     {"single-context", 1, invvpid_single},
                                     {"all-contexts", 2, invvpid_all},
                                     {"single-context-but-globals", 3, invvpid_single_globals},
                                     {"type-4", 4, 0}};
FAMILY(group, "invvpid-", invvpids, "SDM 3C, 30.3, 30.4: error 28 for a type that is not supported") {
    const Guest guest(nothing);
    if (!has_ept(invvpid_offered))
        skip("no INVVPID");
    const Said said = invvpid(row.type, {1, 0x1000});
    if (row.capability != 0 && has_ept(row.capability))
        EXPECT_EQ(said, Said::Success);
    else
        expect_error(said, 28);
}
FAMILY(group, "invvpid-of-vpid-0-", invvpids, "SDM 3C, 30.3: error 28, but for all contexts") {
    const Guest guest(nothing);
    if (!has_ept(invvpid_offered | row.capability) || row.capability == 0)
        skip("not offered");
    const Said said = invvpid(row.type, {0, 0x1000});
    if (row.type == 2)
        EXPECT_EQ(said, Said::Success);
    else
        expect_error(said, 28);
}
CHECK(group, "invvpid-of-an-address-that-is-not-canonical", "SDM 3C, 30.3: error 28") {
    const Guest guest(nothing);
    if (!has_ept(invvpid_offered | invvpid_address))
        skip("not offered");
    expect_error(invvpid(0, {1, 1ull << 60}), 28);
}
CHECK(group, "invvpid-with-reserved-bits", "SDM 3C, 30.3: error 28 for bits 63:16 of the descriptor") {
    const Guest guest(nothing);
    if (!has_ept(invvpid_offered | invvpid_single))
        skip("not offered");
    expect_error(invvpid(1, {1 | 1ull << 16, 0}), 28);
}

// Faults.

CHECK(group, "vmptrld-of-memory-that-is-not-there", "SDM 3C, 30.3: #PF for the operand") {
    EXPECT_EQ(fault_of([] { asm volatile("vmptrld (%0)" : : "r"(1ull << 46) : "cc", "memory"); }), vector_pf);
}
CHECK(group, "vmclear-at-an-address-that-is-not-canonical", "SDM 3C, 30.3: #GP for the operand") {
    EXPECT_EQ(fault_of([] { asm volatile("vmclear (%0)" : : "r"(1ull << 60) : "cc", "memory"); }), vector_gp);
}
CHECK(group, "vmfunc-in-root-mode", "SDM 3C, 30.3: #UD") {
    EXPECT_EQ(fault_of([] { asm volatile("vmfunc" : : "a"(0), "c"(0)); }), vector_ud);
}

} // namespace

} // namespace escalus::nested::vmx
