// SPDX-License-Identifier: GPL-2.0-or-later
// Keyboard layouts as data: which character stands on which key, row by row, in levels. (The layouts are
// those of the ISO/IEC 9995 keyboards sold in each country, as X11's xkeyboard-config names them.)
#pragma once

#include "devmodel/devices/input/input.hpp"

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

namespace escalus::keymaps {

/// A key that changes the next character.
struct DeadKey {
    std::uint32_t keysym;
    KeyNumber key;
    bool shift = false, altgr = false;
};

/// The four rows of typing keys: `rows` says where each place is. A blank is a place without a character.
using Level = std::array<std::u32string_view, 4>;
struct Layout {
    std::string_view name;
    Level plain, shifted, altgr;
    std::span<const DeadKey> dead_keys;
};

/// Key numbers of the places: digits (with the key left of 1), letters, letters (with the key left of Enter),
/// letters (with the key that only ISO keyboards have, first).
extern const std::array<std::span<const KeyNumber>, 4> rows;
extern const std::array<Layout, 4> layouts;

/// Other names for layouts.
struct Synonym {
    std::string_view name, layout;
};
extern const std::array<Synonym, 3> synonyms;

} // namespace escalus::keymaps
