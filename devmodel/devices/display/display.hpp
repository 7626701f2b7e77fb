// SPDX-License-Identifier: GPL-2.0-or-later
// What a display adapter shows to viewers (VNC, screenshots): a picture in 32-bit pixels, and, in text modes,
// text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace escalus {

struct Rect {
    unsigned x = 0, y = 0, width = 0, height = 0;
    bool operator==(const Rect&) const = default;
};

/// Pixels are 0x00RRGGBB, row after row without padding.
struct Picture {
    unsigned width = 0, height = 0;
    std::vector<std::uint32_t> pixels;
};

/// A text screen: rows of UTF-8 (code page 437 translated), trailing blanks kept; and for each row the PC's
/// attributes (background in the high digit, character in the low one; blinking taken out).
struct TextScreen {
    unsigned columns = 0, rows = 0;
    std::vector<std::string> lines;
    unsigned cursor_column = 0, cursor_row = 0;
    bool cursor_visible = false;
    std::vector<std::vector<std::uint8_t>> attributes{};
};

class Display {
  public:
    virtual ~Display() = default;
    /// Brings `picture` up to date and returns what changed since the last call (everything, after a change
    /// of mode or size, or when `picture` does not have the right size). Called with the device lock held,
    /// some 30 times a second while somebody watches.
    virtual std::vector<Rect> refresh(Picture& picture) = 0;
    /// The whole picture, leaving the refresh state alone.
    [[nodiscard]] virtual Picture snapshot() = 0;
    /// The text screen; empty (0 columns) in graphics modes.
    [[nodiscard]] virtual TextScreen text() = 0;
};

} // namespace escalus
