// SPDX-License-Identifier: GPL-2.0-or-later
// The record of changed pages that nvram_file.hpp puts behind the image: "ESCNVRJ1", the number of pages, the
// CRC-32 of what follows, and for each page its number and its bytes. Numbers are 32 bits, little-endian.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace escalus {

inline constexpr std::size_t nvram_page = 4096;

/// The record of these pages of the image, by number. The last page may be short.
[[nodiscard]] std::vector<std::uint8_t> make_nvram_record(std::span<const std::uint8_t> image,
                                                          std::span<const std::uint32_t> pages);

/// Puts a record's pages into the image, whatever the record's bytes are. Returns the numbers of the pages;
/// nothing, with the image as it was, when the record is not whole or not this image's.
[[nodiscard]] std::optional<std::vector<std::uint32_t>>
apply_nvram_record(std::span<const std::uint8_t> record, std::span<std::uint8_t> image);

} // namespace escalus
