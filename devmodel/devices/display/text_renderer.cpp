// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/display/text_renderer.hpp"

#include "devmodel/devices/display/code_page.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

namespace {
// A cell as it is drawn: character, attribute, and these.
constexpr std::uint32_t cursor_flag = 1u << 16, hidden_flag = 1u << 17, never = ~0u;

bool cursor_enabled(const VgaRegisters& regs) {
    return (regs.crtc[0x0a] & 0x20) == 0 && (regs.crtc[0x0a] & 0x1f) <= (regs.crtc[0x0b] & 0x1f);
}
bool blinking(const VgaRegisters& regs) {
    return (regs.attribute[0x10] & 8) != 0;
}
} // namespace

std::vector<TextRenderer::Band> TextRenderer::bands(const std::vector<ScanLine>& lines) {
    std::vector<Band> result;
    for (unsigned y = 0; y < lines.size(); ++y) {
        const auto& line = lines[y];
        if (y == 0 || line.address != lines[y - 1].address || line.row_scan < lines[y - 1].row_scan ||
            line.pan != lines[y - 1].pan)
            result.push_back({y, 0, line.address, line.pan});
        ++result.back().height;
    }
    return result;
}

// The character map select register gives each font a place in plane 2: bits 0, 1 and 4, and 2, 3 and 5.
TextRenderer::Fonts TextRenderer::fonts(const VgaRegisters& regs, const PlanarMemory& memory) {
    Fonts result;
    const unsigned select = regs.sequencer[3];
    const std::array<unsigned, 2> maps{(select & 3u) << 1 | (select >> 4 & 1u),
                                       (select >> 2 & 3u) << 1 | (select >> 5 & 1u)};
    for (unsigned font = 0; font < 2; ++font)
        for (unsigned i = 0; i < font_bytes; ++i)
            result[font * font_bytes + i] = memory.at(2, maps[font] * font_bytes + i);
    return result;
}

std::vector<Rect> TextRenderer::refresh(const VgaRegisters& regs, const PlanarMemory& memory, bool written,
                                        Phase phase, Picture& picture, bool all) {
    const Cursor cursor_now{cursor_enabled(regs), regs.cursor_address(),
                            static_cast<unsigned>(regs.crtc[0x0a] << 8 | regs.crtc[0x0b])};
    const bool same_shape = cursor_now.shape == cursor_.shape;
    const bool same_cursor = std::exchange(cursor_, cursor_now) == cursor_now;
    const bool same_phase = std::exchange(phase_, phase) == phase;
    if (!all && !written && same_cursor && same_phase)
        return {};
    if (all) {
        lines_ = scan_lines(regs, picture.height);
        bands_ = bands(lines_);
        for (unsigned i = 0; i < colours_.size(); ++i)
            colours_[i] = regs.colour(i);
    }
    if (all || written) {
        if (const auto now = fonts(regs, memory); all || now != fonts_) {
            fonts_ = now;
            all = true;
        }
    }
    // Panning brings one more column into view.
    const unsigned columns = regs.columns() + 1;
    shown_.resize(std::size_t{columns} * bands_.size());
    const bool cursor = cursor_now.enabled && phase.cursor;
    const unsigned cell_width = regs.character_width() * regs.dot_width();

    std::vector<Rect> rects;
    for (std::size_t row = 0; row < bands_.size(); ++row) {
        const Band& band = bands_[row];
        const unsigned used = band.pan != 0 ? columns : columns - 1;
        unsigned first = used, last = 0;
        for (unsigned column = 0; column < used; ++column) {
            const auto address = (band.address + column) & 0xffff;
            std::uint32_t cell = memory.at(0, address) | memory.at(1, address) << 8;
            if (cursor && address == regs.cursor_address())
                cell |= cursor_flag;
            if (!phase.characters && blinking(regs) && (cell & 0x8000) != 0)
                cell |= hidden_flag;
            auto& shown = shown_[row * columns + column];
            const bool reshaped = !same_shape && (cell & cursor_flag) != 0;
            if (!all && shown == cell && !reshaped)
                continue;
            shown = cell;
            draw(regs, band, column, cell, picture);
            first = std::min(first, column);
            last = column;
        }
        if (first == used)
            continue;
        const unsigned pan = band.pan * regs.dot_width();
        const unsigned left = first * cell_width > pan ? first * cell_width - pan : 0;
        const unsigned right = std::min((last + 1) * cell_width - pan, picture.width);
        if (left >= right) // beyond the widest picture we make
            continue;
        add_rect(rects, {left, band.y, right - left, band.height});
    }
    return rects;
}

