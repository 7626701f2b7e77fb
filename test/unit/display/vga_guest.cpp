// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/unit/display/vga_guest.hpp"

#include <algorithm>

namespace escalus {

const VgaMode mode_03h{0x67,
                       {0x03, 0x00, 0x03, 0x00, 0x02},
                       {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
                        0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff},
                       {0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x0f, 0xff},
                       {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a,
                        0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00}};
const VgaMode mode_04h{0x63,
                       {0x03, 0x09, 0x03, 0x00, 0x02},
                       {0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0x00, 0xc1, 0x00, 0x00, 0x00,
                        0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x14, 0x00, 0x96, 0xb9, 0xa2, 0xff},
                       {0x00, 0x00, 0x00, 0x00, 0x00, 0x30, 0x0f, 0x0f, 0xff},
                       {0x00, 0x13, 0x15, 0x17, 0x02, 0x04, 0x06, 0x07, 0x10, 0x11, 0x12,
                        0x13, 0x14, 0x15, 0x16, 0x17, 0x01, 0x00, 0x03, 0x00, 0x00}};
const VgaMode mode_06h{0x63,
                       {0x03, 0x01, 0x01, 0x00, 0x06},
                       {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0xc1, 0x00, 0x00, 0x00,
                        0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x00, 0x96, 0xb9, 0xc2, 0xff},
                       {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0d, 0x0f, 0xff},
                       {0x00, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17,
                        0x17, 0x17, 0x17, 0x17, 0x17, 0x01, 0x00, 0x01, 0x00, 0x00}};
const VgaMode mode_12h{0xe3,
                       {0x03, 0x01, 0x0f, 0x00, 0x06},
                       {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00, 0x40, 0x00, 0x00, 0x00,
                        0x00, 0x00, 0x00, 0xea, 0x8c, 0xdf, 0x28, 0x00, 0xe7, 0x04, 0xe3, 0xff},
                       {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x0f, 0xff},
                       {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a,
                        0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x01, 0x00, 0x0f, 0x00, 0x00}};
const VgaMode mode_13h{0x63,
                       {0x03, 0x01, 0x0f, 0x00, 0x0e},
                       {0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0x41, 0x00, 0x00, 0x00,
                        0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff},
                       {0x00, 0x00, 0x00, 0x00, 0x00, 0x40, 0x05, 0x0f, 0xff},
                       {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a,
                        0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x41, 0x00, 0x0f, 0x00, 0x00}};

MemoryRegion& CountingMap::allocate(std::string, std::uint64_t size) {
    regions_.push_back(std::make_unique<Region>(size));
    return *regions_.back();
}

void CountingMap::map(GuestPhys gpa, MemoryRegion& region, std::uint64_t offset, std::uint64_t size,
                      Access access) {
    if (offset + size > region.bytes().size() || ((raw(gpa) | offset | size) & page_mask) != 0)
        throw std::invalid_argument{"map"};
    unmap(gpa, size);
    mappings.push_back({raw(gpa), size, offset, &region, access});
}

void CountingMap::unmap(GuestPhys gpa, std::uint64_t size) {
    ++changes;
    std::erase_if(mappings, [&](const Mapping& m) { return m.gpa >= raw(gpa) && m.gpa < raw(gpa) + size; });
}

void CountingMap::harvest_dirty(GuestPhys gpa, std::uint64_t size, std::vector<std::uint64_t>& bitmap) {
    bitmap.assign((size / page_size + 63) / 64, 0);
    std::erase_if(written, [&](std::uint64_t page) {
        if (page < raw(gpa) || page >= raw(gpa) + size)
            return false;
        const auto i = (page - raw(gpa)) / page_size;
        bitmap[i / 64] |= 1ull << (i % 64);
        return true;
    });
}

const CountingMap::Mapping* CountingMap::find(std::uint64_t gpa) const {
    const auto it = std::ranges::find_if(
        mappings, [&](const Mapping& m) { return gpa >= m.gpa && gpa - m.gpa < m.size; });
    return it == mappings.end() ? nullptr : &*it;
}

VgaGuest::VgaGuest(const VgaConfig& config) : vga{config, {ports, memory}, map, clock} {
    vga.reset(ResetKind::PowerOn);
}

void VgaGuest::out8(unsigned port, std::uint8_t value) {
    ports.write(port, std::span{&value, 1});
}

void VgaGuest::out16(unsigned port, std::uint16_t value) {
    const std::array<std::uint8_t, 2> bytes{static_cast<std::uint8_t>(value),
                                            static_cast<std::uint8_t>(value >> 8)};
    ports.write(port, bytes);
}

std::uint8_t VgaGuest::in8(unsigned port) {
    std::uint8_t value = 0;
    ports.read(port, std::span{&value, 1});
    return value;
}

std::uint16_t VgaGuest::in16(unsigned port) {
    std::array<std::uint8_t, 2> bytes{};
    ports.read(port, bytes);
    return static_cast<std::uint16_t>(bytes[0] | bytes[1] << 8);
}

void VgaGuest::attribute(unsigned index, std::uint8_t value) {
    in8(0x3da);
    out8(0x3c0, static_cast<std::uint8_t>(index | 0x20));
    out8(0x3c0, value);
}

void VgaGuest::colour(std::uint8_t index, std::uint8_t r, std::uint8_t g, std::uint8_t b) {
    out8(0x3c8, index);
    out8(0x3c9, r);
    out8(0x3c9, g);
    out8(0x3c9, b);
}

void VgaGuest::vbe(unsigned index, std::uint16_t value) {
    out16(0x1ce, static_cast<std::uint16_t>(index));
    out16(0x1cf, value);
}

std::uint16_t VgaGuest::vbe(unsigned index) {
    out16(0x1ce, static_cast<std::uint16_t>(index));
    return in16(0x1cf);
}

void VgaGuest::set_mode(const VgaMode& mode) {
    vbe(BochsVbe::enable, 0);
    in8(0x3da);
    out8(0x3c0, 0x00); // screen off
    out8(0x3c2, mode.misc);
    for (unsigned i = 0; i < mode.sequencer.size(); ++i)
        sequencer(i, mode.sequencer[i]);
    crtc(0x11, 0);
    for (unsigned i = 0; i < mode.crtc.size(); ++i)
        crtc(i, mode.crtc[i]);
    for (unsigned i = 0; i < mode.graphics.size(); ++i)
        graphics(i, mode.graphics[i]);
    for (unsigned i = 0; i < mode.attribute.size(); ++i) {
        in8(0x3da);
        out8(0x3c0, static_cast<std::uint8_t>(i));
        out8(0x3c0, mode.attribute[i]);
    }
    out8(0x3c6, 0xff);
    for (unsigned i = 0; i < 256; ++i)
        colour(static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(i & 63), 0,
               static_cast<std::uint8_t>(63 - (i & 63)));
    in8(0x3da);
    out8(0x3c0, 0x20);
}

void VgaGuest::set_vbe(std::uint16_t width, std::uint16_t height, std::uint16_t bits, std::uint16_t flags) {
    vbe(BochsVbe::enable, 0);
    vbe(BochsVbe::xres, width);
    vbe(BochsVbe::yres, height);
    vbe(BochsVbe::bpp, bits);
    vbe(BochsVbe::enable, flags);
    in8(0x3da);
    out8(0x3c0, 0x20);
}

void VgaGuest::poke(std::uint64_t address, std::uint8_t value) {
    if (const auto* m = map.find(address)) {
        m->region->bytes()[m->offset + address - m->gpa] = value;
        map.written.push_back(address & ~page_mask);
    } else {
        ++traps;
        memory.write(address, std::span{&value, 1});
    }
}

std::uint8_t VgaGuest::peek(std::uint64_t address) {
    if (const auto* m = map.find(address))
        return m->region->bytes()[m->offset + address - m->gpa];
    ++traps;
    std::uint8_t value = 0;
    memory.read(address, std::span{&value, 1});
    return value;
}

void VgaGuest::poke(std::uint64_t address, std::string_view text, std::uint8_t attribute) {
    for (const char c : text) {
        poke(address++, static_cast<std::uint8_t>(c));
        poke(address++, attribute);
    }
}

void VgaGuest::config_write32(unsigned offset, std::uint32_t value) {
    std::array<std::uint8_t, 4> bytes{};
    for (unsigned i = 0; i < 4; ++i)
        bytes[i] = static_cast<std::uint8_t>(value >> (8 * i));
    vga.config_write(offset, bytes);
}

std::uint32_t VgaGuest::config_read32(unsigned offset) {
    std::array<std::uint8_t, 4> bytes{};
    vga.config_read(offset, bytes);
    std::uint32_t value = 0;
    for (unsigned i = 0; i < 4; ++i)
        value |= static_cast<std::uint32_t>(bytes[i]) << (8 * i);
    return value;
}

void VgaGuest::place_bars() {
    config_write32(0x10, lfb);
    config_write32(0x18, mmio);
    config_write32(0x04, 3);
}

} // namespace escalus
