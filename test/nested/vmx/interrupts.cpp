// SPDX-License-Identifier: GPL-2.0-or-later
// What arrives while a guest runs: external interrupts, NMIs and virtual NMIs, interrupt and NMI windows, the
// TPR threshold, the preemption timer; and the activity states that wait for it.
#include "test/nested/framework/interrupts.hpp"

#include "test/nested/framework/local_apic.hpp"
#include "test/nested/guests/interrupts_code.hpp"
#include "test/nested/vmx/guest.hpp"
#include "vmm/cpu/apic.hpp"

namespace escalus::nested::vmx {

namespace {

constexpr Group group{"vmx-interrupts", "interrupts, NMIs, windows, TPR threshold, timer, activity", vendor};
constexpr std::uint8_t vector = 0x61;
constexpr unsigned vector_nmi = 2;

GUEST_CODE(do_nothing, 64, "nop; nop");
GUEST_CODE(do_sti_vmcall, 64, "sti; vmcall");
GUEST_CODE(do_mov_ss_vmcall, 64, "mov %ss, %eax; mov %eax, %ss; vmcall");
GUEST_CODE(do_pop_ss_vmcall, 32, "push %ss; pop %ss; vmcall");
GUEST_CODE(do_hlt, 64, "hlt; nop");
GUEST_CODE(do_iret, 64, "iretq");

std::uint64_t at(const char* label) {
    return reinterpret_cast<std::uint64_t>(label);
}

/// An interrupt is pending for root mode when the guest is entered.
void make_pending() {
    asm volatile("cli");
    local_apic::send_self(vector);
    while (!local_apic::requested(vector)) // the timer ends a wait in vain
        vmm::pause();
}

/// What IRET takes from the stack, to go on at `target`.
void push_return(std::uint64_t target) {
    auto* stack = reinterpret_cast<std::uint64_t*>(read(Field::GuestRsp));
    stack[0] = target;
    stack[1] = selector::code64;
    stack[2] = rflags::fixed | rflags::interrupt;
    stack[3] = read(Field::GuestRsp);
    stack[4] = selector::data32;
}

// External interrupts.

CHECK(group, "interrupt-exits-before-the-first-instruction", "SDM 3C, 25.2") {
    Guest guest(do_nothing);
    const auto start = rip();
    make_pending();
    EXPECT_EQ(guest.run_masked(), ExitReason::ExternalInterrupt);
    EXPECT_EQ(rip(), start);
    EXPECT_EQ(interrupts_taken[vector], 0);
    asm volatile("sti; nop");
    EXPECT_EQ(interrupts_taken[vector], 1);
}
CHECK(group, "interrupt-exits-whatever-if-says", "SDM 3C, 25.2, table 24-5") {
    Guest guest(do_nothing);
    clear_bits(Field::GuestRflags, rflags::interrupt);
    make_pending();
    EXPECT_EQ(guest.run(), ExitReason::ExternalInterrupt);
}
CHECK(group, "interrupt-exits-in-the-shadow-of-sti",
      "SDM 3C, 25.2, 24.4.2: blocking by STI does not hold it") {
    Guest guest(do_nothing);
    set_bits(Field::GuestRflags, rflags::interrupt);
    write(Field::GuestInterruptibility, blocking::sti);
    make_pending();
    EXPECT_EQ(guest.run(), ExitReason::ExternalInterrupt);
}
CHECK(group, "interrupt-while-the-guest-spins", "SDM 3C, 25.2") {
    Guest guest(spin);
    set_bits(Field::GuestRflags, rflags::interrupt);
    local_apic::arm_timer(0);
    asm volatile("cli");
    local_apic::send_self(vector);
    EXPECT_EQ(guest.run(), ExitReason::ExternalInterrupt);
    EXPECT_EQ(interrupts_taken[vector], 1);
}
CHECK(group, "interrupt-is-not-acknowledged", "SDM 3C, 27.2.2: without the control there is no vector") {
    Guest guest(do_nothing);
    make_pending();
    EXPECT_EQ(guest.run_masked(), ExitReason::ExternalInterrupt);
    EXPECT_EQ(read(Field::ExitEvent) & event::valid, 0);
    EXPECT(local_apic::requested(vector));
    asm volatile("sti; nop");
}
CHECK(group, "interrupt-is-acknowledged", "SDM 3C, 27.2.2, 24.7.1: acknowledge interrupt on exit") {
    Guest guest(do_nothing);
    need_exit(exit_control::acknowledge);
    make_pending();
    const auto exit = guest.run_masked();
    const auto info = read(Field::ExitEvent);
    const bool still = local_apic::requested(vector);
    local_apic::end_of_interrupt();
    asm volatile("sti; nop");
    EXPECT_EQ(exit, ExitReason::ExternalInterrupt);
    EXPECT_EQ(info, event_of(event::external, vector));
    EXPECT(!still);
    EXPECT_EQ(interrupts_taken[vector], 0);
}
CHECK(group, "interrupt-held-by-the-apic-s-tpr", "SDM 3C, 25.2; SDM 3A, 10.8.3.1") {
    Guest guest(do_nothing);
    local_apic::set_task_priority(0xf0);
    make_pending();
    const auto exit = guest.run();
    const bool early = interrupts_taken[vector] != 0;
    local_apic::set_task_priority(0);
    asm volatile("nop; nop; nop");
    EXPECT_EQ(exit, ExitReason::Hlt);
    EXPECT(!early);
    EXPECT_EQ(interrupts_taken[vector], 1);
}
CHECK(group, "interrupt-to-the-guest-without-the-control", "SDM 3C, 25.2, table 24-5") {
    Guest guest(do_nothing);
    if ((capabilities.pin & pin::external_interrupts) != 0)
        skip("they always exit");
    clear_bits(Field::PinControls, pin::external_interrupts);
    set_bits(Field::GuestRflags, rflags::interrupt);
    make_pending();
    const auto exit = guest.run_masked();
    local_apic::end_of_interrupt(); // the guest has acknowledged it
    asm volatile("sti; nop");
    EXPECT_EQ(exit, ExitReason::Hlt);
    EXPECT_EQ(guest.handler(), vector);
    EXPECT_EQ(interrupts_taken[vector], 0);
}
CHECK(group, "interrupt-held-by-the-guest-s-if-without-the-control", "SDM 3C, 25.2, table 24-5") {
    Guest guest(do_nothing);
    if ((capabilities.pin & pin::external_interrupts) != 0)
        skip("they always exit");
    clear_bits(Field::PinControls, pin::external_interrupts);
    make_pending();
    guest.run_to_end();
    EXPECT_EQ(interrupts_taken[vector], 1);
}
CHECK(group, "interrupt-after-an-injected-event", "SDM 3C, 26.5, 26.6.5: the event is delivered first") {
    Guest guest(do_nothing);
    inject(event::hardware_exception, 13, 0);
    make_pending();
    EXPECT_EQ(guest.run(), ExitReason::ExternalInterrupt);
    EXPECT_EQ(Guest::frame()[0], 0); // the error code
    EXPECT_EQ(rip(), at(guest_handlers64) + 13 * handler_bytes);
    EXPECT_EQ(read(Field::VectoringEvent) & event::valid, 0);
}
CHECK(group, "interrupt-wakes-from-hlt", "SDM 3C, 25.2, 27.1: HLT that does not exit") {
    if ((capabilities.misc & 1 << 6) == 0)
        skip("no HLT activity state");
    Guest guest(do_hlt);
    clear_bits(Field::PrimaryControls, primary::hlt);
    set_bits(Field::GuestRflags, rflags::interrupt);
    local_apic::arm_timer(0);
    asm volatile("cli");
    local_apic::send_self(vector);
    EXPECT_EQ(guest.run(), ExitReason::ExternalInterrupt);
    EXPECT_EQ(interrupts_taken[vector], 1);
}
CHECK(group, "hlt-state-is-saved", "SDM 3C, 27.3.4: the activity state before the exit") {
    if ((capabilities.misc & 1 << 6) == 0)
        skip("no HLT activity state");
    Guest guest(do_nothing);
    set_bits(Field::GuestRflags, rflags::interrupt);
    write(Field::GuestActivity, activity::hlt);
    make_pending();
    const auto start = rip();
    EXPECT_EQ(guest.run(), ExitReason::ExternalInterrupt);
    EXPECT_EQ(read(Field::GuestActivity), activity::hlt);
    EXPECT_EQ(rip(), start);
}
// NMIs.

GUEST_CODE(send_nmi, 64, "mov %eax, (%rdi); spin_for_nmi: pause; jmp spin_for_nmi");
GUEST_CODE(send_nmi_then_iret, 64, "mov %eax, (%rdi); nop; nop; nop; iretq");

/// A guest that sends itself an NMI through the local APIC's ICR.
Guest sending_nmi(Code code) {
    Guest guest(code);
    if ((vmm::read_msr(msr::apic_base) & 1 << 10) != 0)
        skip("the local APIC is in x2APIC mode");
    set_bits(Field::GuestRflags, rflags::interrupt); // for the timer, should nothing come
    guest.set(abi::rdi, (vmm::read_msr(msr::apic_base) & ~0xfffull) + 0x300);
    constexpr std::uint32_t icr_high = 0x310, nmi = 4 << 8, assert_level = 1 << 14;
    vmm::apic::write(icr_high, vmm::apic::id() << 24);
    guest.set(abi::rax, nmi | assert_level);
    return guest;
}
CHECK(group, "nmi-in-the-guest-exits", "SDM 3C, 25.2") {
    Guest guest = sending_nmi(send_nmi);
    EXPECT_EQ(guest.run(), ExitReason::ExceptionOrNmi);
    EXPECT_EQ(read(Field::ExitEvent), event_of(event::nmi, 2));
    EXPECT_EQ(interrupts_taken[vector_nmi], 1); // by run(), to unblock
}
CHECK(group, "nmi-to-the-guest-without-the-control", "SDM 3C, 25.2, table 24-5") {
    if ((capabilities.pin & pin::nmi) != 0)
        skip("they always exit");
    Guest guest = sending_nmi(send_nmi);
    clear_bits(Field::PinControls, pin::nmi);
    guest.run_to_handler(vector_nmi);
    EXPECT((read(Field::GuestInterruptibility) & blocking::nmi) != 0);
}
CHECK(group, "nmi-blocking-ends-with-iret", "SDM 3C, 25.3, 24.4.2") {
    Guest guest(do_iret);
    clear_bits(Field::PinControls, pin::nmi);
    set_bits(Field::GuestInterruptibility, blocking::nmi);
    push_return(rip() + 2);
    guest.run_to_end();
    EXPECT_EQ(read(Field::GuestInterruptibility) & blocking::nmi, 0);
}
CHECK(group, "nmi-blocking-stays-without-iret", "SDM 3C, 26.3.2.5, 27.3.4") {
    Guest guest(do_nothing);
    set_bits(Field::GuestInterruptibility, blocking::nmi);
    guest.run_to_end();
    EXPECT((read(Field::GuestInterruptibility) & blocking::nmi) != 0);
    asm volatile("int $2"); // blocked in root mode too, until an IRET
}
CHECK(group, "blocked-nmi-waits-for-iret", "SDM 3C, 25.3, 24.4.2: without NMI exiting") {
    if ((capabilities.pin & pin::nmi) != 0)
        skip("they always exit");
    Guest guest = sending_nmi(send_nmi_then_iret);
    clear_bits(Field::PinControls, pin::nmi);
    set_bits(Field::GuestInterruptibility, blocking::nmi);
    push_return(reinterpret_cast<std::uint64_t>(spin.start));
    guest.run_to_handler(vector_nmi);
    EXPECT(Guest::frame()[0] >= reinterpret_cast<std::uint64_t>(spin.start));
    EXPECT(Guest::frame()[0] < reinterpret_cast<std::uint64_t>(spin.end));
}
CHECK(group, "iret-does-not-unblock-nmis-that-exit",
      "SDM 3C, 25.3: with NMI exiting and without virtual NMIs") {
    Guest guest(do_iret);
    need_pin(pin::nmi);
    set_bits(Field::GuestInterruptibility, blocking::nmi);
    push_return(rip() + 2);
    guest.run_to_end();
    EXPECT((read(Field::GuestInterruptibility) & blocking::nmi) != 0);
}
CHECK(group, "virtual-nmi-blocking-does-not-hold-physical-nmis", "SDM 3C, 24.6.1, table 24-5; 25.2") {
    Guest guest = sending_nmi(send_nmi);
    need_pin(pin::virtual_nmis);
    set_bits(Field::GuestInterruptibility, blocking::nmi);
    EXPECT_EQ(guest.run(), ExitReason::ExceptionOrNmi);
    EXPECT_EQ(read(Field::ExitEvent), event_of(event::nmi, 2));
    EXPECT((read(Field::GuestInterruptibility) & blocking::nmi) != 0);
}
CHECK(group, "virtual-nmi-blocking-ends-with-iret", "SDM 3C, 25.3") {
    Guest guest(do_iret);
    need_pin(pin::virtual_nmis);
    set_bits(Field::GuestInterruptibility, blocking::nmi);
    push_return(rip() + 2);
    guest.run_to_end();
    EXPECT_EQ(read(Field::GuestInterruptibility) & blocking::nmi, 0);
}
CHECK(group, "nmi-before-interrupt", "SDM 3A, 6.9: NMI has the higher priority") {
    if ((vmm::read_msr(msr::apic_base) & 1 << 10) != 0)
        skip("the local APIC is in x2APIC mode");
    Guest guest = sending_nmi(send_nmi_then_iret);
    need_pin(pin::nmi);
    clear_bits(Field::PinControls, pin::external_interrupts);
    clear_bits(Field::GuestRflags, rflags::interrupt);
    make_pending(); // held by the guest's IF
    EXPECT_EQ(guest.run(), ExitReason::ExceptionOrNmi);
    EXPECT_EQ(interrupts_taken[vector], 1);
}
struct IretFault {
    const char* name;
    bool virtual_nmis;
};
constexpr IretFault iret_faults[] = {{"with-virtual-nmis", true}, {"without-virtual-nmis", false}};
FAMILY(group, "iret-that-faults-", iret_faults, "SDM 3C, 27.2.2: bit 12 says that IRET had unblocked NMIs") {
    Guest guest(do_iret);
    if (row.virtual_nmis)
        need_pin(pin::virtual_nmis);
    else if ((capabilities.pin & pin::nmi) != 0)
        skip("NMIs always exit");
    else
        clear_bits(Field::PinControls, pin::nmi);
    set_bits(Field::GuestInterruptibility, blocking::nmi);
    write(Field::GuestRsp, 1ull << 40); // no frame there
    write(Field::ExceptionBitmap, 1 << 14);
    const auto exit = guest.run();
    asm volatile("int $2");
    EXPECT_EQ(exit, ExitReason::ExceptionOrNmi);
    EXPECT((read(Field::ExitEvent) & event::nmi_unblocked) != 0);
    EXPECT_EQ(read(Field::GuestInterruptibility) & blocking::nmi, 0);
}

// Windows.

CHECK(group, "interrupt-window-at-entry", "SDM 3C, 25.2, 26.6.5: before the first instruction") {
    Guest guest(do_nothing);
    need_primary(primary::interrupt_window);
    set_bits(Field::GuestRflags, rflags::interrupt);
    const auto start = rip();
    EXPECT_EQ(guest.run(), ExitReason::InterruptWindow);
    EXPECT_EQ(rip(), start);
}
CHECK(group, "interrupt-window-waits-for-if", "SDM 3C, 25.2") {
    Guest guest(do_nothing);
    need_primary(primary::interrupt_window);
    guest.run_to_end();
}
CHECK(group, "interrupt-window-after-popf", "SDM 3C, 25.2") {
    Guest guest(do_popf);
    need_primary(primary::interrupt_window);
    *reinterpret_cast<std::uint64_t*>(read(Field::GuestRsp)) = rflags::fixed | rflags::interrupt;
    EXPECT_EQ(guest.run(), ExitReason::InterruptWindow);
    EXPECT_EQ(rip(), at(after_popf));
}
CHECK(group, "interrupt-window-after-the-shadow-of-sti", "SDM 3C, 25.2: one instruction after STI") {
    Guest guest(do_sti);
    need_primary(primary::interrupt_window);
    EXPECT_EQ(guest.run(), ExitReason::InterruptWindow);
    EXPECT_EQ(rip(), at(after_shadow));
}
CHECK(group, "interrupt-window-not-between-sti-and-cli", "SDM 3C, 25.2") {
    Guest guest(do_sti_cli);
    need_primary(primary::interrupt_window);
    guest.run_to_end();
}
struct Shadow {
    const char* name;
    std::uint32_t bits;
};
constexpr Shadow shadows[] = {{"sti", blocking::sti}, {"mov-ss", blocking::mov_ss}};
FAMILY(group, "interrupt-window-after-a-shadow-at-entry-of-", shadows, "SDM 3C, 26.6.1, 25.2") {
    Guest guest(do_nothing);
    need_primary(primary::interrupt_window);
    set_bits(Field::GuestRflags, rflags::interrupt);
    write(Field::GuestInterruptibility, row.bits);
    const auto start = rip();
    EXPECT_EQ(guest.run(), ExitReason::InterruptWindow);
    EXPECT_EQ(rip(), start + 1);
}
CHECK(group, "interrupt-window-in-hlt-state", "SDM 3C, 25.2, 26.6.5: wakes from HLT") {
    if ((capabilities.misc & 1 << 6) == 0)
        skip("no HLT activity state");
    Guest guest(do_nothing);
    need_primary(primary::interrupt_window);
    set_bits(Field::GuestRflags, rflags::interrupt);
    write(Field::GuestActivity, activity::hlt);
    EXPECT_EQ(guest.run(), ExitReason::InterruptWindow);
    EXPECT_EQ(read(Field::GuestActivity), activity::hlt);
}
CHECK(group, "interrupt-window-after-an-injected-event",
      "SDM 3C, 26.6.5: after the event's delivery, if IF is still set") {
    Guest guest(do_nothing);
    need_primary(primary::interrupt_window);
    set_bits(Field::GuestRflags, rflags::interrupt);
    guest_memory.idt[6 * 16 + 5] = 0xef; // a trap gate leaves IF
    inject(event::hardware_exception, 6);
    EXPECT_EQ(guest.run(), ExitReason::InterruptWindow);
    EXPECT_EQ(rip(), at(guest_handlers64) + 6 * handler_bytes);
}
CHECK(group, "interrupt-before-interrupt-window",
      "SDM 3C, 25.2: a window exit has the priority of an interrupt, below it") {
    Guest guest(do_nothing);
    need_primary(primary::interrupt_window);
    set_bits(Field::GuestRflags, rflags::interrupt);
    make_pending();
    const auto exit = guest.run();
    EXPECT(exit == ExitReason::InterruptWindow || exit == ExitReason::ExternalInterrupt);
}
CHECK(group, "nmi-window-at-entry", "SDM 3C, 25.2, 26.6.6") {
    Guest guest(do_nothing);
    need_pin(pin::virtual_nmis);
    need_primary(primary::nmi_window);
    const auto start = rip();
    EXPECT_EQ(guest.run(), ExitReason::NmiWindow);
    EXPECT_EQ(rip(), start);
}
CHECK(group, "nmi-window-waits-for-iret", "SDM 3C, 25.2") {
    Guest guest(do_iret);
    need_pin(pin::virtual_nmis);
    need_primary(primary::nmi_window);
    set_bits(Field::GuestInterruptibility, blocking::nmi);
    const auto next = rip() + 2;
    push_return(next);
    EXPECT_EQ(guest.run(), ExitReason::NmiWindow);
    EXPECT_EQ(rip(), next);
}
CHECK(group, "nmi-window-not-while-blocked", "SDM 3C, 25.2") {
    Guest guest(do_nothing);
    need_pin(pin::virtual_nmis);
    need_primary(primary::nmi_window);
    set_bits(Field::GuestInterruptibility, blocking::nmi);
    guest.run_to_end();
}
CHECK(group, "nmi-window-after-mov-ss", "SDM 3C, 25.2: not while MOV SS blocks") {
    Guest guest(do_nothing);
    need_pin(pin::virtual_nmis);
    need_primary(primary::nmi_window);
    write(Field::GuestInterruptibility, blocking::mov_ss);
    const auto start = rip();
    EXPECT_EQ(guest.run(), ExitReason::NmiWindow);
    EXPECT_EQ(rip(), start + 1);
}
CHECK(group, "nmi-window-before-interrupt-window",
      "SDM 3C, 25.2: NMI-window exits have the higher priority") {
    Guest guest(do_nothing);
    need_pin(pin::virtual_nmis);
    need_primary(primary::nmi_window);
    need_primary(primary::interrupt_window);
    set_bits(Field::GuestRflags, rflags::interrupt);
    EXPECT_EQ(guest.run(), ExitReason::NmiWindow);
}

// Interrupt shadows at exits.

CHECK(group, "shadow-of-sti-is-saved", "SDM 3C, 27.3.4") {
    Guest guest(do_sti_vmcall);
    REQUIRE_EQ(guest.run(), ExitReason::Vmcall);
    EXPECT_EQ(read(Field::GuestInterruptibility) & blocking::shadow, blocking::sti);
}
CHECK(group, "shadow-of-mov-ss-is-saved", "SDM 3C, 27.3.4") {
    Guest guest(do_mov_ss_vmcall);
    REQUIRE_EQ(guest.run(), ExitReason::Vmcall);
    EXPECT_EQ(read(Field::GuestInterruptibility) & blocking::shadow, blocking::mov_ss);
}
CHECK(group, "shadow-of-pop-ss-is-saved", "SDM 3C, 27.3.4") {
    Guest guest(Mode::Paged32, do_pop_ss_vmcall);
    REQUIRE_EQ(guest.run(), ExitReason::Vmcall);
    EXPECT_EQ(read(Field::GuestInterruptibility) & blocking::shadow, blocking::mov_ss);
}
CHECK(group, "no-shadow-when-if-was-set", "SDM 2, STI: only when IF was 0") {
    Guest guest(do_sti_vmcall);
    set_bits(Field::GuestRflags, rflags::interrupt);
    REQUIRE_EQ(guest.run(), ExitReason::Vmcall);
    EXPECT_EQ(read(Field::GuestInterruptibility) & blocking::shadow, 0);
}
CHECK(group, "shadow-is-over", "SDM 3C, 27.3.4") {
    Guest guest(do_sti);
    guest.run_to_end();
    EXPECT_EQ(read(Field::GuestInterruptibility) & blocking::shadow, 0);
}

// The TPR threshold at entry.

CHECK(group, "tpr-threshold-at-entry",
      "SDM 3C, 26.6.7: with virtualized APIC accesses the exit comes after entry") {
    Guest guest(do_nothing);
    need_primary(primary::tpr_shadow);
    need_secondary(secondary::apic_accesses);
    write(Field::ApicAccessPage, reinterpret_cast<std::uint64_t>(guest_memory.data) + page_size);
    guest.virtual_apic[0x80] = 0x30;
    write(Field::TprThreshold, 5);
    const auto start = rip();
    EXPECT_EQ(guest.run(), ExitReason::TprBelowThreshold);
    EXPECT_EQ(rip(), start);
}

// The preemption timer.

GUEST_CODE(long_loop, 64, "mov $100000000, %ecx; 1: dec %ecx; jnz 1b");
CHECK(group, "preemption-timer-0", "SDM 3C, 25.5.1, 26.6.4: before the first instruction") {
    Guest guest(do_nothing);
    need_pin(pin::preemption_timer);
    const auto start = rip();
    EXPECT_EQ(guest.run(), ExitReason::PreemptionTimer);
    EXPECT_EQ(rip(), start);
}
CHECK(group, "preemption-timer-counts", "SDM 3C, 25.5.1") {
    Guest guest(long_loop);
    set_bits(Field::GuestRflags, rflags::interrupt);
    need_pin(pin::preemption_timer);
    write(field::preemption_timer, 1000);
    EXPECT_EQ(guest.run(), ExitReason::PreemptionTimer);
}
CHECK(group, "preemption-timer-not-yet", "SDM 3C, 25.5.1") {
    Guest guest(do_nothing);
    need_pin(pin::preemption_timer);
    write(field::preemption_timer, 0x7fff'ffff);
    guest.run_to_end();
}
CHECK(group, "preemption-timer-is-saved", "SDM 3C, 25.5.1, 27.3.4") {
    Guest guest([] {
        for (unsigned i = 0; i < 10000; ++i)
            asm volatile("pause");
    });
    need_pin(pin::preemption_timer);
    need_exit(exit_control::save_preemption_timer);
    write(field::preemption_timer, 0x7fff'ffff);
    guest.run_to_end();
    EXPECT(read(field::preemption_timer) < 0x7fff'ffff);
    EXPECT(read(field::preemption_timer) > 0);
}
CHECK(group, "preemption-timer-is-not-saved", "SDM 3C, 27.3.4: without the control the field stays") {
    Guest guest(do_nothing);
    need_pin(pin::preemption_timer);
    write(field::preemption_timer, 0x7fff'ffff);
    guest.run_to_end();
    EXPECT_EQ(read(field::preemption_timer), 0x7fff'ffff);
}
CHECK(group, "preemption-timer-saved-as-0", "SDM 3C, 27.3.4") {
    Guest guest(long_loop);
    set_bits(Field::GuestRflags, rflags::interrupt);
    need_pin(pin::preemption_timer);
    need_exit(exit_control::save_preemption_timer);
    write(field::preemption_timer, 500);
    EXPECT_EQ(guest.run(), ExitReason::PreemptionTimer);
    EXPECT_EQ(read(field::preemption_timer), 0);
}
struct Inactive {
    const char* name;
    std::uint64_t state;
};
constexpr Inactive inactives[] = {{"hlt", activity::hlt}, {"shutdown", activity::shutdown}};
FAMILY(group, "preemption-timer-in-state-", inactives,
       "SDM 3C, 25.5.1: it ends any state but wait-for-SIPI") {
    if ((capabilities.misc >> (5 + row.state) & 1) == 0)
        skip("this CPU does not have the activity state");
    Guest guest(do_nothing);
    need_pin(pin::preemption_timer);
    set_bits(Field::GuestRflags, rflags::interrupt);
    write(Field::GuestActivity, row.state);
    write(field::preemption_timer, 100);
    const auto start = rip();
    EXPECT_EQ(guest.run(), ExitReason::PreemptionTimer);
    EXPECT_EQ(rip(), start);
}

CHECK(group, "host-if-is-clear-after-an-exit", "SDM 3C, 27.5.3: RFLAGS is 2") {
    Guest guest(do_sti);
    guest.run_masked();
    std::uint64_t flags = 0;
    asm volatile("pushf; pop %0; sti" : "=r"(flags));
    EXPECT_EQ(flags & rflags::interrupt, 0);
}

} // namespace

} // namespace escalus::nested::vmx
