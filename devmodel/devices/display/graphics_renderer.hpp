// SPDX-License-Identifier: GPL-2.0-or-later
// Graphics modes. Of the VGA: 16-colour planar modes, the CGA-compatible 4- and 2-colour modes, and 256
// colours, chained (mode 13h) or not ("mode X"), with panning, split screen and double scan. Of VBE: 4, 8,
// 15, 16, 24 and 32 bits a pixel.
//
// Only scan lines whose memory is marked dirty are drawn, and of these only what differs from the picture is
// reported as changed.
#pragma once

#include "devmodel/devices/display/bochs_vbe.hpp"
#include "devmodel/devices/display/dirty_pages.hpp"
#include "devmodel/devices/display/display.hpp"
#include "devmodel/devices/display/planar_memory.hpp"
#include "devmodel/devices/display/vga_registers.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace escalus {

class GraphicsRenderer {
  public:
    static unsigned width(const VgaRegisters& regs) { return regs.columns() * 8 * regs.dot_width(); }

    /// `all`: whether the memory is marked dirty or not.
    static std::vector<Rect> refresh(const VgaRegisters& regs, const PlanarMemory& memory,
                                     const DirtyPages& dirty, Picture& picture, bool all);
    static std::vector<Rect> refresh(const VgaRegisters& regs, const BochsVbe& vbe,
                                     std::span<const std::uint8_t> memory, const DirtyPages& dirty,
                                     Picture& picture, bool all);
};

} // namespace escalus
