/* SPDX-License-Identifier: GPL-2.0-or-later
 * Exceptions in the monitor itself are bugs: the stubs bring them to monitor_exception(), which reports and stops. NMIs go to
 * monitor_nmi(), and execution goes on where that says. */
    .macro stub vector has_code
    .align 16
    .if !\has_code
    push $0
    .endif
    push $\vector
    .if \vector == 2
    jmp nmi
    .else
    jmp common
    .endif
    .endm

    .text
    .global exception_stubs
    .align 16
exception_stubs:
    .set vector, 0
    .rept 32
    .if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30
    stub vector, 1
    .else
    stub vector, 0
    .endif
    .set vector, vector + 1
    .endr

nmi:
    push %rax
    push %rcx
    push %rdx
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    push %rbp
    lea 10*8(%rsp), %rdi /* struct ExceptionFrame */
    mov %rsp, %rbp
    and $-16, %rsp
    cld
    call monitor_nmi
    mov %rbp, %rsp
    pop %rbp
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rdx
    pop %rcx
    pop %rax
    add $16, %rsp
    iretq

common:
    mov %rsp, %rdi    /* struct ExceptionFrame */
    and $-16, %rsp
    call monitor_exception
1:  hlt
    jmp 1b
    .section .note.GNU-stack, "", @progbits
