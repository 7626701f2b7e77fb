// SPDX-License-Identifier: GPL-2.0-or-later
// The VGA's four memory planes and the graphics controller's data path between them and the CPU: latches,
// write modes 0-3, read modes 0-1, set/reset, rotate, logical operations, bit mask, map mask, odd/even and
// chain-4 addressing (IBM PS/2 Hardware Interface Technical Reference, "Graphics Controller").
//
// A *cell* is one address of the four planes: four bytes. How cells lie in video memory is ours to choose,
// and is chosen so that what the guest addresses linearly is linear there, and can be mapped:
//   Interleaved  the planes of a cell side by side: chain-4 (mode 13h), the frame buffer of VBE modes
//   Text         planes 0 and 1 side by side, then plane 2, then plane 3: odd/even, that is text and CGA
//   Planar       plane after plane: access to one plane at a time (fonts; X servers saving the screen)
// Changing the layout moves the 256 KiB that a VGA has, and loses nothing.
// (The real part leaves holes instead: it stores chain-4's bytes four cells apart. Software that writes in
// one addressing and reads in another sees the bytes closer together here.)
#pragma once

#include "devmodel/devices/display/dirty_pages.hpp"
#include "devmodel/devices/display/vga_registers.hpp"

#include <array>
#include <cstdint>
#include <span>

namespace escalus {

enum class PlaneLayout : std::uint8_t { Interleaved, Text, Planar };

class PlanarMemory {
  public:
    static constexpr unsigned plane_cells = 0x10000;
    static constexpr std::uint64_t vga_bytes = 4ull * plane_cells;

    /// `memory` is the video memory (at least 256 KiB); what is written is marked in `dirty`.
    PlanarMemory(std::span<std::uint8_t> memory, DirtyPages& dirty);

    [[nodiscard]] PlaneLayout layout() const { return layout_; }
    void set_layout(PlaneLayout layout);

    /// Where a cell's byte of a plane lies in video memory. Cells beyond the planes wrap, unless they are an
    /// interleaved frame buffer's, which may be as large as the memory.
    [[nodiscard]] std::uint64_t place(unsigned plane, std::uint64_t cell) const {
        const auto& where = places_[plane];
        return where.base + where.stride * (cell & cell_mask_);
    }
    [[nodiscard]] std::uint8_t at(unsigned plane, std::uint64_t cell) const {
        return memory_[place(plane, cell)];
    }
    /// For VBE's planar mode: all of the memory as interleaved planes.
    void extend(bool whole_memory);

    /// CPU accesses to `address` bytes from the start of the window that the registers decode.
    [[nodiscard]] std::uint8_t read(const VgaRegisters& regs, std::uint64_t address);
    void write(const VgaRegisters& regs, std::uint64_t address, std::uint8_t value);

  private:
    struct Place {
        std::uint64_t base;
        std::uint64_t stride;
    };
    [[nodiscard]] static std::array<Place, 4> places(PlaneLayout layout);
    void load_latches(std::uint64_t cell);

    std::span<std::uint8_t> memory_;
    DirtyPages& dirty_;
    PlaneLayout layout_ = PlaneLayout::Interleaved;
    std::array<Place, 4> places_;
    std::uint64_t cell_mask_ = plane_cells - 1;
    std::array<std::uint8_t, 4> latches_{};
};

} // namespace escalus
