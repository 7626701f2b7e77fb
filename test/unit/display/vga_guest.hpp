// SPDX-License-Identifier: GPL-2.0-or-later
// A guest as the VGA sees it: its driver's port accesses, and memory accesses that reach mapped memory
// without the device's knowing and go over the bus where nothing is mapped. The mode tables are those of the
// IBM VGA BIOS (as every VGA BIOS has them).
#pragma once

#include "devmodel/devices/display/vga.hpp"
#include "devmodel/machine/flat_memory.hpp"
#include "devmodel/machine/manual_clock.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace escalus {

struct VgaMode {
    std::uint8_t misc;
    std::array<std::uint8_t, 5> sequencer;
    std::array<std::uint8_t, 25> crtc;
    std::array<std::uint8_t, 9> graphics;
    std::array<std::uint8_t, 21> attribute;
};

extern const VgaMode mode_03h, mode_04h, mode_06h, mode_12h, mode_13h;

/// Counts changes of mapping, and reports dirty only the pages written since the last harvest.
class CountingMap final : public MemoryMap {
  public:
    struct Mapping {
        std::uint64_t gpa, size, offset;
        MemoryRegion* region;
        Access access;
    };
    MemoryRegion& allocate(std::string, std::uint64_t size) override;
    void map(GuestPhys gpa, MemoryRegion& region, std::uint64_t offset, std::uint64_t size,
             Access access) override;
    void unmap(GuestPhys gpa, std::uint64_t size) override;
    void harvest_dirty(GuestPhys gpa, std::uint64_t size, std::vector<std::uint64_t>& bitmap) override;
    [[nodiscard]] const Mapping* find(std::uint64_t gpa) const;

    std::vector<Mapping> mappings;
    std::vector<std::uint64_t> written; // pages
    unsigned changes = 0;

  private:
    struct Region final : MemoryRegion {
        explicit Region(std::uint64_t size) : storage(size) {}
        std::span<std::uint8_t> bytes() override { return storage; }
        std::vector<std::uint8_t> storage;
    };
    std::vector<std::unique_ptr<Region>> regions_;
};

struct VgaGuest {
    explicit VgaGuest(const VgaConfig& config = {});

    void out8(unsigned port, std::uint8_t value);
    void out16(unsigned port, std::uint16_t value);
    std::uint8_t in8(unsigned port);
    std::uint16_t in16(unsigned port);
    void sequencer(unsigned index, std::uint8_t value) { indexed(0x3c4, index, value); }
    void graphics(unsigned index, std::uint8_t value) { indexed(0x3ce, index, value); }
    void crtc(unsigned index, std::uint8_t value) { indexed(0x3d4, index, value); }
    void attribute(unsigned index, std::uint8_t value);
    void colour(std::uint8_t index, std::uint8_t r, std::uint8_t g, std::uint8_t b);
    void vbe(unsigned index, std::uint16_t value);
    std::uint16_t vbe(unsigned index);

    /// Programs all registers, as a BIOS does, and a DAC in which colour i is (i, 0, 63 - i).
    void set_mode(const VgaMode& mode);
    void set_vbe(std::uint16_t width, std::uint16_t height, std::uint16_t bits, std::uint16_t flags = 0x41);

    void poke(std::uint64_t address, std::uint8_t value);
    std::uint8_t peek(std::uint64_t address);
    void poke(std::uint64_t address, std::string_view text, std::uint8_t attribute);
    void config_write32(unsigned offset, std::uint32_t value);
    std::uint32_t config_read32(unsigned offset);
    /// BAR0 at 0xe0000000, BAR2 at 0xfebf0000, decoding on.
    void place_bars();

    Bus ports{"port", 0x10000};
    Bus memory{"memory", 1ull << 32};
    CountingMap map;
    ManualClock clock;
    Vga vga;
    unsigned traps = 0;

  private:
    void indexed(unsigned port, unsigned index, std::uint8_t value) {
        out16(port, static_cast<std::uint16_t>(index | value << 8));
    }
};

inline constexpr std::uint64_t lfb = 0xe0000000, mmio = 0xfebf0000;

} // namespace escalus
