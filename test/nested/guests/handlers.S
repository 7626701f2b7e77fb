/* SPDX-License-Identifier: GPL-2.0-or-later
 * The guests' handlers of exceptions and interrupts: code.hpp. */
    .macro handlers name bits leave
    .balign 16
    .global \name
\name:
    .code\bits
    .set vector, 0
    .rept 256
    .balign 16
    hlt
    .if \bits != 16 && (vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
    .if \bits == 64
    add $8, %rsp
    .else
    add $4, %esp
    .endif
    .endif
    \leave
    .set vector, vector + 1
    .endr
    .balign 16
    .endm

    .text
    handlers guest_handlers64, 64, iretq
    handlers guest_handlers32, 32, iretl
    handlers guest_handlers16, 16, iretw

    .code64
    .global guest_done
guest_done:
    hlt
    jmp guest_done
    .section .note.GNU-stack, "", @progbits
