// SPDX-License-Identifier: GPL-2.0-or-later
// A picture as a PNG file (ISO/IEC 15948), by libpng: 8-bit RGB, no metadata, so that equal pictures give
// equal files.
#pragma once

#include "devmodel/devices/display/display.hpp"

#include <cstdint>
#include <vector>

namespace escalus {

/// Throws std::invalid_argument for an empty picture or one whose pixels do not match its size.
std::vector<std::uint8_t> encode_png(const Picture& picture);

} // namespace escalus
