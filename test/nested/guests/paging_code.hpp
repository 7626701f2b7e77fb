// SPDX-License-Identifier: GPL-2.0-or-later
// Code of guests that both vendors' checks run: accesses through two levels of page tables.
#pragma once

#include "test/nested/guests/code.hpp"

namespace escalus::nested {

GUEST_CODE(do_read, 64, "mov (%rdi), %eax");
GUEST_CODE(do_write, 64, "mov %eax, (%rdi)");
GUEST_CODE(do_modify, 64, "incl (%rdi)");
GUEST_CODE(do_fetch, 64, "jmp *%rdi");
GUEST_CODE(read32, 32, "mov (%edi), %eax");
GUEST_CODE(write32, 32, "mov %eax, (%edi)");
GUEST_CODE(write16, 16, "mov %al, (%di)");
GUEST_CODE(reload, 64,
           "mov (%rdi), %eax; mov %rcx, (%rsi); mov %cr3, %rdx; mov %rdx, %cr3; mov (%rdi), %ebx");
GUEST_CODE(invalidate, 64, "mov (%rdi), %eax; mov %rcx, (%rsi); invlpg (%rdi); mov (%rdi), %ebx");
GUEST_CODE(
    toggle_global, 64,
    "mov (%rdi), %eax; mov %rcx, (%rsi); mov %cr4, %rdx; xor $0x80, %rdx; mov %rdx, %cr4; mov (%rdi), %ebx");

} // namespace escalus::nested
