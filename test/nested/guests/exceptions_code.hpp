// SPDX-License-Identifier: GPL-2.0-or-later
// Code of guests that both vendors' checks run: instructions that raise exceptions.
#pragma once

#include "test/nested/guests/code.hpp"

namespace escalus::nested {

GUEST_CODE(divide, 64, "xor %ecx, %ecx; divide_at: div %ecx");
GUEST_CODE(trap_flag, 64, "pushfq; orl $0x100, (%rsp); popfq; nop; trap_flag_at: nop");
GUEST_CODE(breakpoint, 64, "int3");
GUEST_CODE(overflow, 32, "mov $0x7fffffff, %eax; inc %eax; overflow_at: into");
GUEST_CODE(bound, 32, "bound %eax, (%edi)");
GUEST_CODE(undefined, 64, "ud2");
GUEST_CODE(no_device, 64, "fnop");
GUEST_CODE(no_segment, 64, "mov %ecx, %fs");
GUEST_CODE(stack_address, 64, "mov (%rbp), %eax");
GUEST_CODE(protection, 64, "mov (%rdi), %eax");
GUEST_CODE(page_read, 64, "mov (%rdi), %eax");
GUEST_CODE(floating_point, 64,
           "fninit; pushq $0; fldcw (%rsp); pop %rax; fldz; fld1; fdivp; floating_point_at: fwait");
GUEST_CODE(alignment, 64, "alignment_at: mov (%rdi), %eax");
GUEST_CODE(
    simd, 64,
    "pushq $0x1d80; ldmxcsr (%rsp); pop %rax; xorps %xmm0, %xmm0; movl $0x3f800000, %eax; movd %eax, %xmm1;"
    "simd_at: divss %xmm0, %xmm1");
GUEST_CODE(bad_task, 32, "ljmp $0x58, $0");
GUEST_LABEL(divide_at);
GUEST_LABEL(trap_flag_at);
GUEST_LABEL(overflow_at);
GUEST_LABEL(floating_point_at);
GUEST_LABEL(simd_at);
GUEST_CODE(page_write, 64, "mov %eax, (%rdi)");
GUEST_CODE(page_fetch, 64, "jmp *%rdi");
GUEST_CODE(software_breakpoint, 64, ".byte 0xcd, 3");
GUEST_CODE(software_overflow, 64, "int $4");
GUEST_CODE(software_protection, 64, "int $13");
GUEST_CODE(icebp, 64, ".byte 0xf1");
GUEST_CODE(alignment32, 32, "mov (%edi), %eax");

} // namespace escalus::nested
