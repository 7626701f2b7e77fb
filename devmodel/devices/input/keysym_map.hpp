// SPDX-License-Identifier: GPL-2.0-or-later
// From characters to keys: for VNC viewers that send X11 keysyms instead of key numbers, and for
// `escalus send-key`. A keymap says which key, with which modifiers, gives a keysym on the keyboard that the
// guest is set to. (Keysyms: X11 protocol, keysymdef.h. Names: as in QEMU's "sendkey".)
#pragma once

#include "devmodel/devices/input/input.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace escalus {

struct KeyPress {
    KeyNumber key = 0;
    bool shift = false; ///< this keysym needs Shift down
    bool altgr = false; ///< this keysym needs AltGr (right Alt) down
    /// The keysym has the same key with and without Shift (function keys, modifiers, keypad): leave the
    /// modifiers as they are.
    bool modifiers_matter = false;
    bool operator==(const KeyPress&) const = default;
};

class KeysymMap {
  public:
    /// "en-us", "en-gb", "de", "fr" and the synonyms "us", "gb", "uk". Throws std::invalid_argument with the
    /// list of names for another one.
    explicit KeysymMap(std::string_view keymap = "en-us");
    [[nodiscard]] static const std::vector<std::string>& names();

    /// Nothing when no key of this layout gives the keysym.
    [[nodiscard]] std::optional<KeyPress> find(std::uint32_t keysym) const;

  private:
    std::unordered_map<std::uint32_t, KeyPress> keys_;
};

/// A key by name: "a", "f1", "ret", "esc", "down", "ctrl", "kp_enter", "shift_r" (QEMU's names and the usual
/// synonyms, any case), or "0x1c" (a KeyNumber in hexadecimal).
[[nodiscard]] std::optional<KeyNumber> key_by_name(std::string_view name);
/// A chord such as "ctrl-alt-delete" in the order it is to be pressed. Throws std::invalid_argument naming
/// the part that is no key.
[[nodiscard]] std::vector<KeyNumber> keys_by_name(std::string_view chord);

} // namespace escalus
