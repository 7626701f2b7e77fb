// SPDX-License-Identifier: GPL-2.0-or-later
// The window at 0xa0000-0xbffff: which accesses the adapter answers, and whether the guest reaches video
// memory there without an exit.
//
// The window is mapped as memory when the registers make it a linear view of video memory: text and CGA
// modes (odd/even), mode 13h (chain-4), a bank of a VBE mode, and access to a single plane as font loaders
// and X servers use it. Everything else traps, and is done by PlanarMemory.
//
// A change of mapping takes the CPU out of guest mode and costs some exits, so it is put off: a window is
// mapped when a few accesses have trapped in a state that would let them through, and unmapped as soon as,
// and only when, the registers make it answer otherwise. A sequence of register writes (a mode switch, a font
// load) costs one change out and one back, however many registers it writes; a state that lasts for a few
// accesses costs none.
//
// One liberty: reads through a mapped single plane do not load the latches.
#pragma once

#include "devmodel/devices/display/bochs_vbe.hpp"
#include "devmodel/devices/display/dirty_pages.hpp"
#include "devmodel/devices/display/planar_memory.hpp"
#include "devmodel/devices/display/vga_registers.hpp"
#include "devmodel/machine/guest_memory.hpp"

#include <cstdint>
#include <optional>
#include <vector>

namespace escalus {

class LegacyWindow {
  public:
    static constexpr std::uint64_t base = 0xa0000, size = 0x20000;

    LegacyWindow(MemoryMap& memory, MemoryRegion& region, PlanarMemory& planes, DirtyPages& dirty);

    /// After each change of a register that governs access.
    void registers_changed(const VgaRegisters& regs, const BochsVbe& vbe);
    /// Trapped accesses at `offset` from 0xa0000.
    void read(const VgaRegisters& regs, const BochsVbe& vbe, std::uint64_t offset,
              std::span<std::uint8_t> data);
    void write(const VgaRegisters& regs, const BochsVbe& vbe, std::uint64_t offset,
               std::span<const std::uint8_t> data);

    /// Brings the memory into a layout, first unmapping the window if it shows another one.
    void ensure_layout(PlaneLayout layout);
    /// Marks what the guest wrote through the mapping.
    void harvest();
    void unmap();
    [[nodiscard]] bool mapped() const { return mapped_.has_value(); }

  private:
    struct Range {
        std::uint64_t start = 0, size = 0; // offset from 0xa0000
        [[nodiscard]] bool overlaps(const Range& other) const {
            return start < other.start + other.size && other.start < start + size;
        }
        bool operator==(const Range&) const = default;
    };
    struct View {
        Range range;
        std::uint64_t memory_offset = 0;
        PlaneLayout layout = PlaneLayout::Interleaved;
        unsigned patience = 0; // accesses that trap before mapping pays
        bool operator==(const View&) const = default;
    };
    [[nodiscard]] static Range decoded(const VgaRegisters& regs, const BochsVbe& vbe);
    [[nodiscard]] std::optional<View> linear_view(const VgaRegisters& regs, const BochsVbe& vbe) const;
    void map(const View& view);
    void accessed(std::uint64_t offset);

    MemoryMap& memory_;
    MemoryRegion& region_;
    PlanarMemory& planes_;
    DirtyPages& dirty_;
    std::optional<View> wanted_, mapped_;
    unsigned trapped_ = 0; // accesses since wanted_ changed
    std::vector<std::uint64_t> harvested_;
};

} // namespace escalus
