// SPDX-License-Identifier: GPL-2.0-or-later
// #AC in user mode with a handler that runs in user mode on a misaligned stack, so that delivering #AC raises
// #AC again (CVE-2015-5307); a monitor must get out of it. Where the processor does not check alignment then,
// the handler and the faulting instruction alternate for ever.
#include "test/boot/guests/kernel.hpp"

namespace {

struct [[gnu::packed]] TableRegister {
    uint16_t limit;
    uint32_t base;
};
alignas(8) uint64_t tables[6] = {
    0, 0x00cf9a000000ffff, 0x00cf92000000ffff, 0x00cffa000000ffff, 0x00cff2000000ffff, 0};
alignas(8) uint32_t idt[512];
alignas(16) uint32_t task[26];
alignas(16) uint8_t user_stack[4096];

[[gnu::naked]] void user_code() {
    asm volatile("1: movl (%esp), %eax\n jmp 1b");
}

} // namespace

extern "C" void kernel_main(uint32_t, const MultibootInfo*) {
    serial_start();
    const auto base = reinterpret_cast<uint32_t>(task);
    tables[5] = 0x0000890000000067ull | uint64_t{base & 0xffffff} << 16 | uint64_t{base >> 24} << 56;
    const TableRegister gdtr{sizeof tables - 1, reinterpret_cast<uint32_t>(tables)};
    const TableRegister idtr{sizeof idt - 1, reinterpret_cast<uint32_t>(idt)};
    const auto handler = reinterpret_cast<uint32_t>(&user_code);
    idt[2 * 17] = (3u * 8 | 3) << 16 | (handler & 0xffff); // #AC stays in user mode
    idt[2 * 17 + 1] = (handler & 0xffff0000) | 0xee00;
    task[1] = reinterpret_cast<uint32_t>(user_stack + 2048);
    task[2] = 16;
    say("#AC loop now");
    asm volatile("lgdt %0\n lidt %1\n mov $0x28, %%eax\n ltr %%ax\n"
                 "mov %%cr0, %%eax\n or $0x40000, %%eax\n mov %%eax, %%cr0\n"
                 "push $0x23\n push %2\n push $0x40002\n push $0x1b\n push %3\n iret"
                 :
                 : "m"(gdtr), "m"(idtr), "r"(user_stack + 4093), "r"(user_code)
                 : "eax", "memory");
}
