// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/nested/framework/keys.hpp"

#include "vmm/cpu/instructions.hpp"

#include <cstdint>

namespace escalus::nested {

namespace {

constexpr std::uint16_t com1 = 0x3f8, keyboard_data = 0x60, keyboard_status = 0x64;
constexpr std::uint8_t line_data_ready = 1, output_full = 1, from_mouse = 0x20;

// Scan code set 1, US layout, without shift: what the menu needs.
constexpr char layout[] = "\0\0331234567890-=\b\tqwertyuiop[]\n\0asdfghjkl;'`\0\\zxcvbnm,./";

/// 0 when nothing was typed.
char serial_key() {
    const std::uint8_t status = vmm::in8(com1 + 5);
    if (status == 0xff || (status & line_data_ready) == 0)
        return 0;
    const auto c = static_cast<char>(vmm::in8(com1));
    return c == '\r' ? '\n' : c == 0x7f ? '\b' : c;
}

char keyboard_key() {
    const std::uint8_t status = vmm::in8(keyboard_status);
    if (status == 0xff || (status & output_full) == 0)
        return 0;
    const std::uint8_t code = vmm::in8(keyboard_data);
    return (status & from_mouse) == 0 && code < sizeof layout - 1 ? layout[code] : '\0';
}

} // namespace

char read_key() {
    for (;;) {
        if (const char c = serial_key())
            return c;
        if (const char c = keyboard_key())
            return c;
        vmm::pause();
    }
}

} // namespace escalus::nested
