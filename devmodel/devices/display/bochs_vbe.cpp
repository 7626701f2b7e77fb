// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/display/bochs_vbe.hpp"

#include <algorithm>

namespace escalus {

namespace {
constexpr std::uint16_t oldest_id = 0xb0c0, newest_id = 0xb0c5;

bool valid_depth(unsigned bits) {
    return bits == 4 || bits == 8 || bits == 15 || bits == 16 || bits == 24 || bits == 32;
}
std::uint16_t narrow(std::uint64_t value) {
    return static_cast<std::uint16_t>(value);
}
} // namespace

BochsVbe::BochsVbe(std::uint64_t memory_bytes) : memory_bytes_{memory_bytes} {
    reset();
}

void BochsVbe::reset() {
    registers_ = {};
    registers_[id] = newest_id;
    registers_[bpp] = 8;
}

std::uint64_t BochsVbe::line_bytes(std::uint64_t pixels) const {
    // Four bits are four planes, interleaved: a cell of four bytes is eight pixels.
    return registers_[bpp] == 4 ? (pixels + 7) / 8 * 4 : pixels * ((registers_[bpp] + 7u) / 8);
}

std::uint64_t BochsVbe::start() const {
    const std::uint64_t x = registers_[x_offset];
    const auto across = registers_[bpp] == 4 ? x / 8 * 4 : line_bytes(x);
    return registers_[y_offset] * stride() + across;
}

std::uint16_t BochsVbe::read(unsigned index) const {
    if (index >= register_count)
        return 0;
    if ((registers_[enable] & get_caps_bit) != 0) {
        switch (index) {
        case xres:
            return max_width;
        case yres:
            return max_height;
        case bpp:
            return max_bits;
        default:
            break;
        }
    }
    if (index == video_memory_64k)
        return narrow(memory_bytes_ >> 16);
    return registers_[index];
}

bool BochsVbe::write(unsigned index, std::uint16_t value) {
    switch (index) {
    case id:
        if (value >= oldest_id && value <= newest_id)
            registers_[id] = value;
        return false;
    case xres:
        if (value != 0 && value <= max_width)
            registers_[xres] = value;
        break;
    case yres:
        if (value != 0 && value <= max_height)
            registers_[yres] = value;
        break;
    case bpp:
        if (value == 0) // "as before the interface knew of depths"
            value = 8;
        if (valid_depth(value))
            registers_[bpp] = value;
        break;
    case bank:
        if ((std::uint64_t{value} + 1) << 16 <= (registers_[bpp] == 4 ? memory_bytes_ / 4 : memory_bytes_))
            registers_[bank] = value;
        return false;
    case enable: {
        const bool was = enabled();
        registers_[enable] =
            value & (enabled_bit | get_caps_bit | eight_bit_dac_bit | lfb_bit | no_clear_bit);
        if (!enabled() || was)
            break;
        // Software sets the virtual screen up after it switched the mode on.
        registers_[virt_width] = 0;
        registers_[x_offset] = registers_[y_offset] = 0;
        registers_[bank] = 0;
        fit();
        return enabled();
    }
    case virt_width:
    case x_offset:
    case y_offset:
        registers_[index] = value;
        break;
    default: // the rest is read-only
        return false;
    }
    if (enabled())
        fit();
    return false;
}

/// Makes the mode one that lies within the video memory.
void BochsVbe::fit() {
    auto& width = registers_[xres];
    auto& height = registers_[yres];
    width = std::max<std::uint16_t>(width, 8);
    height = std::max<std::uint16_t>(height, 1);
    registers_[virt_width] = std::max(registers_[virt_width], width);
    if (stride() * height > memory_bytes_)
        registers_[virt_width] = width;
    if (stride() * height > memory_bytes_)
        height = narrow(memory_bytes_ / stride());
    registers_[virt_height] = narrow(std::min<std::uint64_t>(memory_bytes_ / stride(), 0xffff));
    registers_[x_offset] =
        std::min<std::uint16_t>(registers_[x_offset], narrow(registers_[virt_width] - width));
    registers_[y_offset] =
        std::min<std::uint16_t>(registers_[y_offset], narrow(registers_[virt_height] - height));
    if ((registers_[bank] + std::uint64_t{1}) << 16 >
        (registers_[bpp] == 4 ? memory_bytes_ / 4 : memory_bytes_))
        registers_[bank] = 0;
}

} // namespace escalus
