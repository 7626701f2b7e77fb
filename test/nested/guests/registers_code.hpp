// SPDX-License-Identifier: GPL-2.0-or-later
// Code of guests that both vendors' checks run: guests that look at registers and change them.
#pragma once

#include "test/nested/guests/code.hpp"

namespace escalus::nested {

GUEST_CODE(change_cr0, 64, "mov %cr0, %rax; or $0x40000, %rax; mov %rax, %cr0");
GUEST_CODE(change_cr4, 64, "mov %cr4, %rax; or $0x4, %rax; mov %rax, %cr4");
GUEST_CODE(change_cr2, 64, "mov %rcx, %cr2");
GUEST_CODE(read_cr2, 64, "mov %cr2, %rcx");
GUEST_CODE(read_tsc, 64, "rdtsc; shl $32, %rdx; or %rdx, %rax");
GUEST_CODE(read_tsc_msr, 64, "mov $0x10, %ecx; rdmsr; shl $32, %rdx; or %rdx, %rax");
GUEST_CODE(read_tscp, 64, "rdtscp; shl $32, %rdx; or %rdx, %rax");

} // namespace escalus::nested
