// SPDX-License-Identifier: GPL-2.0-or-later
// The VGA's registers behind ports 0x3b0-0x3df: miscellaneous output, sequencer, graphics controller, CRT
// controller, attribute controller, DAC and the status registers (IBM PS/2 Hardware Interface Technical
// Reference, "Video Subsystem"). Numbers of registers and bits in comments are that manual's.
#pragma once

#include "devmodel/devices/display/vga_dac.hpp"
#include "devmodel/machine/clock.hpp"

#include <array>
#include <cstdint>

namespace escalus {

struct VgaRegisters {
    /// What a register write touched.
    struct Changes {
        bool picture = false; ///< how memory becomes a picture
        bool access = false;  ///< how the CPU's accesses reach memory
    };

    std::array<std::uint8_t, 5> sequencer{};
    std::array<std::uint8_t, 9> graphics{};
    std::array<std::uint8_t, 25> crtc{};
    std::array<std::uint8_t, 21> attribute{};
    std::uint8_t misc = 0, feature = 0;
    VgaDac dac;

    void reset() { *this = VgaRegisters{}; }
    /// Ports that nobody decodes (the CRTC at the address it is not set to) read all ones.
    std::uint8_t read(unsigned port, GuestTime now);
    Changes write(unsigned port, std::uint8_t value);

    [[nodiscard]] bool ram_enabled() const { return (misc & 2) != 0; }
    [[nodiscard]] bool chain_four() const { return (sequencer[4] & 8) != 0; }
    [[nodiscard]] bool graphics_mode() const { return (graphics[6] & 1) != 0; }
    /// Off while the palette is being loaded (attribute address bit 5 clear) or the sequencer is told so.
    [[nodiscard]] bool screen_on() const { return palette_on_ && (sequencer[1] & 0x20) == 0; }

    [[nodiscard]] unsigned columns() const { return crtc[1] + 1u; }
    [[nodiscard]] unsigned character_width() const { return (sequencer[1] & 1) != 0 ? 8 : 9; }
    /// 2 when the dot clock is halved: 40-column and 320-pixel modes.
    [[nodiscard]] unsigned dot_width() const { return (sequencer[1] & 8) != 0 ? 2 : 1; }
    /// Scan lines shown.
    [[nodiscard]] unsigned lines() const;
    [[nodiscard]] unsigned start_address() const { return crtc[0x0c] * 256u + crtc[0x0d]; }
    [[nodiscard]] unsigned cursor_address() const { return crtc[0x0e] * 256u + crtc[0x0f]; }
    [[nodiscard]] unsigned line_compare() const;
    /// The colour of a 4-bit pixel or text attribute, through palette and DAC.
    [[nodiscard]] std::uint32_t colour(unsigned index) const;

  private:
    [[nodiscard]] unsigned overflow(unsigned bit8, unsigned bit9) const {
        return (crtc[7] >> bit8 & 1u) << 8 | (crtc[7] >> bit9 & 1u) << 9;
    }
    std::uint8_t input_status(GuestTime now);
    std::uint8_t read_crtc(unsigned port, GuestTime now);
    Changes write_crtc(unsigned port, std::uint8_t value);
    Changes write_attribute(std::uint8_t value);

    std::uint8_t sequencer_index_ = 0, graphics_index_ = 0, crtc_index_ = 0, attribute_index_ = 0;
    bool attribute_data_next_ = false; // the flip-flop of port 0x3c0
    bool palette_on_ = false;
    std::uint64_t retrace_seen_ = 0;
};

} // namespace escalus
