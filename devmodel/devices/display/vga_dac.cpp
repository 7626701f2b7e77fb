// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/display/vga_dac.hpp"

#include <utility>

namespace escalus {

namespace {
constexpr unsigned port_mask = 0x3c6, port_state_or_read_index = 0x3c7, port_write_index = 0x3c8;
} // namespace

std::uint8_t VgaDac::read(unsigned port) {
    switch (port) {
    case port_mask:
        return mask_;
    case port_state_or_read_index:
        return reading_ ? 3 : 0;
    case port_write_index:
        return write_index_;
    default: {
        const auto value = colours_[read_index_][component_];
        if (++component_ == 3) {
            component_ = 0;
            ++read_index_;
        }
        return value;
    }
    }
}

bool VgaDac::write(unsigned port, std::uint8_t value) {
    switch (port) {
    case port_mask:
        return std::exchange(mask_, value) != value;
    case port_state_or_read_index:
        read_index_ = value;
        // The write index of the chip is the same counter, one ahead of what was fetched for reading.
        write_index_ = static_cast<std::uint8_t>(value + 1);
        component_ = 0;
        reading_ = true;
        return false;
    case port_write_index:
        write_index_ = value;
        component_ = 0;
        reading_ = false;
        return false;
    default:
        incoming_[component_] = eight_bits_ ? value : value & 0x3f;
        if (++component_ < 3)
            return false;
        component_ = 0;
        return std::exchange(colours_[write_index_++], incoming_) != incoming_;
    }
}

bool VgaDac::set_eight_bits(bool eight_bits) {
    return std::exchange(eight_bits_, eight_bits) != eight_bits;
}

std::uint32_t VgaDac::colour(std::uint8_t pixel) const {
    std::uint32_t rgb = 0;
    for (std::uint32_t component : colours_[pixel & mask_]) {
        // Six bits spread over eight so that full intensity is 0xff.
        const auto wide = eight_bits_ ? component : ((component & 0x3f) << 2 | (component & 0x3f) >> 4);
        rgb = rgb << 8 | wide;
    }
    return rgb;
}

} // namespace escalus
