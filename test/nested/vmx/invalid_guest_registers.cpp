// SPDX-License-Identifier: GPL-2.0-or-later
// SDM 3C, 26.3.1.1 and 26.3.1.3: control registers, debug registers, MSRs and descriptor tables of the guest.
#include "test/nested/vmx/invalid_state.hpp"

namespace escalus::nested::vmx {

namespace {

FAMILY(invalid_state, "guest-pat-", pats, "SDM 3C, 26.3.1.1: only types that WRMSR takes") {
    Guest guest(nothing64);
    need_entry(entry_control::load_pat);
    spoil(Field::GuestPat, row);
    expect_refused(guest, Refusal::Guest, "26.3.1.1: the PAT");
}

constexpr Mistake register_mistakes[] = {
    {"cr0-ne-clear", Refusal::Guest, "26.3.1.1: CR0 has", [] { clear_bits(Field::GuestCr0, cr0::ne); },
     registers},
    {"cr0-bit-32", Refusal::Guest, "26.3.1.1: CR0 has", [] { set_bits(Field::GuestCr0, 1ull << 32); },
     registers},
    {"cr0-bit-63", Refusal::Guest, "26.3.1.1: CR0 has", [] { set_bits(Field::GuestCr0, 1ull << 63); },
     registers},
    {"cr0-pe-clear-when-restricted", Refusal::Guest, "26.3.1.1: CR0 has",
     [] {
         clear_bits(Field::SecondaryControls, secondary::unrestricted);
         clear_bits(Field::GuestCr0, cr0::pe);
     },
     registers, Mode::Paged32},
    {"cr0-pg-clear-when-restricted", Refusal::Guest, "26.3.1.1: CR0 has",
     [] {
         clear_bits(Field::SecondaryControls, secondary::unrestricted);
         clear_bits(Field::GuestCr0, cr0::pg);
     },
     registers, Mode::Paged32},
    {"pg-without-pe", Refusal::Guest, "26.3.1.1: CR0.PG", [] { set_bits(Field::GuestCr0, cr0::pg); },
     registers, Mode::Real},
    {"cr4-vmxe-clear", Refusal::Guest, "26.3.1.1: CR4", [] { clear_bits(Field::GuestCr4, cr4::vmxe); },
     registers},
    {"long-mode-without-pg", Refusal::Guest, "26.3.1.1: IA-32e mode without",
     [] { clear_bits(Field::GuestCr0, cr0::pg); }, registers},
    {"long-mode-without-pae", Refusal::Guest, "26.3.1.1: IA-32e mode without",
     [] { clear_bits(Field::GuestCr4, cr4::pae); }, registers},
    {"pcide-outside-long-mode", Refusal::Guest, "26.3.1.1: CR4.PCIDE",
     [] {
         if ((capabilities.cr4_fixed1 & cr4::pcide) == 0)
             skip("no PCIDs");
         set_bits(Field::GuestCr4, cr4::pcide);
     },
     registers, Mode::Pae},
    {"sysenter-esp-not-canonical", Refusal::Guest, "26.3.1.1: a SYSENTER",
     [] { write(Field::GuestSysenterEsp, not_canonical); }, registers},
    {"sysenter-eip-not-canonical", Refusal::Guest, "26.3.1.1: a SYSENTER",
     [] { write(Field::GuestSysenterEip, not_canonical); }, registers},
    {"efer-lma-clear-in-long-mode", Refusal::Guest, "26.3.1.1: EFER.LMA differs from the",
     [] {
         need_entry(entry_control::load_efer);
         clear_bits(Field::GuestEfer, efer::lma | efer::lme);
     },
     registers},
    {"efer-lma-set-outside-long-mode", Refusal::Guest, "26.3.1.1: EFER.LMA differs from the",
     [] {
         need_entry(entry_control::load_efer);
         set_bits(Field::GuestEfer, efer::lma | efer::lme);
     },
     registers, Mode::Pae},
    {"efer-lme-clear-with-paging", Refusal::Guest, "26.3.1.1: EFER.LMA differs from EFER.LME",
     [] {
         need_entry(entry_control::load_efer);
         clear_bits(Field::GuestEfer, efer::lme);
     },
     registers},
    {"efer-lme-set-with-paging", Refusal::Guest, "26.3.1.1: EFER.LMA differs from EFER.LME",
     [] {
         need_entry(entry_control::load_efer);
         set_bits(Field::GuestEfer, efer::lme);
     },
     registers, Mode::Pae},
};
FAMILY(invalid_state, "guest-", register_mistakes, "SDM 3C, 26.3.1.1") {
    check(row);
}

/// One bit in a field of the guest-state area.
struct FieldBit {
    NumberedName name;
    Field field;
    unsigned bit;
    const char* reason;
    const char* manual;
};
constexpr FieldBit field_bits[] = {
    {{"cr4-bit-", 26}, Field::GuestCr4, 26, "26.3.1.1: CR4", registers},
    {{"cr4-bit-", 29}, Field::GuestCr4, 29, "26.3.1.1: CR4", registers},
    {{"cr4-bit-", 30}, Field::GuestCr4, 30, "26.3.1.1: CR4", registers},
    {{"cr4-bit-", 31}, Field::GuestCr4, 31, "26.3.1.1: CR4", registers},
    {{"cr4-bit-", 33}, Field::GuestCr4, 33, "26.3.1.1: CR4", registers},
    {{"cr4-bit-", 48}, Field::GuestCr4, 48, "26.3.1.1: CR4", registers},
    {{"cr4-bit-", 63}, Field::GuestCr4, 63, "26.3.1.1: CR4", registers},
    {{"debugctl-bit-", 3}, Field::GuestDebugControl, 3, "26.3.1.1: a reserved bit of IA32_D", registers},
    {{"debugctl-bit-", 4}, Field::GuestDebugControl, 4, "26.3.1.1: a reserved bit of IA32_D", registers},
    {{"debugctl-bit-", 5}, Field::GuestDebugControl, 5, "26.3.1.1: a reserved bit of IA32_D", registers},
    {{"debugctl-bit-", 16}, Field::GuestDebugControl, 16, "26.3.1.1: a reserved bit of IA32_D", registers},
    {{"debugctl-bit-", 31}, Field::GuestDebugControl, 31, "26.3.1.1: a reserved bit of IA32_D", registers},
    {{"debugctl-bit-", 32}, Field::GuestDebugControl, 32, "26.3.1.1: a reserved bit of IA32_D", registers},
    {{"debugctl-bit-", 63}, Field::GuestDebugControl, 63, "26.3.1.1: a reserved bit of IA32_D", registers},
    {{"dr7-bit-", 32}, Field::GuestDr7, 32, "26.3.1.1: DR7", registers},
    {{"dr7-bit-", 40}, Field::GuestDr7, 40, "26.3.1.1: DR7", registers},
    {{"dr7-bit-", 63}, Field::GuestDr7, 63, "26.3.1.1: DR7", registers},
    {{"cr3-bit-", 52}, Field::GuestCr3, 52, "26.3.1.1: CR3", registers},
    {{"cr3-bit-", 60}, Field::GuestCr3, 60, "26.3.1.1: CR3", registers},
    {{"cr3-bit-", 63}, Field::GuestCr3, 63, "26.3.1.1: CR3", registers},
    {{"efer-bit-", 1}, Field::GuestEfer, 1, "26.3.1.1: a reserved bit of EFER", registers},
    {{"efer-bit-", 7}, Field::GuestEfer, 7, "26.3.1.1: a reserved bit of EFER", registers},
    {{"efer-bit-", 9}, Field::GuestEfer, 9, "26.3.1.1: a reserved bit of EFER", registers},
    {{"efer-bit-", 12}, Field::GuestEfer, 12, "26.3.1.1: a reserved bit of EFER", registers},
    {{"efer-bit-", 16}, Field::GuestEfer, 16, "26.3.1.1: a reserved bit of EFER", registers},
    {{"efer-bit-", 32}, Field::GuestEfer, 32, "26.3.1.1: a reserved bit of EFER", registers},
    {{"efer-bit-", 63}, Field::GuestEfer, 63, "26.3.1.1: a reserved bit of EFER", registers},
    {{"rflags-bit-", 3}, Field::GuestRflags, 3, "26.3.1.4: a reserved bit", "SDM 3C, 26.3.1.4"},
    {{"rflags-bit-", 5}, Field::GuestRflags, 5, "26.3.1.4: a reserved bit", "SDM 3C, 26.3.1.4"},
    {{"rflags-bit-", 15}, Field::GuestRflags, 15, "26.3.1.4: a reserved bit", "SDM 3C, 26.3.1.4"},
    {{"rflags-bit-", 22}, Field::GuestRflags, 22, "26.3.1.4: a reserved bit", "SDM 3C, 26.3.1.4"},
    {{"rflags-bit-", 31}, Field::GuestRflags, 31, "26.3.1.4: a reserved bit", "SDM 3C, 26.3.1.4"},
    {{"rflags-bit-", 32}, Field::GuestRflags, 32, "26.3.1.4: a reserved bit", "SDM 3C, 26.3.1.4"},
    {{"rflags-bit-", 63}, Field::GuestRflags, 63, "26.3.1.4: a reserved bit", "SDM 3C, 26.3.1.4"},
    {{"interruptibility-bit-", 5},
     Field::GuestInterruptibility,
     5,
     "26.3.1.5: a reserved bit of the i",
     "SDM 3C, 26.3.1.5"},
    {{"interruptibility-bit-", 8},
     Field::GuestInterruptibility,
     8,
     "26.3.1.5: a reserved bit of the i",
     "SDM 3C, 26.3.1.5"},
    {{"interruptibility-bit-", 31},
     Field::GuestInterruptibility,
     31,
     "26.3.1.5: a reserved bit of the i",
     "SDM 3C, 26.3.1.5"},
    {{"pending-debug-bit-", 4},
     Field::GuestPendingDebug,
     4,
     "26.3.1.5: a reserved bit of the p",
     "SDM 3C, 26.3.1.5"},
    {{"pending-debug-bit-", 13},
     Field::GuestPendingDebug,
     13,
     "26.3.1.5: a reserved bit of the p",
     "SDM 3C, 26.3.1.5"},
    {{"pending-debug-bit-", 15},
     Field::GuestPendingDebug,
     15,
     "26.3.1.5: a reserved bit of the p",
     "SDM 3C, 26.3.1.5"},
    {{"pending-debug-bit-", 17},
     Field::GuestPendingDebug,
     17,
     "26.3.1.5: a reserved bit of the p",
     "SDM 3C, 26.3.1.5"},
    {{"pending-debug-bit-", 63},
     Field::GuestPendingDebug,
     63,
     "26.3.1.5: a reserved bit of the p",
     "SDM 3C, 26.3.1.5"},
    {{"gdtr-limit-bit-", 16}, Field::GuestGdtrLimit, 16, "26.3.1.3: the limit", "SDM 3C, 26.3.1.3"},
    {{"gdtr-limit-bit-", 31}, Field::GuestGdtrLimit, 31, "26.3.1.3: the limit", "SDM 3C, 26.3.1.3"},
    {{"idtr-limit-bit-", 16}, Field::GuestIdtrLimit, 16, "26.3.1.3: the limit", "SDM 3C, 26.3.1.3"},
    {{"idtr-limit-bit-", 31}, Field::GuestIdtrLimit, 31, "26.3.1.3: the limit", "SDM 3C, 26.3.1.3"},
    {{"gdtr-base-bit-", 60}, Field::GuestGdtrBase, 60, "26.3.1.3: the base", "SDM 3C, 26.3.1.3"},
    {{"idtr-base-bit-", 60}, Field::GuestIdtrBase, 60, "26.3.1.3: the base", "SDM 3C, 26.3.1.3"},
};
FAMILY(invalid_state, "guest-", field_bits, "SDM 3C, 26.3.1") {
    Guest guest(nothing64);
    if (row.field == Field::GuestCr4 && (capabilities.cr4_fixed1 >> row.bit & 1) != 0)
        skip("this CPU knows the bit");
    if (row.field == Field::GuestEfer)
        need_entry(entry_control::load_efer);
    set_bits(row.field, 1ull << row.bit);
    expect_refused(guest, Refusal::Guest, row.reason);
}

CHECK(invalid_state, "guest-cr3-beyond-memory", "SDM 3C, 26.3.1.1") {
    Guest guest(nothing64);
    set_bits(Field::GuestCr3, beyond());
    expect_refused(guest, Refusal::Guest, "26.3.1.1: CR3");
}

} // namespace

} // namespace escalus::nested::vmx
