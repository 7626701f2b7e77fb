// SPDX-License-Identifier: GPL-2.0-or-later
// Executes pseudo-random bytes, again and again with new ones: every exception comes back here and goes on
// with the next bytes. The seed is printed, so that a run can be repeated.
#include "test/boot/guests/kernel.hpp"

namespace {

constexpr uint32_t rounds = 5000;
alignas(4096) uint8_t code[4096];
uint32_t state = 1;
uint32_t round;

uint32_t next_random() {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

[[noreturn]] void go_on();

// Garbage may have changed the stack, the segments and the tables: start from nothing.
[[gnu::naked]] void recover() {
    asm volatile("cli\n mov $16, %eax\n mov %eax, %ds\n mov %eax, %es\n mov %eax, %ss\n"
                 "mov $stack_top, %esp\n push $0\n popf\n cld\n jmp go_on_entry");
}

// IRQ 0 as vector 32 at 18.2 Hz; all others masked.
void timer_start() {
    out8(0x20, 0x11);
    out8(0x21, 32);
    out8(0x21, 4);
    out8(0x21, 1);
    out8(0x21, 0xfe);
    out8(0x43, 0x34);
    out8(0x40, 0);
    out8(0x40, 0);
}

void go_on() {
    tables_start();
    timer_start();
    for (unsigned vector = 0; vector < 256; ++vector)
        set_gate(vector, recover);
    while (++round <= rounds) {
        if (round % 1000 == 0)
            say("garbage round ", round);
        for (unsigned i = 0; i < 32; ++i)
            do
                code[i] = static_cast<uint8_t>(next_random() >> 11);
            while (code[i] == 0xfa); // CLI would stop the timer
        code[32] = 0x0f;             // ud2 ends what runs through
        code[33] = 0x0b;
        asm volatile("mov %0, %%eax\n sti\n jmp *%%eax" : : "i"(code) : "memory", "eax");
    }
    say("garbage survived, END");
    for (;;)
        asm volatile("cli\n hlt");
}

} // namespace

extern "C" [[noreturn, gnu::used]] void go_on_entry() {
    go_on();
}

extern "C" void kernel_main(uint32_t, const MultibootInfo*) {
    serial_start();
    state = 0x12345678;
    say("garbage begins, seed ", state);
    go_on();
}
