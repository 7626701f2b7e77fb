// SPDX-License-Identifier: GPL-2.0-or-later
// What the CRT controller fetches for each scan line: start address, offset, double scan, character rows,
// preset row scan, line compare (split screen), panning (IBM PS/2 Hardware Interface Technical Reference,
// "CRT Controller").
#pragma once

#include "devmodel/devices/display/display.hpp"
#include "devmodel/devices/display/vga_registers.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace escalus {

struct ScanLine {
    std::uint32_t address = 0; ///< the cell at the left edge
    std::uint8_t row_scan = 0; ///< the line within the character row
    std::uint8_t pan = 0;      ///< dots to shift to the left
    bool operator==(const ScanLine&) const = default;
};

/// One entry a scan line shown.
std::vector<ScanLine> scan_lines(const VgaRegisters& regs, unsigned count);

/// Replaces row `y` of the picture, and notes which part of it changed. Rows must come from top to bottom.
class ChangedRows {
  public:
    explicit ChangedRows(Picture& picture) : picture_{picture} {}
    void put(unsigned y, std::span<const std::uint32_t> row);
    [[nodiscard]] std::vector<Rect> take() { return std::move(rects_); }

  private:
    Picture& picture_;
    std::vector<Rect> rects_;
};

/// Adds a rectangle, joined to the last one when it continues that downwards. Keeps the list short.
void add_rect(std::vector<Rect>& rects, const Rect& rect);

} // namespace escalus
