// SPDX-License-Identifier: GPL-2.0-or-later
// Code page 437, the character set of the PC's text screen, in UTF-8 (mapping: IBM's CP00437 with the
// graphic characters of 0x01-0x1f and 0x7f).
#pragma once

#include <cstdint>
#include <string_view>

namespace escalus {

/// The character at a code; 0x00 and 0xff are blanks.
std::string_view utf8_of_cp437(std::uint8_t code);

} // namespace escalus
