// SPDX-License-Identifier: GPL-2.0-or-later
// Every key that xl.cfg(5) (Xen 4.17) or Xen 3's xm knows, and what becomes of it here.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace escalus {

enum class KeyFate {
    Used,        ///< acted on
    NotYet,      ///< a feature that is missing: ignored with a warning
    NoEffect,    ///< means nothing here and changes nothing for the guest: ignored with a note
    RefusedIfSet ///< ignoring it would change what the machine is: an error, unless its value says no
};

struct KeyInfo {
    std::string_view name;
    KeyFate fate;
    std::string_view remark; ///< Used: what it is; else why, in the words of the message
};

/// Sorted by name.
[[nodiscard]] std::span<const KeyInfo> key_table();
[[nodiscard]] const KeyInfo* find_key(std::string_view name);
/// The known key that `name` may have been meant as; empty when none is near.
[[nodiscard]] std::string_view nearest_key(std::string_view name);

/// The table as docs/DOMAIN_FILES.md shows it.
[[nodiscard]] std::string key_table_markdown();

} // namespace escalus
