// SPDX-License-Identifier: GPL-2.0-or-later
// Executes pseudo-random bytes: every exception comes back here and goes on with the next bytes, and so does
// a timer tick, as garbage may be an endless loop. First in user mode with all ports allowed, where it can
// destroy only its own copy; then in kernel mode, where it sooner or later destroys this kernel, too. The
// seed is printed, so that a run can be repeated.
#include "test/boot/guests/kernel.hpp"

namespace {

constexpr uint32_t user_rounds = 500, kernel_rounds = 500, code_bytes = 32;
constexpr uint32_t scratch = 32 << 20; // where the garbage lies and its registers point
uint32_t state = 0x12345678;
uint32_t round;

uint32_t next_random() {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

// Garbage may have changed the stack, the segments and the tables: start from nothing.
[[gnu::naked]] void recover() {
    asm volatile("cli\n mov $16, %eax\n mov %eax, %ds\n mov %eax, %es\n mov %eax, %ss\n"
                 "mov $stack_top, %esp\n push $0\n popf\n cld\n jmp next_round");
}

// IRQ 0 as vector 32 at 50 Hz; all others masked.
void timer_start() {
    out8(0x20, 0x11);
    out8(0x21, 32);
    out8(0x21, 4);
    out8(0x21, 1);
    out8(0x21, 0xfe);
    out8(0x43, 0x34);
    out8(0x40, 0x4a);
    out8(0x40, 0x5d);
}

} // namespace

extern "C" [[noreturn, gnu::used]] void next_round() {
    constexpr uint32_t interrupts = 0x200;
    tables_start();
    for (unsigned vector = 0; vector < 256; ++vector)
        set_gate(vector, recover);
    timer_start();
    ++round;
    if (round % 100 == 0)
        say("garbage round ", round);
    auto* code = &at<uint8_t>(scratch);
    for (unsigned i = 0; i < code_bytes; ++i)
        do
            code[i] = static_cast<uint8_t>(next_random() >> 11);
        while (code[i] == 0xfa); // CLI would stop the timer
    code[code_bytes] = 0x0f;     // UD2 ends what runs through
    code[code_bytes + 1] = 0x0b;
    if (round <= user_rounds)
        enter_user(scratch, scratch + 0x8000, interrupts);
    if (round > user_rounds + kernel_rounds) {
        say("garbage survived, END");
        for (;;)
            asm volatile("cli\n hlt");
    }
    asm volatile("mov %0, %%esp\n mov %1, %%eax\n sti\n jmp *%%eax" : : "i"(scratch + 0x8000), "i"(scratch));
    __builtin_unreachable();
}

extern "C" void kernel_main(uint32_t, const MultibootInfo*) {
    serial_start();
    say("garbage begins, seed ", state);
    next_round();
}
