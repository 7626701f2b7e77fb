// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/nested/framework/interrupts.hpp"

#include "test/nested/framework/check.hpp"
#include "test/nested/framework/local_apic.hpp"
#include "vmm/cpu/exceptions.hpp"
#include "vmm/cpu/instructions.hpp"

extern "C" const char interrupt_stubs[];

namespace escalus::nested {

constinit volatile unsigned interrupts_taken[256] = {};
constinit InterruptFrame last_fault{};

namespace {

constexpr std::uint64_t stub_bytes = 16;
constexpr unsigned vector_nmi = 2, first_interrupt = 32;
constinit vmm::Gate idt[256] = {};
constinit bool fault_expected = false;

} // namespace

void start_interrupts() {
    // The 8259s are masked: what comes to this CPU, the suite sends itself.
    vmm::out8(0x21, 0xff);
    vmm::out8(0xa1, 0xff);
    for (unsigned vector = 0; vector < 256; ++vector)
        idt[vector] = vmm::gate_to(reinterpret_cast<std::uint64_t>(interrupt_stubs) + vector * stub_bytes);
    vmm::load_idt(idt, 256);
}

void forget_interrupts() {
    for (auto& count : interrupts_taken)
        count = 0;
    fault_expected = false;
}

void expect_fault(bool expected) {
    fault_expected = expected;
}

extern "C" void nested_interrupt(const InterruptFrame* frame) {
    const auto vector = static_cast<unsigned>(frame->vector);
    interrupts_taken[vector] = interrupts_taken[vector] + 1;
    if (vector == timer_vector) {
        local_apic::end_of_interrupt();
        leave_check(Outcome::TimedOut);
    }
    if (vector >= first_interrupt) {
        if (vector != spurious_vector)
            local_apic::end_of_interrupt();
        return;
    }
    if (vector == vector_nmi)
        return;
    last_fault = *frame;
    if (fault_expected)
        leave_guarded(Outcome::Fault);
    note("exception ", vector, " in root mode, error code ", vmm::hex(frame->error_code), ", rip ",
         vmm::hex(frame->rip), ", rsp ", vmm::hex(frame->rsp), ", cr2 ", vmm::hex(vmm::read_cr2()));
    leave_check(Outcome::Failed);
}

} // namespace escalus::nested
