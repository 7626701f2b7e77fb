// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/boot/guests/smp.hpp"

// Where an application processor begins: SIPI's vector times 4096. Real mode, then what _start has.
asm(R"(
    .section .rodata
    .globl trampoline_begin, trampoline_end
trampoline_begin:
    .code16
    cli
    xor %ax, %ax
    mov %ax, %ds
    lgdtl 0x7f00
    mov %cr0, %eax
    or $1, %eax
    mov %eax, %cr0
    ljmpl $8, $processor_entry
trampoline_end:
    .code32
    .text
processor_entry:
    mov $16, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %eax, %fs
    mov %eax, %gs
    lidt 0x7f08
    mov $1, %eax
    cpuid
    shr $24, %ebx
    inc %ebx
    shl $12, %ebx
    lea processor_stacks(%ebx), %esp
    call processor_main
1:  hlt
    jmp 1b
)");
extern "C" {
extern char trampoline_begin, trampoline_end;
char processor_stacks[(most_processors + 1) * 4096];
}

unsigned count_madt() {
    for (uint32_t pointer = 0xe0000; pointer < 0x100000; pointer += 16) {
        if (at<uint32_t>(pointer) != 0x20445352 || at<uint32_t>(pointer + 4) != 0x20525450) // RSD PTR
            continue;
        const auto rsdt = at<uint32_t>(pointer + 16);
        for (uint32_t i = 36; i < at<uint32_t>(rsdt + 4); i += 4) {
            const auto table = at<uint32_t>(rsdt + i);
            if (at<uint32_t>(table) != 0x43495041) // APIC
                continue;
            unsigned count = 0;
            for (uint32_t at_entry = 44; at_entry < at<uint32_t>(table + 4);
                 at_entry += at<uint8_t>(table + at_entry + 1))
                if (at<uint8_t>(table + at_entry) == 0 && (at<uint32_t>(table + at_entry + 4) & 1) != 0)
                    ++count;
            return count;
        }
    }
    return 0;
}

void prepare_trampoline() {
    const auto size = static_cast<uint32_t>(&trampoline_end - &trampoline_begin);
    for (uint32_t i = 0; i < size; ++i)
        at<char>(trampoline + i) = (&trampoline_begin)[i];
    asm volatile("sgdt 0x7f00\n sidt 0x7f08" : : : "memory");
}
