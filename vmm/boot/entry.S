/* SPDX-License-Identifier: GPL-2.0-or-later
 * Entry from a Multiboot loader on the boot CPU, for the monitor and for test/nested (trampoline.S is that of the other CPUs).
 * Multiboot 0.6.96 (section 3.1), Multiboot2 2.0 (section 3.1). */

#define MB1_MAGIC 0x1badb002
#define MB1_FLAGS 0x00010003 /* page-aligned modules, memory map, addresses below are valid */
#define MB2_MAGIC 0xe85250d6

    .section .multiboot, "a"
    .align 8
multiboot1_header:
    .long MB1_MAGIC, MB1_FLAGS, -(MB1_MAGIC + MB1_FLAGS)
    /* The address fields let loaders that refuse 64-bit ELF files (QEMU) load the file flat. */
    .long multiboot1_header, image_start, image_load_end, image_end, multiboot_entry

    .align 8
multiboot2_header:
    .long MB2_MAGIC, 0, multiboot2_end - multiboot2_header
    .long -(MB2_MAGIC + 0 + (multiboot2_end - multiboot2_header))
    .align 8
    .short 1, 0       /* information request: memory map, modules, command line */
    .long 20
    .long 1, 3, 6
    .align 8
    .short 6, 0       /* page-aligned modules */
    .long 8
    .align 8
    .short 5, 1       /* framebuffer, optional: keep what the loader set */
    .long 20
    .long 0, 0, 0
    .align 8
    .short 0, 0
    .long 8
multiboot2_end:

    .section .text.entry, "ax"
    .code32
    .global multiboot_entry
multiboot_entry:
    cli
    cld
    mov %eax, %esi    /* loader's magic */
    mov %ebx, %edi    /* information structure */
    mov $boot_stack_top, %esp
    call require_long_mode
    call enter_long_mode_tables
    lgdt gdt_pointer
    ljmp $0x08, $boot64

/* Returns if the CPU has 64-bit mode (AMD APM 3, E.4.2). Else says so on the screen and COM1, and halts: nothing that is written
 * in C++ runs there. */
require_long_mode:
    mov $0x80000000, %eax
    cpuid
    cmp $0x80000001, %eax
    jb 1f
    mov $0x80000001, %eax
    cpuid
    test $1 << 29, %edx
    jz 1f
    ret
1:  mov $no_long_mode, %esi
    mov $0xb8000, %edi
    mov $0x0700, %eax
2:  lodsb
    test %al, %al
    jz 3f
    stosw
    mov $0x3f8, %edx
    out %al, %dx
    mov $0x10000, %ecx /* the transmitter gets time in any case */
4:  mov $0x3fd, %edx
    push %eax
    in %dx, %al
    test $0x20, %al
    pop %eax
    loopz 4b
    jmp 2b
3:  hlt
    jmp 3b
no_long_mode:
    .asciz "Escalus: this CPU has no 64-bit mode.\r\n"

/* Turns on long mode with the tables below: identity map of the first 4 GiB, 2 MiB pages. */
    .global enter_long_mode_tables
enter_long_mode_tables:
    mov $boot_pml4, %eax
    mov %eax, %cr3
    mov %cr4, %eax
    or $0x620, %eax   /* PAE, OSFXSR, OSXMMEXCPT */
    mov %eax, %cr4
    mov $0xc0000080, %ecx
    rdmsr
    or $0x900, %eax   /* LME, NXE */
    wrmsr
    mov %cr0, %eax
    and $0x9ffffff3, %eax /* caches on; no EM, MP, TS */
    or $0x80010023, %eax /* PG, WP, NE, MP, PE */
    mov %eax, %cr0
    ret

    .code64
boot64:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %esi, %esi
    mov %edi, %edi
    xchg %rdi, %rsi   /* boot_main(magic, information) */
    xor %ebp, %ebp
    call boot_main
1:  hlt
    jmp 1b

/* start_natively(rip, rsi, cr3, gdt_base): Linux's 64-bit boot protocol, without a monitor underneath. */
    .global start_natively
start_natively:
    cli
    push %rcx
    pushw $0x1f
    lgdt (%rsp)
    mov %rdx, %cr3
    mov $0x18, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %eax, %fs
    mov %eax, %gs
    push $0x10
    push %rdi
    lretq

    .section .data
    .align 16
    .global gdt
gdt:
    .quad 0
    .quad 0x00af9b000000ffff /* 0x08: 64-bit code */
    .quad 0x00cf93000000ffff /* 0x10: data */
    .quad 0x00cf9b000000ffff /* 0x18: 32-bit code */
    .quad 0
gdt_pointer:
    .word 0x27
    .quad gdt

    .align 4096
    .global boot_pml4, boot_pdpt
boot_pml4:
    .quad boot_pdpt + 3
    .fill 511, 8, 0
boot_pdpt:
    .quad boot_pd + 3, boot_pd + 0x1003, boot_pd + 0x2003, boot_pd + 0x3003
    .fill 508, 8, 0
boot_pd:
    .set address, 0
    .rept 2048
    .quad address + 0x83
    .set address, address + 0x200000
    .endr

    .section .bss
    .align 16
boot_stack:
    .skip 65536       /* memory maps are kept on it */
    .global boot_stack_top
boot_stack_top:
    .section .note.GNU-stack, "", @progbits
