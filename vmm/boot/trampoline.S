/* SPDX-License-Identifier: GPL-2.0-or-later
 * Entry of the other CPUs, by a start-up IPI (AMD APM 2, section 16.5; Intel SDM 3, section 9.4.4). */
    .section .text.entry, "ax"
/* Copied below 1 MiB for the time of start-up. A CPU arrives in real mode with CS = its page. */
    .code16
    .global trampoline_start, trampoline_end, trampoline_stack
    .align 16
trampoline_start:
    cli
    mov %cs, %ax
    mov %ax, %ds
    lgdtl trampoline_gdt - trampoline_start
    mov %cr0, %eax
    or $1, %eax
    mov %eax, %cr0
    ljmpl $0x18, $trampoline32
    .align 8
trampoline_gdt:
    .word 0x27
    .long gdt
trampoline_end:

    .code32
trampoline32:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov trampoline_stack, %esp
    call enter_long_mode_tables
    ljmp $0x08, $trampoline64
    .code64
trampoline64:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov trampoline_stack, %rsp
    pop %rdi          /* application_cpu_main(cpu) */
    xor %ebp, %ebp
    call application_cpu_main
1:  hlt
    jmp 1b

    .section .data
    .align 8
trampoline_stack:
    .quad 0
    .section .note.GNU-stack, "", @progbits
