// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/i440fx.hpp"

#include "devmodel/devices/chipset/piix3.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

namespace {
constexpr unsigned region_config = 16; // regions below are BAR numbers
constexpr std::uint16_t port_config_address = 0xcf8;
constexpr std::uint32_t config_enable = 0x8000'0000;
constexpr std::uint32_t config_address_bits = 0x80ff'fffc; // the others are reserved and read as 0

constexpr unsigned reg_pam0 = 0x59, pam_count = 7;
constexpr unsigned reg_smram = 0x72;
constexpr std::uint8_t smram_open = 0x40, smram_lock = 0x10, smram_writable = 0x78, smram_reset = 0x02;

constexpr GuestPhys segment_base(std::size_t segment) {
    return GuestPhys{0xc0000 + segment * 0x4000};
}
constexpr std::uint64_t segment_size(std::size_t segment) {
    return segment == 12 ? 0x10000 : 0x4000;
}
} // namespace

I440fx::I440fx(PciSpaces spaces, PciBus& pci, Piix3& isa_bridge, ShadowChanged shadow_changed)
    : PciFunction{PciIdentity{.vendor = 0x8086,
                              .device = 0x1237,
                              .class_code = 0x060000,
                              .revision = 2,
                              .subsystem_vendor = 0x1af4,
                              .subsystem = 0x1100},
                  spaces},
      ports_{spaces.ports},
      pci_{pci},
      isa_bridge_{isa_bridge},
      shadow_changed_{std::move(shadow_changed)} {
    // PCICMD: memory access and bus master enable are hard-wired to 1 (3.2.3).
    set_config(reg_command, 2, command_memory | command_master);
    set_writable(reg_command, 2, 0x0140);
    set_config(reg_status, 2, 0x0280);
    // PMCCFG .. DRAMT, DRB, FDHC, MTT, CLT and the error registers have no function here, but keep their
    // values.
    for (unsigned reg = 0x50; reg <= 0x58; ++reg)
        set_writable(reg, 1, 0xff);
    for (unsigned reg = 0x60; reg <= 0x68; ++reg)
        set_writable(reg, 1, 0xff);
    set_writable(0x70, 2, 0xffff);
    set_writable(0x90, 1, 0xff);
    set_writable(0x93, 1, 0x06); // TRC; its reset function is not modelled: software uses port 0xcf9
    set_config(0x53, 1, 0x80);
    set_config(0x57, 1, 0x01);
    for (unsigned i = 0; i < 8; ++i)
        set_config(0x60 + i, 1, 0x01);
    // Two bits a segment: read enable, write enable. The other two (cache, reserved) have no effect and are
    // not kept.
    set_writable(reg_pam0, 1, 0x30);
    for (unsigned i = 1; i < pam_count; ++i)
        set_writable(reg_pam0 + i, 1, 0x33);
    set_config(reg_smram, 1, smram_reset);
    set_writable(reg_smram, 1, smram_writable);

    ports_.add(port_config_address, 8, *this, region_config);
}

void I440fx::leave_notes(PortNotes& notes) {
    notes.set(port_config_address, abi::port_posts_long);
}

I440fx::~I440fx() {
    ports_.remove(port_config_address);
}

I440fx::Attributes I440fx::attributes() const {
    Attributes result{};
    // PAM0 holds 0xf0000 in its high half; PAM1..6 hold two segments each from 0xc0000, the lower one in the
    // low half.
    for (unsigned i = 0; i < 12; ++i)
        result[i] = (config(reg_pam0 + 1 + i / 2, 1) >> (4 * (i % 2))) & 3;
    result[12] = (config(reg_pam0, 1) >> 4) & 3;
    return result;
}

std::vector<ShadowRange> I440fx::ranges(const Attributes& now, const Attributes* before) {
    std::vector<ShadowRange> result;
    for (std::size_t i = 0; i < segment_count; ++i) {
        if (before != nullptr && now[i] == (*before)[i])
            continue;
        const ShadowRange range{segment_base(i), segment_size(i), (now[i] & 1) != 0, (now[i] & 2) != 0};
        if (!result.empty() && result.back().base + result.back().size == range.base &&
            result.back().read_ram == range.read_ram && result.back().write_ram == range.write_ram)
            result.back().size += range.size;
        else
            result.push_back(range);
    }
    return result;
}

std::vector<ShadowRange> I440fx::shadow_map() const {
    return ranges(attributes(), nullptr);
}

void I440fx::reset(ResetKind kind) {
    PciFunction::reset(kind);
    set_writable(reg_smram, 1, smram_writable);
    config_address_ = 0;
    if (shadow_changed_)
        shadow_changed_(shadow_map());
}

void I440fx::config_write(unsigned offset, std::span<const std::uint8_t> data) {
    const auto before = attributes();
    PciFunction::config_write(offset, data);
    if ((config(reg_smram, 1) & smram_lock) != 0) { // 3.2.19: D_LCK closes SMRAM until the next reset
        set_config(reg_smram, 1, config(reg_smram, 1) & ~std::uint32_t{smram_open});
        set_writable(reg_smram, 1, 0);
    }
    const auto now = attributes();
    if (now != before && shadow_changed_)
        shadow_changed_(ranges(now, &before));
}

void I440fx::read(unsigned, std::uint64_t offset, std::span<std::uint8_t> data) {
    std::ranges::fill(data, std::uint8_t{0xff});
    if (offset == 0 && data.size() == 4) {
        for (unsigned i = 0; i < 4; ++i)
            data[i] = static_cast<std::uint8_t>(config_address_ >> (8 * i));
    } else if (offset < 4) {
        if (offset <= 1 && offset + data.size() > 1)
            data[1 - offset] = isa_bridge_.reset_control();
    } else if ((config_address_ & config_enable) != 0) {
        pci_.config_read((config_address_ >> 16) & 0xff, (config_address_ >> 11) & 0x1f,
                         (config_address_ >> 8) & 7,
                         (config_address_ & 0xfc) + static_cast<unsigned>(offset - 4), data);
    }
}

void I440fx::write(unsigned, std::uint64_t offset, std::span<const std::uint8_t> data) {
    if (offset == 0 && data.size() == 4) {
        config_address_ = 0;
        for (unsigned i = 0; i < 4; ++i)
            config_address_ |= std::uint32_t{data[i]} << (8 * i);
        config_address_ &= config_address_bits;
    } else if (offset < 4) {
        if (offset <= 1 && offset + data.size() > 1)
            isa_bridge_.write_reset_control(data[1 - offset]);
    } else if ((config_address_ & config_enable) != 0) {
        pci_.config_write((config_address_ >> 16) & 0xff, (config_address_ >> 11) & 0x1f,
                          (config_address_ >> 8) & 7,
                          (config_address_ & 0xfc) + static_cast<unsigned>(offset - 4), data);
    }
}

} // namespace escalus
