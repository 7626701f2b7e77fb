/* SPDX-License-Identifier: GPL-2.0-or-later
 * guarded.hpp. The Guard lies on the stack of the call that it guards. */
    .text
    .global call_guarded, leave_guarded
call_guarded:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    pushf
    push nested_guard   /* Guard::outer */
    lea -8(%rsp), %rax
    push %rax           /* Guard::stack: where the Guard is */
    mov %rsp, nested_guard
    mov %rdi, %rax
    mov %rsi, %rdi
    call *%rax
    xor %eax, %eax
    jmp 1f
leave_guarded:
    mov %edi, %eax
    mov nested_guard, %rsp
1:  add $8, %rsp
    pop nested_guard
    popf
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret

    .bss
    .align 8
    .global nested_guard
nested_guard:
    .quad 0
    .section .note.GNU-stack, "", @progbits
