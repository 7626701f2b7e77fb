// SPDX-License-Identifier: GPL-2.0-or-later
// What the test kernels with several processors share: starting the others, local APIC registers, the time
// stamp counter, interrupt entries. (Intel SDM volume 3, chapter 11.)
#pragma once

#include "test/boot/guests/kernel.hpp"

/// At namespace scope: `name`, for set_gate(), calls interrupt(vector).
#define INTERRUPT_ENTRY(name, vector)                                                                        \
    asm(".text\n" #name ": pusha\n push $" #vector "\n call interrupt\n add $4, %esp\n popa\n iret");        \
    extern "C" void name();

extern "C" void interrupt(uint32_t vector);
/// The kernel's own: where another processor comes to, with interrupts off and a stack of its own. It halts
/// when that returns.
extern "C" void processor_main();

inline constexpr unsigned most_processors = 8; // as many as the flat model has
inline constexpr uint32_t trampoline = 0x8000; // where they start, in real mode
inline constexpr uint32_t lowest_priority = 0x100, nmi = 0x400, init = 0x500, startup = 0x600,
                          logical = 0x800, assert_level = 0x4000;
inline constexpr uint32_t to_self = 1u << 18, to_all = 2u << 18, to_others = 3u << 18;
inline constexpr unsigned reg_id = 0x02, reg_eoi = 0x0b, reg_ldr = 0x0d, reg_dfr = 0x0e, reg_svr = 0x0f,
                          reg_icr = 0x30, reg_icr_high = 0x31, reg_timer = 0x32, reg_initial_count = 0x38,
                          reg_divide = 0x3e;

inline uint64_t read_msr(uint32_t index) {
    uint32_t low = 0, high = 0;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
    return uint64_t{high} << 32 | low;
}
inline void write_msr(uint32_t index, uint64_t value) {
    asm volatile("wrmsr" : : "c"(index), "a"(uint32_t(value)), "d"(uint32_t(value >> 32)) : "memory");
}
inline uint64_t tsc() {
    uint32_t low = 0, high = 0;
    asm volatile("rdtsc" : "=a"(low), "=d"(high));
    return uint64_t{high} << 32 | low;
}
/// This processor's APIC ID; they are numbered from 0.
inline unsigned self() {
    uint32_t a = 1, b = 0, c = 0, d = 0;
    asm volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
    return b >> 24;
}
/// A register of this processor's APIC, in xAPIC mode.
inline volatile uint32_t& apic(unsigned index) {
    return at<uint32_t>(0xfee00000 + index * 16);
}

/// How many processors the ACPI tables list.
unsigned count_madt();
/// Puts there what a processor executes after SIPI. To be done once, before SIPIs with trampoline >> 12.
void prepare_trampoline();
