// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/display/graphics_renderer.hpp"

#include "devmodel/devices/display/scan_lines.hpp"

#include <algorithm>
#include <array>

namespace escalus {

namespace {

/// The colours of a mode: 16 through the palette, or 256 straight from the DAC.
struct Colours {
    std::array<std::uint32_t, 16> palette;
    std::array<std::uint32_t, 256> dac;
    explicit Colours(const VgaRegisters& regs) {
        for (unsigned i = 0; i < palette.size(); ++i)
            palette[i] = regs.colour(i);
        for (unsigned i = 0; i < dac.size(); ++i)
            dac[i] = regs.dac.colour(static_cast<std::uint8_t>(i));
    }
};

/// How the sequencer and the graphics controller turn the four bytes of a cell into eight dots.
enum class Shift { Planes, Pairs, Bytes };

Shift shift_mode(const VgaRegisters& regs) {
    if ((regs.graphics[5] & 0x40) != 0)
        return Shift::Bytes;
    return (regs.graphics[5] & 0x20) != 0 ? Shift::Pairs : Shift::Planes;
}

using Cell = std::array<std::uint8_t, 4>;
using Dots = std::array<std::uint32_t, 8>;

unsigned planar_pixel(const Cell& cell, unsigned dot) {
    unsigned pixel = 0;
    for (unsigned plane = 0; plane < 4; ++plane)
        pixel |= (cell[plane] >> (7 - dot) & 1u) << plane;
    return pixel;
}

void shift_out(Shift shift, const Cell& cell, const Colours& colours, Dots& dots) {
    for (unsigned dot = 0; dot < 8; ++dot) {
        switch (shift) {
        case Shift::Bytes: // a byte of each plane in turn, two dots long
            dots[dot] = colours.dac[cell[dot / 2]];
            break;
        case Shift::Pairs: { // two bits of planes 0 and 2, then of planes 1 and 3
            const unsigned plane = dot / 4, bit = 6 - 2 * (dot % 4);
            dots[dot] = colours.palette[(cell[plane] >> bit & 3u) | (cell[plane + 2] >> bit & 3u) << 2];
            break;
        }
        case Shift::Planes:
            dots[dot] = colours.palette[planar_pixel(cell, dot)];
            break;
        }
    }
}

// The CRTC can replace address bits 13 and 14 by the low bits of the row scan, as the CGA's and Hercules'
// interlaced banks need. Those bits are of the byte address: in word mode the cell has them one place lower,
// in doubleword mode two.
std::uint32_t line_address(const VgaRegisters& regs, const ScanLine& line) {
    const unsigned mode = regs.crtc[0x17];
    const unsigned bit = (regs.crtc[0x14] & 0x40) != 0 ? 11 : (mode & 0x40) == 0 ? 12 : 13;
    auto address = line.address;
    if ((mode & 1) == 0)
        address = (address & ~(1u << bit)) | (line.row_scan & 1u) << bit;
    if ((mode & 2) == 0)
        address = (address & ~(2u << bit)) | (line.row_scan >> 1 & 1u) << (bit + 1);
    return address;
}

bool any_dirty(const PlanarMemory& memory, const DirtyPages& dirty, std::uint32_t address, unsigned cells) {
    const auto last = address + cells - 1;
    if (last > 0xffff) // wraps: rare enough not to look closer
        return true;
    for (unsigned plane = 0; plane < 4; ++plane) {
        const auto from = memory.place(plane, address);
        if (dirty.any(from, memory.place(plane, last) - from + 1))
            return true;
    }
    return false;
}

void convert_line(unsigned bits, const Colours& colours, std::span<const std::uint8_t> from,
                  std::span<std::uint32_t> row) {
    const auto half = [&](std::size_t x) -> unsigned { return from[2 * x] | from[2 * x + 1] << 8; };
    const auto five = [](unsigned v) { return (v & 31) << 3 | (v & 31) >> 2; };
    const auto six = [](unsigned v) { return (v & 63) << 2 | (v & 63) >> 4; };
    for (std::size_t x = 0; x < row.size(); ++x) {
        switch (bits) {
        case 4: {
            const Cell cell{from[x / 8 * 4], from[x / 8 * 4 + 1], from[x / 8 * 4 + 2], from[x / 8 * 4 + 3]};
            row[x] = colours.palette[planar_pixel(cell, x % 8)];
            break;
        }
        case 8:
            row[x] = colours.dac[from[x]];
            break;
        case 15:
            row[x] = five(half(x) >> 10) << 16 | five(half(x) >> 5) << 8 | five(half(x));
            break;
        case 16:
            row[x] = five(half(x) >> 11) << 16 | six(half(x) >> 5) << 8 | five(half(x));
            break;
        default: {
            const auto* pixel = &from[x * (bits / 8)];
            row[x] = static_cast<std::uint32_t>(pixel[2] << 16 | pixel[1] << 8 | pixel[0]);
            break;
        }
        }
    }
}

} // namespace

std::vector<Rect> GraphicsRenderer::refresh(const VgaRegisters& regs, const PlanarMemory& memory,
                                            const DirtyPages& dirty, Picture& picture, bool all) {
    const auto shift = shift_mode(regs);
    const Colours colours{regs};
    const unsigned wide = regs.dot_width();
    const unsigned cells = regs.columns() + 1; // one more comes into view by panning
    const auto lines = scan_lines(regs, picture.height);

    ChangedRows changed{picture};
    std::vector<std::uint32_t> dots(std::size_t{cells} * 8 * wide);
    std::uint32_t drawn_address = ~0u; // what `dots` holds: lines often come twice
    for (unsigned y = 0; y < picture.height; ++y) {
        const auto address = line_address(regs, lines[y]);
        if (!all && !any_dirty(memory, dirty, address, cells))
            continue;
        if (address != drawn_address) {
            drawn_address = address;
            Dots eight{};
            for (unsigned i = 0; i < cells; ++i) {
                Cell cell;
                for (unsigned plane = 0; plane < 4; ++plane)
                    cell[plane] = memory.at(plane, address + i);
                shift_out(shift, cell, colours, eight);
                for (unsigned dot = 0; dot < 8 * wide; ++dot)
                    dots[i * 8 * wide + dot] = eight[dot / wide];
            }
        }
        // In 256-colour modes a step of panning is half a pixel, which is one of these dots.
        changed.put(y, std::span{dots}.subspan((lines[y].pan & 7u) * wide, picture.width));
    }
    return changed.take();
}

std::vector<Rect> GraphicsRenderer::refresh(const VgaRegisters& regs, const BochsVbe& vbe,
                                            std::span<const std::uint8_t> memory, const DirtyPages& dirty,
                                            Picture& picture, bool all) {
    const Colours colours{regs};
    const auto stride = vbe.stride();
    const auto bytes =
        vbe.bits() == 4 ? (picture.width + 7u) / 8 * 4 : picture.width * ((vbe.bits() + 7u) / 8);
    ChangedRows changed{picture};
    std::vector<std::uint32_t> row(picture.width);
    for (unsigned y = 0; y < picture.height; ++y) {
        const auto from = vbe.start() + y * stride;
        if (from + bytes > memory.size() || (!all && !dirty.any(from, bytes)))
            continue;
        convert_line(vbe.bits(), colours, memory.subspan(from, bytes), row);
        changed.put(y, row);
    }
    return changed.take();
}

} // namespace escalus
