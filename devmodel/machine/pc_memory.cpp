// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/pc_memory.hpp"

#include <algorithm>
#include <stdexcept>

namespace escalus {

namespace {
constexpr std::uint64_t conventional = 0xa0000, first_mib = 0x100000, isa_rom = 0x20000,
                        isa_rom_base = 0xe0000;

constexpr std::uint64_t round_up(std::uint64_t size, std::uint64_t unit) {
    return (size + unit - 1) / unit * unit;
}
} // namespace

std::uint64_t PcMemory::region_bytes(std::uint64_t ram_bytes, std::uint64_t rom_bytes) {
    return round_up(ram_bytes, large_page_size) + round_up(rom_bytes, large_page_size);
}

PcMemory::PcMemory(AddressSpace& space, Bus& memory_bus, std::uint64_t ram_bytes,
                   std::span<const std::uint8_t> rom)
    : space_{space},
      bus_{memory_bus},
      ram_bytes_{ram_bytes & ~page_mask},
      low_end_{std::min(ram_bytes_, low_limit)},
      ram_{space.allocate("ram", ram_bytes_)},
      rom_bytes_{round_up(rom.size(), page_size)} {
    if (ram_bytes_ < 2 * first_mib)
        throw std::invalid_argument{"a pc machine has at least 2 MiB of memory"};
    space_.map(GuestPhys{0}, ram_, 0, conventional, Access::RWX);
    space_.map(GuestPhys{first_mib}, ram_, first_mib, low_end_ - first_mib, Access::RWX);
    if (high_bytes() != 0)
        space_.map(GuestPhys{four_gib}, ram_, low_end_, high_bytes(), Access::RWX);
    if (rom_bytes_ != 0) {
        rom_ = &space_.allocate("rom", rom_bytes_);
        // An odd size sits at the end, where the reset vector is.
        std::ranges::fill(rom_->bytes(), std::uint8_t{0xff});
        std::ranges::copy(rom, rom_->bytes().last(rom.size()).begin());
        space_.map(GuestPhys{four_gib - rom_bytes_}, *rom_, 0, rom_bytes_, Access::RX);
    }
    const ShadowRange all{GuestPhys{shadow_base}, shadow_size, false, false};
    shadow_changed({&all, 1});
    bus_.add(shadow_base, shadow_size, *this, 0);
}

PcMemory::~PcMemory() {
    bus_.remove(shadow_base);
}

void PcMemory::shadow_changed(std::span<const ShadowRange> ranges) {
    for (const auto& range : ranges)
        map_shadow(range);
}

void PcMemory::map_shadow(const ShadowRange& range) {
    const auto begin = raw(range.base), end = begin + range.size;
    for (auto page = begin; page < end; page += page_size)
        writes_to_ram_.at((page - shadow_base) / page_size) = range.write_ram;
    if (range.read_ram) {
        space_.map(range.base, ram_, begin, range.size, range.write_ram ? Access::RWX : Access::RX);
        return;
    }
    // Below the ROM's 128 KiB nothing answers reads.
    const auto rom_begin = rom_ == nullptr ? end : std::clamp(isa_rom_base, begin, end);
    if (rom_begin > begin)
        space_.unmap(range.base, rom_begin - begin);
    if (rom_begin < end) {
        const auto in_alias = rom_begin - isa_rom_base;
        const auto alias = std::min(rom_bytes_, isa_rom);
        const auto missing = isa_rom - alias; // a ROM smaller than 128 KiB sits at the end
        if (in_alias >= missing)
            space_.map(GuestPhys{rom_begin}, *rom_, rom_bytes_ - isa_rom + in_alias, end - rom_begin,
                       Access::RX);
        else
            space_.unmap(GuestPhys{rom_begin}, end - rom_begin);
    }
}

void PcMemory::set_a20(bool open) {
    space_.map(GuestPhys{first_mib}, ram_, open ? first_mib : 0, conventional, Access::RWX);
}

void PcMemory::read(unsigned, std::uint64_t, std::span<std::uint8_t> data) {
    std::ranges::fill(data, std::uint8_t{0xff});
}

void PcMemory::write(unsigned, std::uint64_t offset, std::span<const std::uint8_t> data) {
    // Reads come from the ROM and writes go to the RAM behind it: how a BIOS copies itself.
    if (writes_to_ram_.at(offset / page_size))
        std::ranges::copy(data, ram_.bytes().subspan(shadow_base + offset).begin());
}

} // namespace escalus
