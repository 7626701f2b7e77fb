// SPDX-License-Identifier: GPL-2.0-or-later
// What machines may be called.
#pragma once

#include <string>
#include <string_view>

namespace escalus {

/// A valid machine name made from a file's name: "/isos/Debian 12.iso" -> "Debian-12".
[[nodiscard]] std::string name_from_path(std::string_view path);
/// What is wrong with a machine name; empty when it is fine.
[[nodiscard]] std::string why_bad_name(std::string_view name);

} // namespace escalus
