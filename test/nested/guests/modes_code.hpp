// SPDX-License-Identifier: GPL-2.0-or-later
// Code of guests that both vendors' checks run: stores, interrupts and transitions in every processor mode.
#pragma once

#include "test/nested/guests/code.hpp"

namespace escalus::nested {

GUEST_CODE(store16, 16, "movl $0x12345678, 0x100");
GUEST_CODE(store32, 32, "movl $0x12345678, (%edi)");
GUEST_CODE(store64, 64, "movabs $0x123456789abcdef0, %rax; mov %rax, (%rdi)");
GUEST_CODE(store_high16, 16, "movl $0x12345678, (%edi)");
GUEST_CODE(int16, 16, "int $0x42; mov $7, %al");
GUEST_CODE(int32, 32, "int $0x42; mov $7, %al");
GUEST_CODE(int64, 64, "int $0x42; mov $7, %al");
GUEST_CODE(real_to_protected, 16, "lgdtl (%di); mov %cr0, %eax; or $1, %al; mov %eax, %cr0; ljmpl *8(%di)");
GUEST_CODE(arrived32, 32, "mov $0x10, %eax; mov %eax, %ds; mov %eax, %ss; movl $0x3232, (%esi)");
GUEST_CODE(protected_to_long, 32,
           "mov %cr4, %eax; or $0x20, %eax; mov %eax, %cr4; mov %esi, %cr3; mov $0xc0000080, %ecx; rdmsr;"
           "or $0x100, %eax; wrmsr; mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0; ljmp *(%edi)");
GUEST_CODE(arrived64, 64, "movabs $0x6464646464646464, %rax");
GUEST_CODE(long_to_compatibility, 64, "ljmp *(%rdi)");
GUEST_CODE(leave_long, 32,
           "mov %cr0, %eax; and $0x7fffffff, %eax; mov %eax, %cr0; mov $0xc0000080, %ecx; rdmsr; and "
           "$~0x100, %eax; wrmsr;"
           "left_long: nop");
GUEST_CODE(protected_to_real, 16,
           "mov %cr0, %eax; and $~1, %eax; mov %eax, %cr0; ljmp $0x2000, $in_real - protected_to_real_start; "
           "in_real: movw $0x5151, 0x200");
GUEST_CODE(paging_on, 32,
           "mov %esi, %cr3; mov %cr4, %eax; or $0x10, %eax; mov %eax, %cr4; mov %cr0, %eax;"
           "or $0x80000000, %eax; mov %eax, %cr0; jmp 1f; 1: mov (%edi), %ecx");
GUEST_CODE(iret_to_v8086, 32, "iretl");
GUEST_CODE(in_v8086, 16, "mov $0x8086, %ax");
GUEST_CODE(system_call, 64, "syscall");
GUEST_CODE(system_enter, 32, "sysenter");
GUEST_CODE(call_task, 32, "lcall $0x58, $0");
GUEST_CODE(jump_to_gate, 32, "ljmp $0x68, $0");
GUEST_CODE(plain32, 32, "nop");

} // namespace escalus::nested
