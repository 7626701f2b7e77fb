// SPDX-License-Identifier: GPL-2.0-or-later
// Code of guests that both vendors' checks run: port accesses of every form.
#pragma once

#include "test/nested/guests/code.hpp"

namespace escalus::nested {

GUEST_CODE(in8_imm, 64, "inb $0x80, %al");
GUEST_CODE(in16_imm, 64, "inw $0x80, %ax");
GUEST_CODE(in32_imm, 64, "inl $0x80, %eax");
GUEST_CODE(out8_imm, 64, "outb %al, $0x80");
GUEST_CODE(out16_imm, 64, "outw %ax, $0x80");
GUEST_CODE(out32_imm, 64, "outl %eax, $0x80");
GUEST_CODE(in8_dx, 64, "inb %dx, %al");
GUEST_CODE(in16_dx, 64, "inw %dx, %ax");
GUEST_CODE(in32_dx, 64, "inl %dx, %eax");
GUEST_CODE(out8_dx, 64, "outb %al, %dx");
GUEST_CODE(out16_dx, 64, "outw %ax, %dx");
GUEST_CODE(out32_dx, 64, "outl %eax, %dx");
GUEST_CODE(insb_64, 64, "insb");
GUEST_CODE(insw_64, 64, "insw");
GUEST_CODE(insl_64, 64, "insl");
GUEST_CODE(outsb_64, 64, "outsb");
GUEST_CODE(outsw_64, 64, "outsw");
GUEST_CODE(outsl_64, 64, "outsl");
GUEST_CODE(rep_insb_64, 64, "rep insb");
GUEST_CODE(rep_insw_64, 64, "rep insw");
GUEST_CODE(rep_insl_64, 64, "rep insl");
GUEST_CODE(rep_outsb_64, 64, "rep outsb");
GUEST_CODE(rep_outsw_64, 64, "rep outsw");
GUEST_CODE(rep_outsl_64, 64, "rep outsl");
GUEST_CODE(insb_a32, 64, "addr32 insb");
GUEST_CODE(outsb_a32, 64, "addr32 outsb");
GUEST_CODE(outsb_fs, 64, "outsb %fs:(%rsi), %dx");
GUEST_CODE(outsb_gs, 64, "outsb %gs:(%rsi), %dx");
GUEST_CODE(insb_16, 16, "insb");
GUEST_CODE(outsb_16, 16, "outsb");
GUEST_CODE(rep_insw_16, 16, "rep insw");
GUEST_CODE(insl_16, 16, "insl");
GUEST_CODE(outsb_es_16, 16, "outsb %es:(%si), %dx");
GUEST_CODE(in8_16, 16, "inb $0x80, %al");
GUEST_CODE(in32_16, 16, "inl %dx, %eax");
GUEST_CODE(insb_32, 32, "insb");
GUEST_CODE(outsw_32, 32, "outsw");
GUEST_CODE(in8_32, 32, "inb %dx, %al");

} // namespace escalus::nested