void TextRenderer::draw(const VgaRegisters& regs, const Band& band, unsigned column, std::uint32_t cell,
                        Picture& picture) const {
    const auto code = static_cast<std::uint8_t>(cell);
    const auto attribute = static_cast<std::uint8_t>(cell >> 8);
    const auto foreground = colours_[attribute & 15];
    const auto background = colours_[attribute >> 4 & (blinking(regs) ? 7 : 15)];
    const unsigned width = regs.character_width(), wide = regs.dot_width();
    const auto* glyph = &fonts_[((attribute & 8) != 0 ? font_bytes : 0) + code * glyph_bytes];
    const bool joins_right = (regs.attribute[0x10] & 4) != 0 && code >= 0xc0 && code <= 0xdf;
    // Underline is the monochrome attribute "1", where the underline location is within the character.
    const unsigned underline = (attribute & 0x77) == 0x01 ? regs.crtc[0x14] & 0x1fu : never;
    const unsigned cursor_first = regs.crtc[0x0a] & 0x1fu, cursor_last = regs.crtc[0x0b] & 0x1fu;

    const int left = static_cast<int>(column * width * wide) - static_cast<int>(band.pan * wide);
    const int from = std::max(left, 0);
    const int to = std::min(left + static_cast<int>(width * wide), static_cast<int>(picture.width));
    for (unsigned y = band.y; y < band.y + band.height; ++y) {
        const unsigned row_scan = lines_[y].row_scan;
        unsigned dots = 0; // the leftmost is bit 8
        if ((cell & hidden_flag) == 0)
            dots = glyph[row_scan] * 2u;
        if (joins_right)
            dots |= dots >> 1 & 1;
        if (row_scan == underline)
            dots = 0x1ff;
        if ((cell & cursor_flag) != 0 && row_scan >= cursor_first && row_scan <= cursor_last)
            dots = 0x1ff;
        auto* row = &picture.pixels[std::size_t{y} * picture.width];
        for (int x = from; x < to; ++x) {
            const auto dot = static_cast<unsigned>(x - left) / wide;
            row[x] = (dots >> (8 - dot) & 1) != 0 ? foreground : background;
        }
    }
}

TextScreen TextRenderer::text(const VgaRegisters& regs, const PlanarMemory& memory) {
    TextScreen screen;
    screen.columns = regs.columns();
    const std::uint8_t colours = blinking(regs) ? 0x7f : 0xff;
    for (const Band& band : bands(scan_lines(regs, regs.lines()))) {
        std::string line;
        std::vector<std::uint8_t> attributes(screen.columns);
        for (unsigned column = 0; column < screen.columns; ++column) {
            const auto address = (band.address + column) & 0xffff;
            line += utf8_of_cp437(memory.at(0, address));
            attributes[column] = memory.at(1, address) & colours;
            if (address == regs.cursor_address() && !screen.cursor_visible && cursor_enabled(regs)) {
                screen.cursor_column = column;
                screen.cursor_row = screen.rows;
                screen.cursor_visible = true;
            }
        }
        screen.lines.push_back(std::move(line));
        screen.attributes.push_back(std::move(attributes));
        ++screen.rows;
    }
    return screen;
}

} // namespace escalus
