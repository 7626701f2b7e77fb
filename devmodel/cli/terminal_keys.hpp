// SPDX-License-Identifier: GPL-2.0-or-later
// From the bytes that a terminal in raw mode sends to keys: characters, control characters, and the escape
// sequences of xterm, VT220, rxvt and the Linux console for the other keys (ECMA-48; xterm's ctlseqs).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace escalus {

/// One thing typed: a chord as `escalus send-key` takes it, or text.
struct TypedKey {
    std::string chord; ///< "ctrl-c", "alt-f1", "up"; empty: `text`
    std::string text;  ///< UTF-8, printable
    bool operator==(const TypedKey&) const = default;
};

struct TypedKeys {
    std::vector<TypedKey> keys;
    bool leave = false; ///< Ctrl-] came; what followed is dropped
};

/// The keys in one piece of input. A terminal sends a sequence in one piece, so an ESC with nothing after it
/// is the key. What cannot be understood is dropped.
[[nodiscard]] TypedKeys typed_keys(std::string_view bytes);

} // namespace escalus
