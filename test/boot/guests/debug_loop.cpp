// SPDX-License-Identifier: GPL-2.0-or-later
// Exceptions during the delivery of exceptions, (nearly) without end: an instruction breakpoint (DR0) on the
// first instruction of the #DB handler itself, and a data breakpoint (DR1) where the first frame is pushed.
// On some processors the second never leaves microcode (CVE-2015-8104); a monitor must get out of it.
#include "test/boot/guests/kernel.hpp"

namespace {

// Each delivery pushes 12 bytes; it takes millions of them to come down to the kernel.
constexpr uint32_t stack = 64 << 20;

[[gnu::naked]] void on_debug() {
    asm volatile("nop\n iret");
}

} // namespace

extern "C" void kernel_main(uint32_t, const MultibootInfo*) {
    serial_start();
    tables_start();
    set_gate(1, on_debug);
    say("#DB loop now");
    asm volatile("mov %0, %%dr0\n mov %1, %%dr1\n mov %2, %%dr7\n"
                 "mov %3, %%esp\n"
                 ".byte 0xf1" // INT1: #DB
                 :
                 : "r"(on_debug), "r"(stack - 4), "r"(0x00d0070a), "r"(stack)); // DR1: write, four bytes
    for (;;)
        asm volatile("cli\n hlt");
}
