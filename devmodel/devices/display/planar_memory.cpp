// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/display/planar_memory.hpp"

#include <algorithm>
#include <vector>

namespace escalus {

namespace {

/// Which cell an access means, and which planes the addressing lets through.
struct Target {
    std::uint64_t cell;
    unsigned read_plane;
    unsigned write_planes;
};

Target target(const VgaRegisters& regs, std::uint64_t address) {
    const unsigned map_mask = regs.sequencer[2] & 15u;
    unsigned read_plane = regs.graphics[4] & 3u;
    if (regs.chain_four())
        return {address >> 2, static_cast<unsigned>(address & 3), map_mask & (1u << (address & 3))};

    const bool odd = (address & 1) != 0;
    unsigned write_planes = map_mask;
    if ((regs.sequencer[4] & 4) == 0) // odd/even writes
        write_planes &= odd ? 0b1010u : 0b0101u;
    if ((regs.graphics[5] & 0x10) != 0) // odd/even reads
        read_plane = (read_plane & 2u) | (odd ? 1u : 0u);
    // With odd/even chaining address bit 0 chooses the plane and not the cell.
    return {(regs.graphics[6] & 2) != 0 ? address >> 1 : address, read_plane, write_planes};
}

std::uint8_t rotate(std::uint8_t value, unsigned count) {
    return static_cast<std::uint8_t>(value >> count | value << (8 - count));
}

std::uint8_t combine(unsigned function, std::uint8_t data, std::uint8_t latch) {
    switch (function) {
    case 1:
        return data & latch;
    case 2:
        return data | latch;
    case 3:
        return data ^ latch;
    default:
        return data;
    }
}

constexpr std::uint8_t spread(unsigned bits, unsigned plane) {
    return (bits >> plane & 1u) != 0 ? 0xff : 0;
}

} // namespace

PlanarMemory::PlanarMemory(std::span<std::uint8_t> memory, DirtyPages& dirty)
    : memory_{memory}, dirty_{dirty}, places_{places(layout_)} {}

std::array<PlanarMemory::Place, 4> PlanarMemory::places(PlaneLayout layout) {
    constexpr std::uint64_t n = plane_cells;
    switch (layout) {
    case PlaneLayout::Text:
        return {{{0, 2}, {1, 2}, {2 * n, 1}, {3 * n, 1}}};
    case PlaneLayout::Planar:
        return {{{0, 1}, {n, 1}, {2 * n, 1}, {3 * n, 1}}};
    default:
        return {{{0, 4}, {1, 4}, {2, 4}, {3, 4}}};
    }
}

void PlanarMemory::set_layout(PlaneLayout layout) {
    if (layout == layout_)
        return;
    const std::vector<std::uint8_t> old{memory_.begin(), memory_.begin() + vga_bytes};
    const auto from = places_;
    const auto to = places(layout);
    for (unsigned plane = 0; plane < 4; ++plane)
        for (std::uint64_t cell = 0; cell < plane_cells; ++cell)
            memory_[to[plane].base + to[plane].stride * cell] =
                old[from[plane].base + from[plane].stride * cell];
    layout_ = layout;
    places_ = to;
    dirty_.mark(0, vga_bytes); // marks of the old places mean nothing now
}

void PlanarMemory::extend(bool whole_memory) {
    cell_mask_ = (whole_memory ? memory_.size() / 4 : plane_cells) - 1;
}

void PlanarMemory::load_latches(std::uint64_t cell) {
    for (unsigned plane = 0; plane < 4; ++plane)
        latches_[plane] = at(plane, cell);
}

std::uint8_t PlanarMemory::read(const VgaRegisters& regs, std::uint64_t address) {
    const auto where = target(regs, address);
    load_latches(where.cell);
    if ((regs.graphics[5] & 8) == 0)
        return latches_[where.read_plane];
    // Read mode 1: a one for each pixel whose colour is the one asked for, in the planes that matter.
    unsigned different = 0;
    for (unsigned plane = 0; plane < 4; ++plane)
        if ((regs.graphics[7] >> plane & 1) != 0)
            different |= latches_[plane] ^ spread(regs.graphics[2], plane);
    return static_cast<std::uint8_t>(~different);
}

void PlanarMemory::write(const VgaRegisters& regs, std::uint64_t address, std::uint8_t value) {
    const auto where = target(regs, address);
    const unsigned mode = regs.graphics[5] & 3;
    const unsigned function = regs.graphics[3] >> 3 & 3u;
    const auto rotated = rotate(value, regs.graphics[3] & 7);
    std::uint8_t bit_mask = regs.graphics[8];
    if (mode == 3)
        bit_mask &= rotated;

    for (unsigned plane = 0; plane < 4; ++plane) {
        if ((where.write_planes >> plane & 1) == 0)
            continue;
        const auto latch = latches_[plane];
        std::uint8_t data = latch;
        if (mode != 1) {
            if (mode == 0)
                data = (regs.graphics[1] >> plane & 1) != 0 ? spread(regs.graphics[0], plane) : rotated;
            else
                data = spread(mode == 2 ? value : regs.graphics[0], plane);
            data = combine(function, data, latch);
            data = static_cast<std::uint8_t>((data & bit_mask) | (latch & ~bit_mask));
        }
        const auto to = place(plane, where.cell);
        memory_[to] = data;
        dirty_.mark(to);
    }
}

} // namespace escalus
