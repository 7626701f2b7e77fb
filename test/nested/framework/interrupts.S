/* SPDX-License-Identifier: GPL-2.0-or-later
 * Every vector of the suite's own IDT brings its frame to nested_interrupt(), and goes on where it was. */
    .macro stub vector has_code
    .align 16
    .if !\has_code
    push $0
    .endif
    push $\vector
    jmp common
    .endm

    .text
    .global interrupt_stubs
    .align 16
interrupt_stubs:
    .set vector, 0
    .rept 256
    .if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30
    stub vector, 1
    .else
    stub vector, 0
    .endif
    .set vector, vector + 1
    .endr

common:
    push %rax
    push %rcx
    push %rdx
    push %rbx
    push %rbp
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    push %r12
    push %r13
    push %r14
    push %r15
    lea 15*8(%rsp), %rdi    /* InterruptFrame */
    mov %rsp, %rbp
    and $-16, %rsp
    cld
    call nested_interrupt
    mov %rbp, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rbp
    pop %rbx
    pop %rdx
    pop %rcx
    pop %rax
    add $16, %rsp
    iretq
    .section .note.GNU-stack, "", @progbits
