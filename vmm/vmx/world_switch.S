/* SPDX-License-Identifier: GPL-2.0-or-later
 * unsigned vmx_enter(Gprs*, bool launched, const bool* stop): runs the current VMCS until its next exit. Intel SDM 3C, chapter 26.
 *
 * Returns 0 after an exit, 1 when VM entry failed at once (the VM-instruction error says why), 2 when *stop was set: an NMI has
 * arrived in root mode and is to be dealt with first. An NMI that comes after *stop was looked at and before guest mode finds its
 * handler comparing RIP with the window below; it then returns to vmx_stop. No register of ours changes in the window but those
 * that are the guest's already, so nothing is lost.
 *
 * VM entry and exit switch RSP, RIP, RFLAGS, control and segment registers; the other general registers are ours to switch. */
    .section .text.hot, "ax", @progbits
    .global vmx_enter, vmx_exit, vmx_stop, vmx_window_start, vmx_window_end
    .align 64
vmx_enter:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    push %rdi
    mov $0x6c14, %eax /* HostRsp */
    vmwrite %rsp, %rax
    mov 0*8(%rdi), %rax
    mov 1*8(%rdi), %rcx
    mov 3*8(%rdi), %rbx
    mov 5*8(%rdi), %rbp
    mov 8*8(%rdi), %r8
    mov 9*8(%rdi), %r9
    mov 10*8(%rdi), %r10
    mov 11*8(%rdi), %r11
    mov 12*8(%rdi), %r12
    mov 13*8(%rdi), %r13
    mov 14*8(%rdi), %r14
    mov 15*8(%rdi), %r15
vmx_window_start:
    cmpb $0, (%rdx)
    jne vmx_stop
    test %sil, %sil
    mov 2*8(%rdi), %rdx
    mov 6*8(%rdi), %rsi
    mov 7*8(%rdi), %rdi
    jz 1f
    vmresume
    jmp 2f
1:  vmlaunch
vmx_window_end:
2:  mov $1, %eax
    jmp 3f
    .align 16
vmx_exit:
    push %rdi
    mov 8(%rsp), %rdi
    mov %rax, 0*8(%rdi)
    mov %rcx, 1*8(%rdi)
    mov %rdx, 2*8(%rdi)
    mov %rbx, 3*8(%rdi)
    mov %rbp, 5*8(%rdi)
    mov %rsi, 6*8(%rdi)
    mov %r8, 8*8(%rdi)
    mov %r9, 9*8(%rdi)
    mov %r10, 10*8(%rdi)
    mov %r11, 11*8(%rdi)
    mov %r12, 12*8(%rdi)
    mov %r13, 13*8(%rdi)
    mov %r14, 14*8(%rdi)
    mov %r15, 15*8(%rdi)
    popq 7*8(%rdi)
    xor %eax, %eax
    jmp 3f
vmx_stop:
    mov $2, %eax
3:  add $8, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
    .section .note.GNU-stack, "", @progbits
