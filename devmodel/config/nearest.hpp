// SPDX-License-Identifier: GPL-2.0-or-later
// "Did you mean ...": the candidate with the smallest edit distance.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace escalus {

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

/// The nearest candidate; empty when even that differs in more than a third of the letters.
[[nodiscard]] std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);

} // namespace escalus
