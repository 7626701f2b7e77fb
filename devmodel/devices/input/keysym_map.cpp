// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/input/keysym_map.hpp"

#include "devmodel/devices/input/keymaps.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace escalus {

namespace {

struct NamedKey {
    std::string_view name;
    KeyNumber key;
    std::uint32_t keysym; // 0: none of its own
};

// Keys that are the same in every layout. The first name of a key is QEMU's; synonyms follow it.
constexpr NamedKey fixed_keys[] = {
    {"esc", 0x01, 0xff1b},
    {"escape", 0x01, 0},
    {"backspace", 0x0e, 0xff08},
    {"tab", 0x0f, 0xff09},
    {"tab", 0x0f, 0xfe20}, // ISO_Left_Tab: Tab with Shift
    {"ret", 0x1c, 0xff0d},
    {"return", 0x1c, 0},
    {"enter", 0x1c, 0},
    {"spc", 0x39, 0x20},
    {"space", 0x39, 0xa0},
    {"shift", 0x2a, 0xffe1},
    {"shift_l", 0x2a, 0},
    {"shift_r", 0x36, 0xffe2},
    {"ctrl", 0x1d, 0xffe3},
    {"control", 0x1d, 0},
    {"ctrl_l", 0x1d, 0},
    {"ctrl_r", 0x9d, 0xffe4},
    {"alt", 0x38, 0xffe9},
    {"alt_l", 0x38, 0xffe7}, // Meta_L
    {"alt_r", 0xb8, 0xffea},
    {"altgr", 0xb8, 0xfe03}, // ISO_Level3_Shift
    {"altgr", 0xb8, 0xff7e}, // Mode_switch
    {"altgr_r", 0xb8, 0xffe8},
    {"meta_l", 0xdb, 0xffeb},
    {"super", 0xdb, 0},
    {"win", 0xdb, 0},
    {"meta_r", 0xdc, 0xffec},
    {"menu", 0xdd, 0xff67},
    {"compose", 0xdd, 0xff20},
    {"caps_lock", 0x3a, 0xffe5},
    {"num_lock", 0x45, 0xff7f},
    {"scroll_lock", 0x46, 0xff14},
    {"print", 0xb7, 0xff61},
    {"prtsc", 0xb7, 0},
    {"sysrq", 0x54, 0xff15},
    {"pause", 0xc6, 0xff13},
    {"break", 0xc6, 0xff6b},
    {"insert", 0xd2, 0xff63},
    {"ins", 0xd2, 0},
    {"delete", 0xd3, 0xffff},
    {"del", 0xd3, 0},
    {"home", 0xc7, 0xff50},
    {"end", 0xcf, 0xff57},
    {"pgup", 0xc9, 0xff55},
    {"pageup", 0xc9, 0},
    {"pgdn", 0xd1, 0xff56},
    {"pagedown", 0xd1, 0},
    {"up", 0xc8, 0xff52},
    {"down", 0xd0, 0xff54},
    {"left", 0xcb, 0xff51},
    {"right", 0xcd, 0xff53},
    {"kp_0", 0x52, 0xffb0},
    {"kp_1", 0x4f, 0xffb1},
    {"kp_2", 0x50, 0xffb2},
    {"kp_3", 0x51, 0xffb3},
    {"kp_4", 0x4b, 0xffb4},
    {"kp_5", 0x4c, 0xffb5},
    {"kp_6", 0x4d, 0xffb6},
    {"kp_7", 0x47, 0xffb7},
    {"kp_8", 0x48, 0xffb8},
    {"kp_9", 0x49, 0xffb9},
    {"kp_insert", 0x52, 0xff9e},
    {"kp_end", 0x4f, 0xff9c},
    {"kp_down", 0x50, 0xff99},
    {"kp_pgdn", 0x51, 0xff9b},
    {"kp_left", 0x4b, 0xff96},
    {"kp_begin", 0x4c, 0xff9d},
    {"kp_right", 0x4d, 0xff98},
    {"kp_home", 0x47, 0xff95},
    {"kp_up", 0x48, 0xff97},
    {"kp_pgup", 0x49, 0xff9a},
    {"kp_delete", 0x53, 0xff9f},
    {"kp_decimal", 0x53, 0xffae},
    {"kp_separator", 0x53, 0xffac},
    {"kp_add", 0x4e, 0xffab},
    {"kp_subtract", 0x4a, 0xffad},
    {"kp_multiply", 0x37, 0xffaa},
    {"kp_divide", 0xb5, 0xffaf},
    {"kp_enter", 0x9c, 0xff8d},
    {"f1", 0x3b, 0xffbe},
    {"f2", 0x3c, 0xffbf},
    {"f3", 0x3d, 0xffc0},
    {"f4", 0x3e, 0xffc1},
    {"f5", 0x3f, 0xffc2},
    {"f6", 0x40, 0xffc3},
    {"f7", 0x41, 0xffc4},
    {"f8", 0x42, 0xffc5},
    {"f9", 0x43, 0xffc6},
    {"f10", 0x44, 0xffc7},
    {"f11", 0x57, 0xffc8},
    {"f12", 0x58, 0xffc9},
};

// Keys by what is printed on them in the US layout; "less" is the key that only European keyboards have.
constexpr NamedKey printed_keys[] = {
    {"1", 0x02, 0},
    {"2", 0x03, 0},
    {"3", 0x04, 0},
    {"4", 0x05, 0},
    {"5", 0x06, 0},
    {"6", 0x07, 0},
    {"7", 0x08, 0},
    {"8", 0x09, 0},
    {"9", 0x0a, 0},
    {"0", 0x0b, 0},
    {"minus", 0x0c, 0},
    {"equal", 0x0d, 0},
    {"q", 0x10, 0},
    {"w", 0x11, 0},
    {"e", 0x12, 0},
    {"r", 0x13, 0},
    {"t", 0x14, 0},
    {"y", 0x15, 0},
    {"u", 0x16, 0},
    {"i", 0x17, 0},
    {"o", 0x18, 0},
    {"p", 0x19, 0},
    {"bracket_left", 0x1a, 0},
    {"bracket_right", 0x1b, 0},
    {"a", 0x1e, 0},
    {"s", 0x1f, 0},
    {"d", 0x20, 0},
    {"f", 0x21, 0},
    {"g", 0x22, 0},
    {"h", 0x23, 0},
    {"j", 0x24, 0},
    {"k", 0x25, 0},
    {"l", 0x26, 0},
    {"semicolon", 0x27, 0},
    {"apostrophe", 0x28, 0},
    {"grave_accent", 0x29, 0},
    {"z", 0x2c, 0},
    {"x", 0x2d, 0},
    {"c", 0x2e, 0},
    {"v", 0x2f, 0},
    {"b", 0x30, 0},
    {"n", 0x31, 0},
    {"m", 0x32, 0},
    {"comma", 0x33, 0},
    {"dot", 0x34, 0},
    {"slash", 0x35, 0},
    {"backslash", 0x2b, 0},
    {"less", 0x56, 0},
    {"period", 0x34, 0},
    {"asterisk", 0x37, 0},
};

std::string lower(std::string_view text) {
    std::string result{text};
    std::ranges::transform(result, result.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return result;
}

/// Keysyms for Unicode characters: Latin-1 by themselves, the others with bit 24 set.
constexpr std::uint32_t keysym_of(char32_t character) {
    return character < 0x100 ? character : 0x0100'0000u | character;
}

} // namespace

KeysymMap::KeysymMap(std::string_view keymap) {
    auto wanted = lower(keymap);
    if (const auto other = std::ranges::find(keymaps::synonyms, wanted, &keymaps::Synonym::name);
        other != keymaps::synonyms.end())
        wanted = other->layout;
    const auto layout = std::ranges::find(keymaps::layouts, wanted, &keymaps::Layout::name);
    if (layout == keymaps::layouts.end())
        throw std::invalid_argument{
            fmt::format("unknown keymap \"{}\"; there are: {}", keymap, fmt::join(names(), ", "))};
    for (const auto& named : fixed_keys)
        if (named.keysym != 0)
            keys_.try_emplace(named.keysym, KeyPress{.key = named.key});
    // The plain level first: where two keys give a character, the easier one is taken.
    const auto add = [this](const std::u32string_view row, std::span<const KeyNumber> places, bool shift,
                            bool altgr) {
        for (std::size_t i = 0; i < row.size() && i < places.size(); ++i)
            if (row[i] != U' ')
                keys_.try_emplace(keysym_of(row[i]), KeyPress{places[i], shift, altgr, true});
    };
    for (std::size_t row = 0; row < keymaps::rows.size(); ++row)
        add(layout->plain[row], keymaps::rows[row], false, false);
    for (std::size_t row = 0; row < keymaps::rows.size(); ++row)
        add(layout->shifted[row], keymaps::rows[row], true, false);
    for (std::size_t row = 0; row < keymaps::rows.size(); ++row)
        add(layout->altgr[row], keymaps::rows[row], false, true);
    for (const auto& dead : layout->dead_keys)
        keys_.try_emplace(dead.keysym, KeyPress{dead.key, dead.shift, dead.altgr, true});
    // The one character that keysymdef.h has under a number of its own, too.
    if (const auto euro = keys_.find(keysym_of(U'\u20ac')); euro != keys_.end())
        keys_.try_emplace(0x20ac, euro->second);
}

const std::vector<std::string>& KeysymMap::names() {
    static const std::vector<std::string> all = [] {
        std::vector<std::string> result;
        result.reserve(keymaps::layouts.size() + keymaps::synonyms.size());
        for (const auto& layout : keymaps::layouts)
            result.emplace_back(layout.name);
        for (const auto& synonym : keymaps::synonyms)
            result.emplace_back(synonym.name);
        return result;
    }();
    return all;
}

std::optional<KeyPress> KeysymMap::find(std::uint32_t keysym) const {
    // Viewers may send U+00XX for Latin-1 characters, too.
    if (keysym >= 0x0100'0020 && keysym < 0x0100'0100)
        keysym &= 0xff;
    if (const auto it = keys_.find(keysym); it != keys_.end())
        return it->second;
    return std::nullopt;
}

std::optional<KeyNumber> key_by_name(std::string_view name) {
    const auto wanted = lower(name);
    for (const auto& named : fixed_keys)
        if (named.name == wanted)
            return named.key;
    for (const auto& named : printed_keys)
        if (named.name == wanted)
            return named.key;
    if (wanted.size() > 2 && wanted.size() <= 4 && wanted.starts_with("0x")) {
        unsigned value = 0;
        const auto* end = wanted.data() + wanted.size();
        if (const auto [stop, error] = std::from_chars(wanted.data() + 2, end, value, 16);
            error == std::errc{} && stop == end && value != 0)
            return static_cast<KeyNumber>(value);
    }
    return std::nullopt;
}

std::vector<KeyNumber> keys_by_name(std::string_view chord) {
    std::vector<KeyNumber> keys;
    keys.reserve(static_cast<std::size_t>(std::ranges::count(chord, '-')) + 1);
    for (std::size_t start = 0; start <= chord.size();) {
        // A "-" at the end, or one that another follows, is the key and not the separator.
        auto end = chord.find('-', start + (start < chord.size() && chord[start] == '-' ? 1 : 0));
        end = std::min(end, chord.size());
        auto part = chord.substr(start, end - start);
        if (part == "-")
            part = "minus";
        const auto key = key_by_name(part);
        if (!key)
            throw std::invalid_argument{part.empty()
                                            ? fmt::format("\"{}\" has a part without a key name", chord)
                                            : fmt::format("\"{}\" is no key name", part)};
        keys.push_back(*key);
        start = end + 1;
        if (end == chord.size())
            break;
    }
    return keys;
}

} // namespace escalus
