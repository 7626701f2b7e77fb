// SPDX-License-Identifier: GPL-2.0-or-later
// What the test kernels are written with: ports, text on COM1 and on the debug console (port 0x402), the
// Multiboot1 information, interrupt gates. Freestanding 32-bit code: no library, not even libgcc.
#pragma once

#include <stdint.h> // NOLINT(modernize-deprecated-headers): there is no C++ library for this target

struct MultibootModule {
    uint32_t start, end, string, reserved;
};

/// Multiboot Specification 0.6.96, section 3.3.
struct MultibootInfo {
    uint32_t flags, mem_lower, mem_upper, boot_device, command_line, modules_count, modules;
    uint32_t symbols[4];
    uint32_t map_length, map;
};

/// Whether the command line has this in it.
inline bool is_told(const MultibootInfo& info, const char* word) {
    const auto* line = reinterpret_cast<const char*>(info.command_line);
    for (; *line != 0; ++line) {
        unsigned i = 0;
        while (word[i] != 0 && line[i] == word[i])
            ++i;
        if (word[i] == 0)
            return true;
    }
    return false;
}
inline constexpr uint32_t multiboot_magic = 0x2badb002;

inline void out8(uint16_t port, uint8_t value) {
    asm volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}
inline void out16(uint16_t port, uint16_t value) {
    asm volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}
inline void out32(uint16_t port, uint32_t value) {
    asm volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}
inline uint8_t in8(uint16_t port) {
    uint8_t value = 0;
    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
inline uint16_t in16(uint16_t port) {
    uint16_t value = 0;
    asm volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
inline uint32_t in32(uint16_t port) {
    uint32_t value = 0;
    asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/// Sets COM1 to 115200 8N1 without interrupts.
void serial_start();
void put(char c);
void print(const char* text);
void print_hex(uint32_t value);
void print_decimal(uint32_t value);

template <typename... Parts>
void say(Parts... parts) {
    const auto one = [](auto part) {
        if constexpr (sizeof(part) == sizeof(uint32_t) && !__is_same(decltype(part), const char*))
            print_decimal(static_cast<uint32_t>(part));
        else
            print(part);
    };
    (one(parts), ...);
    put('\n');
}

/// Memory that the compiler knows nothing about, at a physical address.
template <typename T>
volatile T& at(uint32_t address) {
    return *reinterpret_cast<volatile T*>(address);
}

/// Loads a flat GDT (kernel code 0x08 and data 0x10, user code 0x1b and data 0x23, a task segment whose stack
/// is that of start.S) and an IDT of 256 gates, empty at first.
void tables_start();
/// `user`: a gate that user mode may use, whose handler runs in user mode.
void set_gate(unsigned vector, void (*handler)(), bool user = false);
/// Continues at `entry` in user mode, with all ports allowed (IOPL 3).
[[noreturn]] void enter_user(uint32_t entry, uint32_t stack, uint32_t flags);
