/* SPDX-License-Identifier: GPL-2.0-or-later
 * Starts the monitor from a hard disk, as a Multiboot loader would (Multiboot 0.6.96): for Bochs, where GRUB takes twelve
 * instructions for each byte that it loads. disk_loader.py makes the disk, and the table that this reads.
 *
 * The BIOS reads 64 KiB at a time to 0x10000, and `rep movs` takes them to their place above 1 MiB. */
    .set origin, 0x7c00
    .set data, 0x8000       /* filled in by disk_loader.py */
    .set entry, data        /* where the monitor begins */
    .set information, data + 0x10
    .set mmap_length, information + 44
    .set mmap_address, information + 48
    .set table, data + 0xc0 /* pieces: to, first sector, sectors; the last has no sectors */
    .set map, 0xa000
    .set buffer, 0x10000
    .set sectors_max, 127   /* of a request to the BIOS (EDD 3.0) */

    .code16
    .globl _start
_start:
    cli
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $origin, %sp
    sti
    cld
    mov %dl, drive
    mov $rest, %si          /* the second sector of this program, and the table */
    call read
    jmp begin

read:                       /* SI: a packet as INT 13h, AH = 42h takes it */
    mov $0x42, %ah
    mov drive, %dl
    int $0x13
    jc failed
    ret

failed:
    mov $complaint, %si
1:  lodsb
    test %al, %al
    jz 2f
    mov $0x0e, %ah
    mov $7, %bx
    int $0x10
    jmp 1b
2:  hlt
    jmp 2b

drive:     .byte 0
complaint: .asciz "the disk cannot be read\r\n"
    .balign 4
rest:      .byte 16, 0
           .word 15, 0x7e00, 0
           .quad 1
packet:    .byte 16, 0
count:     .word 0, 0, buffer >> 4
sector:    .quad 0
    .org 0x1fe
    .word 0xaa55

begin:                      /* the memory map: ACPI 6, section 15.1 */
    mov $map + 4, %di
    xor %ebx, %ebx
1:  mov $0xe820, %eax
    mov $0x534d4150, %edx
    mov $20, %ecx
    int $0x15
    jc 2f
    movl $20, -4(%di)
    add $24, %di
    test %ebx, %ebx
    jnz 1b
2:  sub $map + 4, %di
    movzwl %di, %eax
    mov %eax, mmap_length
    movl $map, mmap_address

    mov $table, %bp
next_piece:
    mov 0(%bp), %edi
    mov 4(%bp), %eax
    mov %eax, sector
more:
    mov 8(%bp), %eax
    test %eax, %eax
    jnz 1f
    mov 20(%bp), %eax
    test %eax, %eax
    jz start
    add $12, %bp
    jmp next_piece
1:  cmp $sectors_max, %eax
    jbe 2f
    mov $sectors_max, %eax
2:  mov %ax, count
    mov $packet, %si
    push %edi
    call read
    pop %edi
    movzwl count, %ecx
    sub %ecx, 8(%bp)
    add %ecx, sector
    shl $7, %ecx            /* doublewords */
    /* Segments without a limit: the BIOS may have left others behind. */
    cli
    lgdt gdt_pointer
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    mov $0x10, %bx
    mov %bx, %ds
    mov %bx, %es
    and $0xfe, %al
    mov %eax, %cr0
    xor %bx, %bx
    mov %bx, %ds
    mov %bx, %es
    sti
    mov $buffer, %esi
    addr32 rep movsl
    jmp more

start:
    cli
    lgdt gdt_pointer
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmp $8, $1f
    .code32
1:  mov $0x10, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov %ax, %fs
    mov %ax, %gs
    mov $0x2badb002, %eax
    mov $information, %ebx
    jmp *entry

    .balign 8
gdt:         .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_pointer: .word gdt_pointer - gdt - 1
             .long gdt
    .org 0x400
