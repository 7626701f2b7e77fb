// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/display/legacy_window.hpp"

#include <algorithm>
#include <array>
#include <bit>

namespace escalus {

namespace {
constexpr unsigned patience_window = 4, patience_plane = 32;

/// The graphics controller passes bytes through unchanged, both ways.
bool transparent(const VgaRegisters& regs) {
    const auto& g = regs.graphics;
    return (g[1] & 15) == 0 && (g[3] & 0x1f) == 0 && (g[5] & 0x0b) == 0 && g[8] == 0xff;
}
} // namespace

LegacyWindow::LegacyWindow(MemoryMap& memory, MemoryRegion& region, PlanarMemory& planes, DirtyPages& dirty)
    : memory_{memory}, region_{region}, planes_{planes}, dirty_{dirty} {}

LegacyWindow::Range LegacyWindow::decoded(const VgaRegisters& regs, const BochsVbe& vbe) {
    if (vbe.enabled())
        return {0, 0x10000};
    if (!regs.ram_enabled())
        return {};
    static constexpr std::array<Range, 4> ranges{
        {{0, 0x20000}, {0, 0x10000}, {0x10000, 0x8000}, {0x18000, 0x8000}}};
    return ranges[regs.graphics[6] >> 2 & 3];
}

std::optional<LegacyWindow::View> LegacyWindow::linear_view(const VgaRegisters& regs,
                                                            const BochsVbe& vbe) const {
    const Range range = decoded(regs, vbe);
    if (range.size == 0)
        return {};
    if (vbe.enabled() && !vbe.planar())
        return View{range, vbe.bank_offset(), PlaneLayout::Interleaved, patience_window};
    if (vbe.planar() || !transparent(regs))
        return {};

    const unsigned map_mask = regs.sequencer[2];
    const bool odd_even_writes = (regs.sequencer[4] & 4) == 0;
    const bool odd_even_reads = (regs.graphics[5] & 0x10) != 0;
    const bool odd_even_cells = (regs.graphics[6] & 2) != 0;
    if (regs.chain_four()) {
        if (map_mask == 15)
            return View{range, 0, PlaneLayout::Interleaved, patience_window};
        return {};
    }
    if (odd_even_writes && odd_even_reads && odd_even_cells) {
        if (map_mask == 3 && (regs.graphics[4] & 2) == 0)
            return View{range, 0, PlaneLayout::Text, patience_window};
        return {};
    }
    const unsigned plane = regs.graphics[4] & 3;
    if (!odd_even_writes && !odd_even_reads && !odd_even_cells && map_mask == 1u << plane) {
        // The text layout keeps planes 2 and 3 in one piece too, and need not be left for them.
        const auto layout =
            planes_.layout() == PlaneLayout::Text && plane >= 2 ? PlaneLayout::Text : PlaneLayout::Planar;
        return View{{range.start, std::min<std::uint64_t>(range.size, PlanarMemory::plane_cells)},
                    plane * std::uint64_t{PlanarMemory::plane_cells},
                    layout,
                    patience_plane};
    }
    return {};
}

void LegacyWindow::registers_changed(const VgaRegisters& regs, const BochsVbe& vbe) {
    auto wanted = linear_view(regs, vbe);
    if (wanted != wanted_) {
        wanted_ = wanted;
        trapped_ = 0;
    }
    if (!mapped_ || mapped_ == wanted_)
        return;
    const bool other_bank = wanted_ && wanted_->range == mapped_->range && wanted_->layout == mapped_->layout;
    if (other_bank && wanted_->patience == patience_window)
        map(*wanted_);
    else if (const Range answered = decoded(regs, vbe);
             answered.size == 0 || answered.overlaps(mapped_->range))
        unmap();
    // Else the adapter answers elsewhere for now (a font is being loaded at 0xa0000 while text stays mapped
    // at 0xb8000): what is mapped does no harm.
}

void LegacyWindow::ensure_layout(PlaneLayout layout) {
    if (layout == planes_.layout())
        return;
    unmap();
    planes_.set_layout(layout);
}

void LegacyWindow::map(const View& view) {
    ensure_layout(view.layout);
    if (mapped_ && mapped_->range == view.range)
        dirty_.mark(mapped_->memory_offset, mapped_->range.size);
    else
        unmap();
    memory_.map(GuestPhys{base + view.range.start}, region_, view.memory_offset, view.range.size,
                Access::RWX);
    mapped_ = view;
}

void LegacyWindow::unmap() {
    if (!mapped_)
        return;
    // Asking what was written would be one more call into the engine; assuming everything was is cheaper.
    dirty_.mark(mapped_->memory_offset, mapped_->range.size);
    memory_.unmap(GuestPhys{base + mapped_->range.start}, mapped_->range.size);
    mapped_.reset();
}

void LegacyWindow::harvest() {
    if (!mapped_)
        return;
    memory_.harvest_dirty(GuestPhys{base + mapped_->range.start}, mapped_->range.size, harvested_);
    dirty_.merge(mapped_->memory_offset, mapped_->range.size, harvested_);
}

void LegacyWindow::accessed(std::uint64_t offset) {
    if (!wanted_ || mapped_ == wanted_ || offset < wanted_->range.start ||
        offset - wanted_->range.start >= wanted_->range.size)
        return;
    if (++trapped_ >= wanted_->patience)
        map(*wanted_);
}

void LegacyWindow::read(const VgaRegisters& regs, const BochsVbe& vbe, std::uint64_t offset,
                        std::span<std::uint8_t> data) {
    const Range range = decoded(regs, vbe);
    const auto memory = region_.bytes();
    for (auto& byte : data) {
        const auto at = offset++ - range.start;
        if (at >= range.size) // below the window it wraps to something large
            byte = 0xff;
        else if (vbe.enabled() && !vbe.planar())
            byte = memory[vbe.bank_offset() + at];
        else
            byte = planes_.read(regs, at + (vbe.planar() ? vbe.bank_offset() : 0));
    }
    accessed(offset - data.size());
}

void LegacyWindow::write(const VgaRegisters& regs, const BochsVbe& vbe, std::uint64_t offset,
                         std::span<const std::uint8_t> data) {
    const Range range = decoded(regs, vbe);
    const auto memory = region_.bytes();
    for (auto byte : data) {
        const auto at = offset++ - range.start;
        if (at >= range.size)
            continue;
        if (vbe.enabled() && !vbe.planar()) {
            memory[vbe.bank_offset() + at] = byte;
            dirty_.mark(vbe.bank_offset() + at);
        } else {
            planes_.write(regs, at + (vbe.planar() ? vbe.bank_offset() : 0), byte);
        }
    }
    accessed(offset - data.size());
}

} // namespace escalus
