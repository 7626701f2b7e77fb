/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the second CPU executes: copied to a page below 1 MiB, entered by a start-up IPI in real mode with CS as its base.
   Of all CPUs that the IPI reached, the first takes the work. second_cpu.cpp names the fields of the mailbox. */
    .section .rodata
    .global second_cpu_start, second_cpu_mailbox, second_cpu_base, second_cpu_end
    .code16
second_cpu_start:
    cli
    cld
    mov %cs, %ax
    mov %ax, %ds
    lock btsl $0, taken - second_cpu_start
    jc 9f
    lgdtl gdt_pointer - second_cpu_start
    mov %cr0, %eax
    or $1, %eax
    mov second_cpu_base - second_cpu_start, %ebx
    mov %eax, %cr0
    ljmpl *(entry - second_cpu_start)
9:  hlt
    jmp 9b
    .code32
1:  mov $0x10, %eax
    mov %eax, %ds
    lea (second_cpu_mailbox - second_cpu_start)(%ebx), %esi
    mov $0x1b, %ecx             /* IA32_APIC_BASE */
    rdmsr
    mov %eax, %edi
2:  mov 4(%esi), %ecx           /* commands that are left */
    jecxz 6f
    mov (%esi), %ecx            /* the moment, in turns */
3:  pause
    dec %ecx
    jnz 3b
    mov 12(%esi), %eax
    mov 8(%esi), %edx           /* the destination */
    test $0x400, %edi
    jz 4f
    mov $0x830, %ecx            /* x2APIC: one register */
    wrmsr
    jmp 5f
4:  mov %edi, %ecx
    and $0xfffff000, %ecx
    shl $24, %edx
    mov %edx, 0x310(%ecx)
    mov %eax, 0x300(%ecx)
5:  mov 16(%esi), %eax          /* the next one becomes the first */
    mov %eax, 12(%esi)
    decl 4(%esi)
    jmp 2b
6:  movl $1, 20(%esi)           /* done */
7:  hlt
    jmp 7b
    .align 8
gdt_start:
    .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
    .word 23
    .long 0                     /* filled in: linear */
entry:
    .long 0                     /* filled in */
    .word 8
    .align 4
second_cpu_base:
    .long 0
taken:
    .long 0
second_cpu_mailbox:
    .long 0, 0, 0, 0, 0, 0
second_cpu_end:
    .global second_cpu_gdt, second_cpu_gdt_pointer, second_cpu_entry, second_cpu_protected
    .set second_cpu_gdt, gdt_start
    .set second_cpu_gdt_pointer, gdt_pointer
    .set second_cpu_entry, entry
    .set second_cpu_protected, 1b
    .section .note.GNU-stack, "", @progbits
