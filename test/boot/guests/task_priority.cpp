// SPDX-License-Identifier: GPL-2.0-or-later
// Sends itself an interrupt that the task priority holds back, with interrupts on: for classes below, equal
// to and above it. It must come as soon as the priority is below its class, not earlier, and until then the
// kernel must get on: an old BSD spends much of its time so. Told `cr8`, also one that waits for IF, and
// whose handler begins by writing CR8, as UEFI's do: it must come once.
#include "test/boot/guests/kernel.hpp"

asm(R"(
    .globl entry_counted
entry_counted:
    pusha
    call count
    popa
    iret
)");
extern "C" void entry_counted();

namespace {

constexpr unsigned vector = 0x51, page = 0xfee00000;
constexpr uint32_t reg_tpr = 0x80, reg_eoi = 0xb0, reg_svr = 0xf0, reg_icr = 0x300, to_self = 1u << 18;
volatile uint32_t counted = 0;
bool writes_cr8 = false;

void write_apic(uint32_t offset, uint32_t value) {
    at<uint32_t>(page + offset) = value;
}

/// Whether the interrupt came while the processor was busy at this priority.
bool comes_at(uint32_t priority) {
    counted = 0;
    write_apic(reg_tpr, priority);
    write_apic(reg_icr, to_self | vector);
    for (unsigned i = 0; i < 200'000; ++i)
        asm volatile("" ::: "memory");
    return counted != 0;
}

/// How often an interrupt comes that has waited for IF.
uint32_t waits_for_if() {
    counted = 0;
    write_apic(reg_tpr, 0);
    asm volatile("cli");
    write_apic(reg_icr, to_self | vector);
    for (unsigned i = 0; i < 1000; ++i)
        asm volatile("" ::: "memory");
    asm volatile("sti");
    for (unsigned i = 0; i < 200'000; ++i)
        asm volatile("" ::: "memory");
    return counted;
}

} // namespace

extern "C" void count() {
    if (writes_cr8) // MOV CR8, EAX of 32-bit code: LOCK MOV CR0, EAX (AMD APM 3, MOV CRn)
        asm volatile(".byte 0xf0, 0x0f, 0x22, 0xc0" : : "a"(0) : "memory");
    counted = counted + 1;
    write_apic(reg_eoi, 0);
}

extern "C" void kernel_main(uint32_t, const MultibootInfo* info) {
    serial_start();
    tables_start();
    set_gate(vector, entry_counted);
    out8(0x21, 0xff);
    out8(0xa1, 0xff);
    write_apic(reg_svr, 0x1ff);
    asm volatile("sti");
    uint32_t failed = 0;
    constexpr uint32_t too_high[] = {0x60, 0x5f, 0x50};
    for (const uint32_t priority : too_high) {
        failed += comes_at(priority); // held back
        write_apic(reg_tpr, 0x4f);
        failed += counted != 1; // at the latest after the write's own exit
    }
    failed += !comes_at(0x4f);
    writes_cr8 = is_told(*info, "cr8");
    failed += waits_for_if() != 1;
    say("task priority: ", failed, " failed, END");
}
