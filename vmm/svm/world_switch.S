/* SPDX-License-Identifier: GPL-2.0-or-later
 * void svm_enter(HostPhys vmcb, Gprs*): runs the guest until its next exit. AMD APM 2, section 15.5.
 *
 * VMRUN switches RAX, RSP, RIP, RFLAGS, control and segment registers; the other general registers are ours to switch. FS, GS,
 * TR, LDTR and the SYSCALL MSRs are not touched here: the monitor does not use them, so they stay the guest's over an exit that
 * root mode handles. GIF is 0 whenever the monitor runs. */
    .section .text.switch, "ax", @progbits
    .global svm_enter
    .align 256 /* in one page: crossing into another is dear where translations have just been flushed */
svm_enter:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    push %rsi
    mov %rdi, %rax
    mov 1*8(%rsi), %rcx
    mov 2*8(%rsi), %rdx
    mov 3*8(%rsi), %rbx
    mov 5*8(%rsi), %rbp
    mov 7*8(%rsi), %rdi
    mov 8*8(%rsi), %r8
    mov 9*8(%rsi), %r9
    mov 10*8(%rsi), %r10
    mov 11*8(%rsi), %r11
    mov 12*8(%rsi), %r12
    mov 13*8(%rsi), %r13
    mov 14*8(%rsi), %r14
    mov 15*8(%rsi), %r15
    mov 6*8(%rsi), %rsi
    vmrun %rax
    push %rsi
    mov 8(%rsp), %rsi
    mov %rcx, 1*8(%rsi)
    mov %rdx, 2*8(%rsi)
    mov %rbx, 3*8(%rsi)
    mov %rbp, 5*8(%rsi)
    mov %rdi, 7*8(%rsi)
    mov %r8, 8*8(%rsi)
    mov %r9, 9*8(%rsi)
    mov %r10, 10*8(%rsi)
    mov %r11, 11*8(%rsi)
    mov %r12, 12*8(%rsi)
    mov %r13, 13*8(%rsi)
    mov %r14, 14*8(%rsi)
    mov %r15, 15*8(%rsi)
    pop %rax
    mov %rax, 6*8(%rsi)
    add $8, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
    .section .note.GNU-stack, "", @progbits
