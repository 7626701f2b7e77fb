// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/display/scan_lines.hpp"

#include <algorithm>

namespace escalus {

std::vector<ScanLine> scan_lines(const VgaRegisters& regs, unsigned count) {
    const unsigned last_row_scan = regs.crtc[9] & 0x1fu;
    const unsigned repeats = (regs.crtc[9] & 0x80) != 0 ? 2 : 1;
    const unsigned pitch = regs.crtc[0x13] * 2u;
    const unsigned split = regs.line_compare();
    const bool pan_below_split = (regs.attribute[0x10] & 0x20) == 0;

    // With nine dots a value of 8 means no shift, and 0 a shift by one.
    unsigned pan = regs.attribute[0x13];
    if (regs.character_width() == 9)
        pan = pan >= 8 ? 0 : pan + 1;
    else
        pan &= 7;

    std::vector<ScanLine> lines;
    lines.reserve(count);
    unsigned address = regs.start_address() + (regs.crtc[8] >> 5 & 3u);
    unsigned row_scan = regs.crtc[8] & 0x1fu;
    unsigned repeated = 0;
    for (unsigned y = 0; y < count; ++y) {
        lines.push_back(
            {address & 0xffff, static_cast<std::uint8_t>(row_scan), static_cast<std::uint8_t>(pan)});
        if (y == split) {
            address = 0;
            row_scan = repeated = 0;
            if (!pan_below_split)
                pan = 0;
        } else if (++repeated == repeats) {
            repeated = 0;
            if (row_scan == last_row_scan) {
                row_scan = 0;
                address += pitch;
            } else {
                row_scan = (row_scan + 1) & 0x1f;
            }
        }
    }
    return lines;
}

void add_rect(std::vector<Rect>& rects, const Rect& rect) {
    constexpr std::size_t enough = 64;
    if (!rects.empty()) {
        auto& last = rects.back();
        const bool adjacent = last.y + last.height == rect.y;
        if (adjacent || rects.size() >= enough) {
            const unsigned right = std::max(last.x + last.width, rect.x + rect.width);
            last.x = std::min(last.x, rect.x);
            last.width = right - last.x;
            last.height = rect.y + rect.height - last.y;
            return;
        }
    }
    rects.push_back(rect);
}

void ChangedRows::put(unsigned y, std::span<const std::uint32_t> row) {
    const auto old = std::span{picture_.pixels}.subspan(std::size_t{y} * picture_.width, picture_.width);
    const auto left = std::ranges::mismatch(row, old).in1 - row.begin();
    if (left == static_cast<std::ptrdiff_t>(row.size()))
        return;
    auto right = static_cast<std::ptrdiff_t>(row.size());
    while (row[static_cast<std::size_t>(right - 1)] == old[static_cast<std::size_t>(right - 1)])
        --right;
    std::copy(row.begin() + left, row.begin() + right, old.begin() + left);
    add_rect(rects_, {static_cast<unsigned>(left), y, static_cast<unsigned>(right - left), 1});
}

} // namespace escalus
