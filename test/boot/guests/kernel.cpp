// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/boot/guests/kernel.hpp"

namespace {

constexpr uint16_t com1 = 0x3f8, debug_console = 0x402;

struct [[gnu::packed]] TableRegister {
    uint16_t limit;
    uint32_t base;
};
struct Gate {
    uint16_t offset_low, selector, attributes, offset_high;
};

constexpr uint32_t task_bytes = 104, task_selector = 0x28;
alignas(16) uint32_t task[task_bytes / 4];
alignas(8) uint64_t gdt[6];
alignas(8) Gate idt[256];

} // namespace

void serial_start() {
    out8(com1 + 1, 0);
    out8(com1 + 3, 0x80);
    out8(com1, 1);
    out8(com1 + 1, 0);
    out8(com1 + 3, 3);
    out8(com1 + 2, 7);
}

void put(char c) {
    // The transmitter is ready soon, or there is no UART at all: do not wait for ever.
    for (unsigned tries = 0; tries < 100000 && (in8(com1 + 5) & 0x20) == 0; ++tries) {
    }
    out8(com1, static_cast<uint8_t>(c));
    out8(debug_console, static_cast<uint8_t>(c));
}

void print(const char* text) {
    while (*text != '\0')
        put(*text++);
}

void print_hex(uint32_t value) {
    for (int shift = 28; shift >= 0; shift -= 4)
        put("0123456789abcdef"[value >> shift & 15]);
}

void print_decimal(uint32_t value) {
    char digits[11];
    unsigned count = 0;
    do {
        digits[count++] = static_cast<char>('0' + value % 10);
        value /= 10;
    } while (value != 0);
    while (count > 0)
        put(digits[--count]);
}

void tables_start() {
    extern char top asm("stack_top");
    const auto base = reinterpret_cast<uint32_t>(task);
    task[1] = reinterpret_cast<uint32_t>(&top);
    task[2] = 0x10;
    task[task_bytes / 4 - 1] = task_bytes << 16; // no bitmap of ports
    gdt[1] = 0x00cf9a000000ffff;
    gdt[2] = 0x00cf92000000ffff;
    gdt[3] = 0x00cffa000000ffff;
    gdt[4] = 0x00cff2000000ffff;
    gdt[5] =
        0x0000890000000000 | (task_bytes - 1) | uint64_t{base & 0xffffff} << 16 | uint64_t{base >> 24} << 56;
    const TableRegister gdtr{sizeof gdt - 1, reinterpret_cast<uint32_t>(gdt)};
    const TableRegister idtr{sizeof idt - 1, reinterpret_cast<uint32_t>(idt)};
    asm volatile("lgdt %0\n"
                 "ljmp $8, $1f\n"
                 "1: mov $16, %%eax\n"
                 "mov %%eax, %%ds\n mov %%eax, %%es\n mov %%eax, %%ss\n mov %%eax, %%fs\n mov %%eax, %%gs\n"
                 "lidt %1\n"
                 "ltr %w2"
                 :
                 : "m"(gdtr), "m"(idtr), "r"(task_selector)
                 : "eax", "memory");
}

void set_gate(unsigned vector, void (*handler)(), bool user) {
    const auto address = reinterpret_cast<uint32_t>(handler);
    idt[vector] = {static_cast<uint16_t>(address), static_cast<uint16_t>(user ? 0x1b : 0x08),
                   static_cast<uint16_t>(user ? 0xee00 : 0x8e00), static_cast<uint16_t>(address >> 16)};
}

void enter_user(uint32_t entry, uint32_t stack, uint32_t flags) {
    asm volatile("push $0x23\n push %0\n push %1\n push $0x1b\n push %2\n"
                 "mov $0x23, %%eax\n mov %%eax, %%ds\n mov %%eax, %%es\n"
                 "iret"
                 :
                 : "r"(stack), "r"(flags | 0x3002), "r"(entry)
                 : "eax", "memory");
    __builtin_unreachable();
}

// The compiler may call these for structures.
extern "C" void* memset(void* to, int value, unsigned size) {
    auto* bytes = static_cast<volatile char*>(to);
    for (unsigned i = 0; i < size; ++i)
        bytes[i] = static_cast<char>(value);
    return to;
}
extern "C" void* memcpy(void* to, const void* from, unsigned size) {
    auto* target = static_cast<volatile char*>(to);
    const auto* source = static_cast<const char*>(from);
    for (unsigned i = 0; i < size; ++i)
        target[i] = source[i];
    return to;
}
