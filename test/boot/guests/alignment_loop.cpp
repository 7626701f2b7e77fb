// SPDX-License-Identifier: GPL-2.0-or-later
// #AC in user mode with a handler that runs in user mode on a misaligned stack, so that delivering #AC raises
// #AC again (CVE-2015-5307); a monitor must get out of it. Where the processor does not check alignment then,
// the handler and the faulting instruction alternate for ever.
#include "test/boot/guests/kernel.hpp"

namespace {

constexpr uint32_t alignment_check = 0x40000; // EFLAGS.AC and, the same bit, CR0.AM
constexpr unsigned alignment_vector = 17;
alignas(16) uint8_t user_stack[4096];

[[gnu::naked]] void user_code() {
    asm volatile("1: movl (%esp), %eax\n jmp 1b");
}

} // namespace

extern "C" void kernel_main(uint32_t, const MultibootInfo*) {
    serial_start();
    tables_start();
    set_gate(alignment_vector, user_code, true);
    say("#AC loop now");
    asm volatile("mov %%cr0, %%eax\n or %0, %%eax\n mov %%eax, %%cr0" : : "i"(alignment_check) : "eax");
    enter_user(reinterpret_cast<uint32_t>(user_code), reinterpret_cast<uint32_t>(user_stack + 4093),
               alignment_check);
}
