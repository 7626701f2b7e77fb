// SPDX-License-Identifier: GPL-2.0-or-later
// Scan codes: the sets 2 and 3 a keyboard sends, and the translation to set 1 in the keyboard controller (IBM
// PS/2 Hardware Interface Technical Reference, "Keyboards" and "Keyboard and Auxiliary Device Controller").
#pragma once

#include "devmodel/devices/input/input.hpp"

#include <array>
#include <cstdint>

namespace escalus::scan_codes {

inline constexpr std::uint8_t extended = 0xe0, pause_prefix = 0xe1, release = 0xf0;

inline constexpr KeyNumber left_ctrl = 0x1d, right_ctrl = 0x9d, left_shift = 0x2a, right_shift = 0x36,
                           left_alt = 0x38, right_alt = 0xb8, print_screen = 0xb7, pause = 0xc6;

/// What the controller makes of a byte from the keyboard. Break codes and prefixes are the caller's matter.
[[nodiscard]] std::uint8_t set2_to_set1(std::uint8_t code);
/// The set-2 code without its prefix: bit 7 of the key number says whether 0xe0 goes before it. 0: no such
/// key.
[[nodiscard]] std::uint8_t set2(KeyNumber key);
/// Set 3 has one byte a key and no prefixes. 0: no such key.
[[nodiscard]] std::uint8_t set3(KeyNumber key);

/// How a key behaves in set 3.
enum class KeyType : std::uint8_t { All, MakeBreak, MakeOnly, Typematic };
/// The types at power-on, by set-3 code.
[[nodiscard]] std::array<KeyType, 256> default_key_types();

} // namespace escalus::scan_codes
