/* SPDX-License-Identifier: GPL-2.0-or-later
 * Exceptions in the monitor itself are bugs: the stubs bring them to monitor_exception(), which reports and stops. */
    .macro stub vector has_code
    .align 16
    .if !\has_code
    push $0
    .endif
    push $\vector
    jmp common
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

common:
    mov %rsp, %rdi    /* struct ExceptionFrame */
    and $-16, %rsp
    call monitor_exception
1:  hlt
    jmp 1b
    .section .note.GNU-stack, "", @progbits
