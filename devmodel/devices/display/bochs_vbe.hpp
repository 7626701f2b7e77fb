// SPDX-License-Identifier: GPL-2.0-or-later
// The Bochs VBE display interface ("DISPI", version 0xb0c5): sixteen-bit registers behind ports 0x1ce (index)
// and 0x1cf (data), and in BAR2, that switch the adapter to packed-pixel modes of any size and show a part of
// a larger virtual screen. (Bochs: iodev/display/vga.h and doc/docbook; Linux: drivers/gpu/drm/tiny/bochs.c.)
//
// State: the registers. Missing: the DDC register (no EDID).
#pragma once

#include <array>
#include <cstdint>

namespace escalus {

class BochsVbe {
  public:
    static constexpr std::uint16_t max_width = 2560, max_height = 1600, max_bits = 32;
    enum Register : unsigned {
        id,
        xres,
        yres,
        bpp,
        enable,
        bank,
        virt_width,
        virt_height,
        x_offset,
        y_offset,
        video_memory_64k,
        register_count
    };
    static constexpr std::uint16_t enabled_bit = 0x01, get_caps_bit = 0x02, eight_bit_dac_bit = 0x20,
                                   lfb_bit = 0x40, no_clear_bit = 0x80;

    explicit BochsVbe(std::uint64_t memory_bytes);
    void reset();

    [[nodiscard]] std::uint16_t read(unsigned index) const;
    /// True when the write switched the mode on (so the screen is to be cleared, unless asked not to).
    bool write(unsigned index, std::uint16_t value);

    [[nodiscard]] bool enabled() const { return (registers_[enable] & enabled_bit) != 0; }
    [[nodiscard]] bool eight_bit_dac() const { return (registers_[enable] & eight_bit_dac_bit) != 0; }
    [[nodiscard]] bool no_clear() const { return (registers_[enable] & no_clear_bit) != 0; }
    /// Of a mode that is enabled: all of it lies within the video memory.
    [[nodiscard]] unsigned width() const { return registers_[xres]; }
    [[nodiscard]] unsigned height() const { return registers_[yres]; }
    [[nodiscard]] unsigned bits() const { return registers_[bpp]; }
    [[nodiscard]] bool planar() const { return enabled() && bits() == 4; }
    [[nodiscard]] std::uint64_t stride() const { return line_bytes(registers_[virt_width]); }
    [[nodiscard]] std::uint64_t start() const;
    /// What the 64 KiB at 0xa0000 show.
    [[nodiscard]] std::uint64_t bank_offset() const { return std::uint64_t{registers_[bank]} << 16; }

  private:
    [[nodiscard]] std::uint64_t line_bytes(std::uint64_t pixels) const;
    void fit();

    std::uint64_t memory_bytes_;
    std::array<std::uint16_t, register_count> registers_{};
};

} // namespace escalus
