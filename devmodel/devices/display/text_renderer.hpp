// SPDX-License-Identifier: GPL-2.0-or-later
// Text modes: characters and attributes from planes 0 and 1, fonts from plane 2, drawn with the CRT and
// attribute controllers' options: 8 or 9 dots, 40/80/132 columns, any character height, two fonts, blinking
// or bright backgrounds, underline, cursor, panning and split screen.
//
// State: what was drawn, so that a refresh draws only the cells that changed.
#pragma once

#include "devmodel/devices/display/display.hpp"
#include "devmodel/devices/display/planar_memory.hpp"
#include "devmodel/devices/display/scan_lines.hpp"
#include "devmodel/devices/display/vga_registers.hpp"

#include <array>
#include <cstdint>
#include <vector>

namespace escalus {

class TextRenderer {
  public:
    /// Which of the blinking things are shown.
    struct Phase {
        bool cursor = true, characters = true;
        bool operator==(const Phase&) const = default;
    };

    static unsigned width(const VgaRegisters& regs) {
        return regs.columns() * regs.character_width() * regs.dot_width();
    }
    /// Draws what changed; everything when `all` is set. `written` says whether memory may have changed.
    std::vector<Rect> refresh(const VgaRegisters& regs, const PlanarMemory& memory, bool written, Phase phase,
                              Picture& picture, bool all);
    [[nodiscard]] static TextScreen text(const VgaRegisters& regs, const PlanarMemory& memory);

  private:
    static constexpr unsigned glyph_bytes = 32;
    static constexpr unsigned font_bytes = 256 * glyph_bytes;
    using Fonts = std::array<std::uint8_t, 2 * font_bytes>; // for attribute bit 3 clear, and set

    /// Consecutive scan lines of one character row.
    struct Band {
        unsigned y = 0, height = 0;
        std::uint32_t address = 0;
        std::uint8_t pan = 0;
        bool operator==(const Band&) const = default;
    };
    struct Cursor {
        bool enabled = false;
        unsigned address = 0, shape = 0;
        bool operator==(const Cursor&) const = default;
    };
    static std::vector<Band> bands(const std::vector<ScanLine>& lines);
    static Fonts fonts(const VgaRegisters& regs, const PlanarMemory& memory);
    void draw(const VgaRegisters& regs, const Band& band, unsigned column, std::uint32_t cell,
              Picture& picture) const;

    std::vector<ScanLine> lines_;
    std::vector<Band> bands_;
    std::array<std::uint32_t, 16> colours_{};
    Fonts fonts_{};
    Cursor cursor_;
    Phase phase_;
    std::vector<std::uint32_t> shown_; // per band and column: the cell as it was drawn
};

} // namespace escalus
