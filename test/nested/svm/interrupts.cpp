// SPDX-License-Identifier: GPL-2.0-or-later
// Physical interrupts and NMIs that arrive while a guest runs, GIF, virtual interrupts and TPR, interrupt
// shadows.
#include "test/nested/framework/interrupts.hpp"

#include "test/nested/framework/local_apic.hpp"
#include "test/nested/guests/interrupts_code.hpp"
#include "test/nested/svm/guest.hpp"

namespace escalus::nested::svm {

namespace {

constexpr Group group{"svm-interrupts", "interrupts, NMI, GIF, TPR, shadows", vendor};
constexpr std::uint8_t vector = 0x61, second_vector = 0x71;
constexpr unsigned vector_nmi = 2;
constexpr std::uint32_t high_priority = 0xf << interrupt_control::priority_shift;

GUEST_CODE(do_nothing, 64, "nop");
GUEST_CODE(do_mov_ss, 64, "mov %ss, %eax; mov %eax, %ss; after_mov_ss: nop; after_ss_shadow: nop");
GUEST_CODE(do_sti_hlt, 64, "sti; sti_hlt_at: hlt");
GUEST_CODE(do_sti_vmmcall, 64, "sti; vmmcall");
GUEST_CODE(do_mov_ss_vmmcall, 64, "mov %ss, %eax; mov %eax, %ss; vmmcall");
GUEST_CODE(do_write_tpr, 64, "mov %rcx, %cr8");
GUEST_CODE(do_lower_tpr, 64, "xor %eax, %eax; mov %rax, %cr8; after_tpr: nop");
GUEST_LABEL(after_sti);
GUEST_LABEL(after_mov_ss);
GUEST_LABEL(after_ss_shadow);
GUEST_LABEL(sti_hlt_at);
GUEST_LABEL(after_tpr);

std::uint64_t at(const char* label) {
    return reinterpret_cast<std::uint64_t>(label);
}

/// An interrupt is pending for root mode when the guest is entered.
void make_pending(std::uint8_t which = vector) {
    clgi();
    local_apic::send_self(which);
    while (!local_apic::requested(which)) // the timer ends a wait in vain
        vmm::pause();
}

CHECK(group, "intr-exits-before-the-first-instruction", "APM 2, 15.13.1, 15.21.1") {
    Guest guest(do_nothing);
    const auto rip = guest.save.rip;
    make_pending();
    EXPECT_EQ(guest.run_gif_clear(), ExitCode::Intr);
    EXPECT_EQ(guest.save.rip, rip);
    EXPECT_EQ(interrupts_taken[vector], 0);
    stgi();
    EXPECT_EQ(interrupts_taken[vector], 1);
}

CHECK(group, "intr-ignores-the-guest-s-if", "APM 2, 15.21.1: the host's IF controls physical interrupts") {
    Guest guest(do_nothing);
    guest.save.rflags &= ~rflags::interrupt;
    make_pending();
    EXPECT_EQ(guest.run(), ExitCode::Intr);
}

CHECK(group, "intr-held-by-the-host-s-if",
      "APM 2, 15.21.1: the host's IF at VMRUN controls physical interrupts") {
    Guest guest(do_nothing);
    guest.save.rflags |= rflags::interrupt;
    make_pending();
    asm volatile("cli");
    const auto code = guest.run_gif_clear();
    const bool end = guest.at_end();
    asm volatile("sti");
    stgi();
    EXPECT_EQ(code, ExitCode::Hlt);
    EXPECT(end);
    EXPECT_EQ(interrupts_taken[vector], 1);
}

CHECK(group, "intr-by-the-guest-s-if-without-masking", "APM 2, 15.21.1: V_INTR_MASKING = 0") {
    Guest guest(do_nothing);
    guest.control.interrupt_control = 0;
    guest.save.rflags |= rflags::interrupt;
    make_pending();
    EXPECT_EQ(guest.run(), ExitCode::Intr);
    EXPECT_EQ(interrupts_taken[vector], 1);
}

CHECK(group, "intr-held-by-the-guest-s-if-without-masking", "APM 2, 15.21.1: V_INTR_MASKING = 0") {
    Guest guest(do_nothing);
    guest.control.interrupt_control = 0;
    guest.save.rflags &= ~rflags::interrupt;
    make_pending();
    EXPECT_EQ(guest.run(), ExitCode::Hlt);
    EXPECT(guest.at_end());
    EXPECT_EQ(interrupts_taken[vector], 1);
}

CHECK(group, "intr-to-the-guest-when-not-intercepted", "APM 2, 15.13.1") {
    Guest guest(do_nothing);
    guest.control.interrupt_control = 0;
    guest.control.intercepts1 &= ~intercept1::intr;
    guest.save.rflags |= rflags::interrupt;
    make_pending();
    const auto code = guest.run_gif_clear();
    local_apic::end_of_interrupt(); // the guest has acknowledged it
    stgi();
    EXPECT_EQ(code, ExitCode::Hlt);
    EXPECT_EQ(guest.handler(), vector);
    EXPECT_EQ(interrupts_taken[vector], 0);
}

CHECK(group, "intr-held-by-the-apic-s-tpr", "APM 2, 15.21.2: the APIC's TPR controls physical interrupts") {
    Guest guest(do_nothing);
    local_apic::set_task_priority(0xf0);
    make_pending();
    const auto code = guest.run();
    const bool early = interrupts_taken[vector] != 0;
    local_apic::set_task_priority(0);
    asm volatile("nop; nop; nop");
    EXPECT_EQ(code, ExitCode::Hlt);
    EXPECT(!early);
    EXPECT_EQ(interrupts_taken[vector], 1);
}

CHECK(group, "intr-while-the-guest-spins", "APM 2, 15.13.1") {
    Guest guest(spin);
    local_apic::arm_timer(0);
    clgi();
    local_apic::send_self(vector);
    EXPECT_EQ(guest.run(), ExitCode::Intr);
    EXPECT_EQ(interrupts_taken[vector], 1);
}

CHECK(group, "intr-is-not-reported-as-an-event",
      "APM 2, 15.13.1: held pending, so nothing was being delivered") {
    Guest guest(do_nothing);
    make_pending();
    EXPECT_EQ(guest.run(), ExitCode::Intr);
    EXPECT_EQ(guest.control.exit_interrupt & event::valid, 0);
}

CHECK(group, "gif-holds-interrupts", "APM 2, 15.17, table 15-10") {
    make_pending();
    for (unsigned i = 0; i < 100; ++i)
        asm volatile("nop");
    EXPECT_EQ(interrupts_taken[vector], 0);
    stgi();
    asm volatile("nop");
    EXPECT_EQ(interrupts_taken[vector], 1);
}

CHECK(group, "gif-holds-nmis", "APM 2, 15.17, table 15-10; 15.21.9") {
    clgi();
    local_apic::send_nmi_to_self();
    for (unsigned i = 0; i < 100; ++i)
        asm volatile("pause");
    EXPECT_EQ(interrupts_taken[vector_nmi], 0);
    stgi();
    asm volatile("nop");
    EXPECT_EQ(interrupts_taken[vector_nmi], 1);
}

CHECK(group, "exit-clears-gif", "APM 2, 15.6, 15.17") {
    Guest guest(do_nothing);
    EXPECT_EQ(guest.run_gif_clear(), ExitCode::Hlt);
    local_apic::send_self(vector);
    while (!local_apic::requested(vector))
        vmm::pause();
    EXPECT_EQ(interrupts_taken[vector], 0);
    stgi();
    asm volatile("nop");
    EXPECT_EQ(interrupts_taken[vector], 1);
}

CHECK(group, "nmi-exits", "APM 2, 15.13.2, 15.21.9, table 15-13") {
    Guest guest(spin);
    clgi();
    local_apic::send_nmi_to_self();
    EXPECT_EQ(guest.run_gif_clear(), ExitCode::Nmi);
    EXPECT_EQ(interrupts_taken[vector_nmi], 0);
    stgi();
    asm volatile("nop");
    EXPECT_EQ(interrupts_taken[vector_nmi], 1);
}

CHECK(group, "nmi-to-the-guest-when-not-intercepted", "APM 2, 15.21.9, table 15-13") {
    Guest guest(spin);
    guest.control.intercepts1 &= ~intercept1::nmi;
    clgi();
    local_apic::send_nmi_to_self();
    guest.run_to_handler(vector_nmi);
    EXPECT_EQ(interrupts_taken[vector_nmi], 0);
    // Leaves the handler, and with it the blocking of NMIs, in the guest.
    guest.skip(1);
    make_pending();
    EXPECT_EQ(guest.run(), ExitCode::Intr);
}

CHECK(group, "nmi-blocked-until-iret", "APM 2, 8.2.3, 15.21.9") {
    Guest guest(spin);
    guest.control.intercepts1 &= ~intercept1::nmi;
    clgi();
    local_apic::send_nmi_to_self();
    guest.run_to_handler(vector_nmi);
    clgi();
    local_apic::send_nmi_to_self();
    guest.skip(1);
    guest.control.intercepts1 |= intercept1::iret;
    // The handler goes on to its IRET; the second NMI must not come before.
    REQUIRE_EQ(guest.run(), ExitCode::Iret);
    guest.control.intercepts1 &= ~intercept1::iret;
    guest.run_to_handler(vector_nmi);
    guest.skip(1);
    make_pending();
    EXPECT_EQ(guest.run(), ExitCode::Intr);
}

CHECK(group, "nmi-before-intr", "APM 2, 8.5: NMI has the higher priority") {
    Guest guest(do_nothing);
    make_pending();
    local_apic::send_nmi_to_self();
    EXPECT_EQ(guest.run(), ExitCode::Nmi);
}

// Virtual interrupts.

/// To be taken when the guest sets IF.
void make_virtual(Guest& guest, std::uint32_t priority = high_priority) {
    guest.save.rflags &= ~rflags::interrupt;
    guest.control.interrupt_control |= interrupt_control::irq | priority;
    guest.control.interrupt_vector = vector;
}

CHECK(group, "virtual-is-taken", "APM 2, 15.21.4") {
    Guest guest(do_nothing);
    make_virtual(guest);
    guest.save.rflags |= rflags::interrupt;
    const auto rip = guest.save.rip;
    guest.run_to_handler(vector);
    EXPECT_EQ(guest.frame()[0], rip);
    EXPECT_EQ(guest.control.interrupt_control & interrupt_control::irq, 0);
}

CHECK(group, "virtual-waits-for-if", "APM 2, 15.21.4") {
    Guest guest(do_nothing);
    make_virtual(guest);
    guest.run_to_end();
    EXPECT((guest.control.interrupt_control & interrupt_control::irq) != 0);
}

CHECK(group, "virtual-after-popf", "APM 2, 15.21.4") {
    Guest guest(do_popf);
    *reinterpret_cast<std::uint64_t*>(guest.save.rsp) = rflags::fixed | rflags::interrupt;
    make_virtual(guest);
    guest.run_to_handler(vector);
    EXPECT_EQ(guest.frame()[0], at(after_popf));
}

CHECK(group, "virtual-after-the-shadow-of-sti", "APM 2, 15.21.5, 8.3: one instruction after STI") {
    Guest guest(do_sti);
    make_virtual(guest);
    guest.run_to_handler(vector);
    EXPECT_EQ(guest.frame()[0], at(after_shadow));
}

CHECK(group, "virtual-not-between-sti-and-cli", "APM 2, 15.21.5") {
    Guest guest(do_sti_cli);
    make_virtual(guest);
    guest.run_to_end();
}

CHECK(group, "virtual-after-the-shadow-of-mov-ss", "APM 2, 15.21.5, 8.3") {
    Guest guest(do_mov_ss);
    make_virtual(guest);
    // IF is set, and a shadow lasts at entry, so that the first chance is after the first instruction.
    guest.save.rip += 2; // at mov %eax, %ss
    guest.save.rax = selector::data32;
    guest.save.rflags |= rflags::interrupt;
    guest.control.interrupt_state = 1;
    guest.run_to_handler(vector);
    EXPECT_EQ(guest.frame()[0], at(after_ss_shadow));
}

CHECK(group, "virtual-after-a-shadow-at-entry", "APM 2, 15.21.5: the shadow is loaded by VMRUN") {
    Guest guest(do_nothing);
    guest.control.interrupt_state = 1;
    make_virtual(guest);
    guest.save.rflags |= rflags::interrupt;
    const auto rip = guest.save.rip;
    guest.run_to_handler(vector);
    EXPECT_EQ(guest.frame()[0], rip + 1);
}

CHECK(group, "shadow-of-sti-is-saved", "APM 2, 15.21.5: saved on #VMEXIT") {
    Guest guest(do_sti_vmmcall);
    guest.save.rflags &= ~rflags::interrupt;
    REQUIRE_EQ(guest.run(), ExitCode::Vmmcall);
    EXPECT_EQ(guest.control.interrupt_state & 1, 1);
}

CHECK(group, "shadow-of-mov-ss-is-saved", "APM 2, 15.21.5: saved on #VMEXIT") {
    Guest guest(do_mov_ss_vmmcall);
    REQUIRE_EQ(guest.run(), ExitCode::Vmmcall);
    EXPECT_EQ(guest.control.interrupt_state & 1, 1);
}

CHECK(group, "shadow-is-over", "APM 2, 15.21.5") {
    Guest guest(do_sti);
    guest.run_to_end();
    EXPECT_EQ(guest.control.interrupt_state & 1, 0);
}

CHECK(group, "no-shadow-when-if-was-set", "APM 2, 15.21.5: STI that sets IF from zero to one") {
    Guest guest(do_sti_vmmcall);
    guest.save.rflags |= rflags::interrupt;
    REQUIRE_EQ(guest.run(), ExitCode::Vmmcall);
    EXPECT_EQ(guest.control.interrupt_state & 1, 0);
}

CHECK(group, "virtual-wakes-from-hlt", "APM 2, 15.21.4; APM 3, HLT") {
    Guest guest(do_sti_hlt);
    guest.control.intercepts1 &= ~intercept1::hlt;
    guest.control.intercepts1 |= intercept1::vintr;
    make_virtual(guest);
    EXPECT_EQ(guest.run(), ExitCode::Vintr);
    EXPECT_EQ(guest.save.rip, at(sti_hlt_at) + 1);
}

CHECK(group, "vintr-intercept", "APM 2, 15.13.5, 15.21.6: just before it is taken, and it remains pending") {
    Guest guest(do_nothing);
    guest.control.intercepts1 |= intercept1::vintr;
    make_virtual(guest);
    guest.save.rflags |= rflags::interrupt;
    const auto rip = guest.save.rip;
    EXPECT_EQ(guest.run(), ExitCode::Vintr);
    EXPECT_EQ(guest.save.rip, rip);
    EXPECT((guest.control.interrupt_control & interrupt_control::irq) != 0);
    // Now it may be taken.
    guest.control.intercepts1 &= ~intercept1::vintr;
    guest.run_to_handler(vector);
}

CHECK(group, "vintr-intercept-is-an-interrupt-window", "APM 2, 15.21.6: when interrupts become enabled") {
    Guest guest(do_sti);
    guest.control.intercepts1 |= intercept1::vintr;
    make_virtual(guest);
    EXPECT_EQ(guest.run(), ExitCode::Vintr);
    EXPECT_EQ(guest.save.rip, at(after_shadow));
}

CHECK(group, "physical-before-virtual", "APM 2, 15.21.4: physical interrupts take priority") {
    Guest guest(do_nothing);
    make_virtual(guest);
    guest.save.rflags |= rflags::interrupt;
    make_pending(second_vector);
    EXPECT_EQ(guest.run(), ExitCode::Intr);
    EXPECT((guest.control.interrupt_control & interrupt_control::irq) != 0);
}

struct Priority {
    const char* name;
    unsigned priority, tpr;
    bool ignore, taken;
};
constexpr Priority priorities[] = {
    {"above", 6, 5, false, true},        {"equal", 5, 5, false, false},
    {"below", 4, 5, false, false},       {"zero-and-zero", 0, 0, false, false},
    {"one-and-zero", 1, 0, false, true}, {"fifteen-and-fifteen", 15, 15, false, false},
    {"ignored-below", 4, 5, true, true}, {"ignored-highest", 0, 15, true, true}};

FAMILY(group, "priority-", priorities, "APM 2, 15.21.4: V_INTR_PRIO against V_TPR, V_IGN_TPR") {
    Guest guest(do_nothing);
    make_virtual(guest, row.priority << interrupt_control::priority_shift);
    guest.save.rflags |= rflags::interrupt;
    guest.control.interrupt_control |= row.tpr | (row.ignore ? interrupt_control::ignore_tpr : 0);
    if (row.taken) {
        guest.run_to_handler(vector);
        return;
    }
    guest.run_to_end();
    EXPECT((guest.control.interrupt_control & interrupt_control::irq) != 0);
}

CHECK(group, "lowered-tpr-lets-it-in", "APM 2, 15.21.2, 15.21.4") {
    Guest guest(do_lower_tpr);
    make_virtual(guest, 5 << interrupt_control::priority_shift);
    guest.save.rflags |= rflags::interrupt;
    guest.control.interrupt_control |= 9;
    guest.run_to_handler(vector);
    EXPECT_EQ(guest.frame()[0], at(after_tpr));
}

CHECK(group, "cr8-is-v-tpr", "APM 2, 15.21.2: V_INTR_MASKING = 1") {
    Guest guest(do_write_tpr);
    guest.set(abi::rcx, 11);
    guest.run_to_end();
    EXPECT_EQ(guest.control.interrupt_control & interrupt_control::tpr_mask, 11);
    std::uint64_t host = 0;
    asm volatile("mov %%cr8, %0" : "=r"(host));
    EXPECT_EQ(host, 0);
}

CHECK(group, "cr8-is-both-without-masking", "APM 2, 15.21.2: V_INTR_MASKING = 0") {
    Guest guest(do_write_tpr);
    guest.control.interrupt_control = 0;
    guest.set(abi::rcx, 11);
    guest.run_to_end();
    std::uint64_t host = 0;
    asm volatile("mov %%cr8, %0" : "=r"(host));
    local_apic::set_task_priority(0);
    EXPECT_EQ(guest.control.interrupt_control & interrupt_control::tpr_mask, 11);
    EXPECT_EQ(host, 11);
}

CHECK(group, "virtual-does-not-stay-in-root-mode", "APM 2, 15.6: V_IRQ is cleared inside the processor") {
    Guest guest(do_nothing);
    make_virtual(guest);
    guest.run_to_end();
    for (unsigned i = 0; i < 100; ++i)
        asm volatile("nop");
    EXPECT_EQ(interrupts_taken[vector], 0);
}

CHECK(group, "if-of-the-host-is-restored",
      "APM 2, 15.5.1: guest values of EFLAGS have no effect on the host") {
    Guest guest(do_sti_cli);
    guest.run_to_end();
    std::uint64_t flags = 0;
    asm volatile("pushf; pop %0" : "=r"(flags));
    EXPECT((flags & rflags::interrupt) != 0);
}

} // namespace

} // namespace escalus::nested::svm
