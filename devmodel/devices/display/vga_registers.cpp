// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/display/vga_registers.hpp"

#include <utility>

namespace escalus {

namespace {
// Bits that exist; the others read as zero.
constexpr std::array<std::uint8_t, 5> sequencer_bits{0x03, 0x3d, 0x0f, 0x3f, 0x0e};
constexpr std::array<std::uint8_t, 9> graphics_bits{0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};
constexpr std::uint8_t palette_bits = 0x3f;
constexpr std::array<std::uint8_t, 5> attribute_mode_bits{0xef, 0xff, 0x3f, 0x0f, 0x0f};

/// Stores the bits that exist; true when something changed.
bool store(std::uint8_t& reg, std::uint8_t value, std::uint8_t bits = 0xff) {
    value &= bits;
    return std::exchange(reg, value) != value;
}
} // namespace

unsigned VgaRegisters::lines() const {
    const unsigned count = (crtc[0x12] | overflow(1, 6)) + 1;
    return (crtc[0x17] & 4) != 0 ? 2 * count : count; // the line counter at half the rate
}

unsigned VgaRegisters::line_compare() const {
    const unsigned line = crtc[0x18] | (crtc[7] >> 4 & 1u) << 8 | (crtc[9] >> 6 & 1u) << 9;
    return (crtc[0x17] & 4) != 0 ? 2 * line + 1 : line;
}

std::uint32_t VgaRegisters::colour(unsigned index) const {
    const unsigned entry = attribute[index & attribute[0x12] & 15];
    const unsigned select = attribute[0x14];
    const unsigned pixel =
        (attribute[0x10] & 0x80) != 0 ? (select & 0x0f) << 4 | (entry & 0x0f) : (select & 0x0c) << 4 | entry;
    return dac.colour(static_cast<std::uint8_t>(pixel));
}

std::uint8_t VgaRegisters::read(unsigned port, GuestTime now) {
    switch (port) {
    case 0x3c0:
        return static_cast<std::uint8_t>(attribute_index_ | (palette_on_ ? 0x20 : 0));
    case 0x3c1:
        return attribute_index_ < attribute.size() ? attribute[attribute_index_] : 0;
    case 0x3c2:
        return 0x10; // switch sense: a colour monitor
    case 0x3c3:
        return 1; // video subsystem enable
    case 0x3c4:
        return sequencer_index_;
    case 0x3c5:
        return sequencer_index_ < sequencer.size() ? sequencer[sequencer_index_] : 0;
    case 0x3c6:
    case 0x3c7:
    case 0x3c8:
    case 0x3c9:
        return dac.read(port);
    case 0x3ca:
        return feature;
    case 0x3cc:
        return misc;
    case 0x3ce:
        return graphics_index_;
    case 0x3cf:
        return graphics_index_ < graphics.size() ? graphics[graphics_index_] : 0;
    default:
        return read_crtc(port, now);
    }
}

// The CRTC, input status 1 and feature control answer at 0x3dX or, with misc bit 0 clear, at 0x3bX.
std::uint8_t VgaRegisters::read_crtc(unsigned port, GuestTime now) {
    if ((port & 0xff0) != ((misc & 1) != 0 ? 0x3d0 : 0x3b0))
        return 0xff;
    switch (port & 0xf) {
    case 0x0:
    case 0x2:
    case 0x4:
        return crtc_index_;
    case 0x1:
    case 0x3:
    case 0x5:
        return crtc_index_ < crtc.size() ? crtc[crtc_index_] : 0;
    case 0xa:
        attribute_data_next_ = false;
        return input_status(now);
    default:
        return 0xff;
    }
}

VgaRegisters::Changes VgaRegisters::write(unsigned port, std::uint8_t value) {
    switch (port) {
    case 0x3c0:
        return write_attribute(value);
    case 0x3c2: {
        const bool changed = store(misc, value);
        return {changed, changed};
    }
    case 0x3c4:
        sequencer_index_ = value & 7;
        return {};
    case 0x3c5: {
        if (sequencer_index_ >= sequencer.size() ||
            !store(sequencer[sequencer_index_], value, sequencer_bits[sequencer_index_]))
            return {};
        const bool shown = sequencer_index_ == 1 || sequencer_index_ == 3;
        return {shown, !shown};
    }
    case 0x3c6:
    case 0x3c7:
    case 0x3c8:
    case 0x3c9:
        return {dac.write(port, value), false};
    case 0x3ce:
        graphics_index_ = value & 15;
        return {};
    case 0x3cf:
        if (graphics_index_ >= graphics.size() ||
            !store(graphics[graphics_index_], value, graphics_bits[graphics_index_]))
            return {};
        return {graphics_index_ == 5 || graphics_index_ == 6, true};
    default:
        return write_crtc(port, value);
    }
}

VgaRegisters::Changes VgaRegisters::write_attribute(std::uint8_t value) {
    if (!std::exchange(attribute_data_next_, !attribute_data_next_)) {
        attribute_index_ = value & 0x1f;
        const bool on = (value & 0x20) != 0;
        return {std::exchange(palette_on_, on) != on, false};
    }
    if (attribute_index_ >= attribute.size())
        return {};
    const auto bits = attribute_index_ < 16 ? palette_bits : attribute_mode_bits[attribute_index_ - 16u];
    return {store(attribute[attribute_index_], value, bits), false};
}

VgaRegisters::Changes VgaRegisters::write_crtc(unsigned port, std::uint8_t value) {
    if ((port & 0xff0) != ((misc & 1) != 0 ? 0x3d0 : 0x3b0))
        return {};
    switch (port & 0xf) {
    case 0x0:
    case 0x2:
    case 0x4:
        crtc_index_ = value & 0x1f;
        return {};
    case 0x1:
    case 0x3:
    case 0x5:
        break;
    case 0xa:
        feature = value;
        return {};
    default:
        return {};
    }
    if (crtc_index_ >= crtc.size())
        return {};
    auto& reg = crtc[crtc_index_];
    // Registers 0 to 7 are protected by bit 7 of register 0x11, but for the line compare bit.
    if (crtc_index_ < 8 && (crtc[0x11] & 0x80) != 0) {
        if (crtc_index_ != 7)
            return {};
        value = static_cast<std::uint8_t>((reg & ~0x10) | (value & 0x10));
    }
    const bool changed = store(reg, value);
    // The cursor is compared cell by cell at each refresh.
    const bool cursor =
        crtc_index_ == 0x0a || crtc_index_ == 0x0b || crtc_index_ == 0x0e || crtc_index_ == 0x0f;
    return {changed && !cursor, false};
}

// Input status 1, from the timing that the CRTC is set to. Software waits for the vertical retrace by
// polling, and each poll is an exit, so that the two lines of retrace could slip between two polls: a retrace
// that passed unseen since the last read is therefore reported once.
std::uint8_t VgaRegisters::input_status(GuestTime now) {
    const std::uint64_t hz = ((misc & 0x0c) == 0 ? 25'175'000u : 28'322'000u) / dot_width();
    std::uint64_t line_dots = (crtc[0] + 5u) * character_width();
    std::uint64_t shown_dots = columns() * character_width();
    std::uint64_t total = (crtc[6] | overflow(0, 5)) + 2;
    std::uint64_t shown = (crtc[0x12] | overflow(1, 6)) + 1;
    std::uint64_t retrace = crtc[0x10] | overflow(2, 7);
    if (shown_dots >= line_dots || retrace >= total || shown >= total) { // not set up: as in mode 0x12
        line_dots = 800;
        shown_dots = 640;
        total = 525;
        shown = 480;
        retrace = 490;
    }
    const std::uint64_t retrace_lines = (crtc[0x11] - retrace) & 15;
    const std::uint64_t frame_dots = line_dots * total;
    const std::uint64_t dots = ticks_at(now, hz);
    const std::uint64_t line = dots % frame_dots / line_dots;
    const std::uint64_t retraces = (dots + frame_dots - retrace * line_dots) / frame_dots;

    const bool in_retrace = line >= retrace && line < retrace + retrace_lines;
    const bool unseen = std::exchange(retrace_seen_, retraces) != retraces;
    if (in_retrace || unseen)
        return 0x09;
    const bool blank = line >= shown || dots % line_dots >= shown_dots;
    return blank ? 0x01 : 0x00;
}

} // namespace escalus
