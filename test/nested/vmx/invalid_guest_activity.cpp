// SPDX-License-Identifier: GPL-2.0-or-later
// SDM 3C, 26.3.1.4 to 26.3.1.6: RIP, RFLAGS, and what is in no register: activity, blocking, pending events,
// the link pointer, page-directory-pointer-table entries.
#include "test/nested/vmx/invalid_state.hpp"

#include <cstring>

namespace escalus::nested::vmx {

namespace {

constexpr unsigned segments[] = {seg_es, seg_cs, seg_ss, seg_ds, seg_fs, seg_gs};

void be_in(std::uint64_t state) {
    if (state != activity::active && (capabilities.misc >> (5 + state) & 1) == 0)
        skip("this CPU does not have the activity state");
    write(Field::GuestActivity, state);
    // Should it be entered, the timer ends it soon.
    set_bits(Field::GuestRflags, rflags::interrupt);
    local_apic::arm_timer(100);
}

constexpr Mistake other_mistakes[] = {
    {"rip-bit-32-in-compatibility-mode", Refusal::Guest, "26.3.1.4: RIP[63:32]",
     [] { set_bits(Field::GuestRip, 1ull << 32); }, rip_rflags, Mode::Compatibility},
    {"rip-bit-32-in-protected-mode", Refusal::Guest, "26.3.1.4: RIP[63:32]",
     [] { set_bits(Field::GuestRip, 1ull << 32); }, rip_rflags, Mode::Paged32},
    {"rip-not-canonical", Refusal::Guest, "26.3.1.4: RIP is not",
     [] { write(Field::GuestRip, not_canonical); }, rip_rflags},
    {"rflags-fixed-bit-clear", Refusal::Guest, "26.3.1.4: a reserved bit",
     [] { clear_bits(Field::GuestRflags, rflags::fixed); }, rip_rflags},
    {"v8086-in-long-mode", Refusal::Guest, "26.3.1.", [] { set_bits(Field::GuestRflags, rflags::vm); },
     rip_rflags, Mode::Compatibility},
    {"v8086-in-real-mode", Refusal::Guest, "26.3.1.4: RFLAGS.VM",
     [] {
         for (const unsigned segment : segments)
             write(rights_of(segment), 0xf3);
         set_bits(Field::GuestRflags, rflags::vm);
     },
     rip_rflags, Mode::Real},
    {"interrupt-injected-with-if-clear", Refusal::Guest, "26.3.1.4: an external interrupt",
     [] { inject(event::external, 0x40); }, rip_rflags},
    {"activity-4", Refusal::Guest, "26.3.1.5: an activity state", [] { write(Field::GuestActivity, 4); },
     non_register},
    {"activity-huge", Refusal::Guest, "26.3.1.5: an activity state",
     [] { write(Field::GuestActivity, 0x8000'0001); }, non_register},
    {"hlt-with-ss-dpl-3", Refusal::Guest, "26.3.1.5: HLT state",
     [] {
         be_in(activity::hlt);
         Guest::to_user();
     },
     non_register},
    {"hlt-blocked-by-sti", Refusal::Guest, "26.3.1.5: inactive while",
     [] {
         be_in(activity::hlt);
         block(blocking::sti);
     },
     non_register},
    {"hlt-blocked-by-mov-ss", Refusal::Guest, "26.3.1.5: inactive while",
     [] {
         be_in(activity::hlt);
         block(blocking::mov_ss);
     },
     non_register},
    {"shutdown-blocked-by-sti", Refusal::Guest, "26.3.1.5: inactive while",
     [] {
         be_in(activity::shutdown);
         block(blocking::sti);
     },
     non_register},
    {"wait-for-sipi-blocked-by-mov-ss", Refusal::Guest, "26.3.1.5: inactive while",
     [] {
         be_in(activity::wait_for_sipi);
         block(blocking::mov_ss);
     },
     non_register},
    {"hlt-with-ud", Refusal::Guest, "26.3.1.5: an event that",
     [] {
         be_in(activity::hlt);
         inject(exception, 6);
     },
     non_register},
    {"hlt-with-gp", Refusal::Guest, "26.3.1.5: an event that",
     [] {
         be_in(activity::hlt);
         inject(exception, 13, 0);
     },
     non_register},
    {"hlt-with-software-interrupt", Refusal::Guest, "26.3.1.5: an event that",
     [] {
         be_in(activity::hlt);
         inject(event::software_interrupt, 0x40);
         write(Field::EntryInstructionLength, 1);
     },
     non_register},
    {"shutdown-with-interrupt", Refusal::Guest, "26.3.1.5: an event that",
     [] {
         be_in(activity::shutdown);
         set_bits(Field::GuestRflags, rflags::interrupt);
         inject(event::external, 0x40);
     },
     non_register},
    {"shutdown-with-db", Refusal::Guest, "26.3.1.5: an event that",
     [] {
         be_in(activity::shutdown);
         inject(exception, 1);
     },
     non_register},
    {"wait-for-sipi-with-nmi", Refusal::Guest, "26.3.1.5: an event that",
     [] {
         be_in(activity::wait_for_sipi);
         inject(event::nmi, 2);
     },
     non_register},
    {"both-sti-and-mov-ss-block", Refusal::Guest, "26.3.1.5: both STI",
     [] { block(blocking::sti | blocking::mov_ss); }, non_register},
    {"sti-blocks-with-if-clear", Refusal::Guest, "26.3.1.5: STI blocks",
     [] { set_bits(Field::GuestInterruptibility, blocking::sti); }, non_register},
    {"interrupt-while-sti-blocks", Refusal::Guest, "26.3.1.5: an external interrupt while",
     [] {
         block(blocking::sti);
         inject(event::external, 0x40);
     },
     non_register},
    {"interrupt-while-mov-ss-blocks", Refusal::Guest, "26.3.1.5: an external interrupt while",
     [] {
         block(blocking::mov_ss);
         inject(event::external, 0x40);
     },
     non_register},
    {"nmi-while-mov-ss-blocks", Refusal::Guest, "26.3.1.5: an NMI while MOV SS",
     [] {
         block(blocking::mov_ss);
         inject(event::nmi, 2);
     },
     non_register},
    {"smi-blocking-outside-smm", Refusal::Guest, "26.3.1.5: SMIs are blocked",
     [] { set_bits(Field::GuestInterruptibility, blocking::smi); }, non_register},
    {"nmi-while-virtual-nmis-are-blocked", Refusal::Guest, "26.3.1.5: an NMI while NMIs",
     [] {
         need_pin(pin::virtual_nmis);
         set_bits(Field::GuestInterruptibility, blocking::nmi);
         inject(event::nmi, 2);
     },
     non_register},
    {"shadow-and-tf-without-pending-step", Refusal::Guest, "26.3.1.5: the pending single step",
     [] {
         block(blocking::sti);
         set_bits(Field::GuestRflags, rflags::tf);
     },
     non_register},
    {"shadow-without-tf-with-pending-step", Refusal::Guest, "26.3.1.5: the pending single step",
     [] {
         block(blocking::mov_ss);
         write(Field::GuestPendingDebug, pending_debug::single_step);
     },
     non_register},
    {"shadow-and-btf-with-pending-step", Refusal::Guest, "26.3.1.5: the pending single step",
     [] {
         block(blocking::sti);
         set_bits(Field::GuestRflags, rflags::tf);
         write(Field::GuestDebugControl, 2);
         write(Field::GuestPendingDebug, pending_debug::single_step);
     },
     non_register},
    {"hlt-and-tf-without-pending-step", Refusal::Guest, "26.3.1.5: the pending single step",
     [] {
         be_in(activity::hlt);
         set_bits(Field::GuestRflags, rflags::tf);
     },
     non_register},
};
FAMILY(invalid_state, "state-", other_mistakes, "SDM 3C, 26.3.1") {
    check(row);
}

struct Link {
    const char* name;
    std::uint64_t (*pointer)();
};
std::uint64_t other_revision() {
    const std::uint32_t revision = static_cast<std::uint32_t>(capabilities.basic) ^ 1;
    std::memcpy(guest_memory.data, &revision, sizeof revision);
    return reinterpret_cast<std::uint64_t>(guest_memory.data);
}
constexpr Link links[] = {{"misaligned", [] { return spare_vmcs() + 0x800; }},
                          {"beyond-memory", beyond},
                          {"other-revision", other_revision}};
FAMILY(invalid_state, "link-pointer-", links, "SDM 3C, 26.3.1.5: exit qualification 4") {
    Guest guest(nothing64);
    write(Field::LinkPointer, row.pointer());
    expect_reason(find_violation_in_current(), "26.3.1.5: the VMCS link pointer");
    const Entered entered = guest.enter();
    asm volatile("sti");
    EXPECT_EQ(entered.error, 0);
    EXPECT_EQ(entered.reason, entry_failed | number(ExitReason::InvalidGuestState));
    EXPECT_EQ(qualification(), 4);
}

// Section 26.3.1.6: the page-directory-pointer-table entries.
constexpr Bit pdpte_bits[] = {{{"bit-", 1}, 1},   {{"bit-", 2}, 2},   {{"bit-", 5}, 5},
                              {{"bit-", 6}, 6},   {{"bit-", 7}, 7},   {{"bit-", 8}, 8},
                              {{"bit-", 52}, 52}, {{"bit-", 62}, 62}, {{"bit-", 63}, 63}};
FAMILY(invalid_state, "pdpte-", pdpte_bits, "SDM 3C, 26.3.1.6: exit qualification 2") {
    Guest guest(Mode::Pae, nothing32);
    need_secondary_control(secondary::ept);
    // A different one for each row, so that all four are tried.
    set_bits(nth(Field::GuestPdpte0, row.bit % 4), 1ull << row.bit | 1);
    expect_reason(find_violation_in_current(), "26.3.1.6");
    const Entered entered = guest.enter();
    asm volatile("sti");
    EXPECT_EQ(entered.reason, entry_failed | number(ExitReason::InvalidGuestState));
    EXPECT_EQ(qualification(), 2);
}
CHECK(invalid_state, "pdpte-not-present-is-not-checked", "SDM 3C, 26.3.1.6: only when bit 0 is 1") {
    Guest guest(Mode::Pae, nothing32);
    need_secondary_control(secondary::ept);
    write(nth(Field::GuestPdpte0, 3), 1ull << 63 | 0x1e6);
    guest.run_to_end();
}

} // namespace

} // namespace escalus::nested::vmx
