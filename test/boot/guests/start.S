// SPDX-License-Identifier: GPL-2.0-or-later
// Entry of the test kernels: a Multiboot1 header (GNU Multiboot Specification 0.6.96, section 3.1), a stack, and
// a call of kernel_main(magic, info) in 32-bit protected mode without paging.
    .set magic, 0x1badb002
    .set flags, 3 // modules on page boundaries, memory information

    .section .multiboot, "a"
    .align 4
    .long magic
    .long flags
    .long -(magic + flags)

    .text
    .globl _start
_start:
    cli
    mov $stack_top, %esp
    push $0
    popf
    push %ebx
    push %eax
    call kernel_main
1:  cli
    hlt
    jmp 1b

    .bss
    .align 16
    .skip 16384
    .globl stack_top
stack_top:
    .section .note.GNU-stack, "", @progbits
