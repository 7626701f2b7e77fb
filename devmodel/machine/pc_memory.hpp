// SPDX-License-Identifier: GPL-2.0-or-later
// The memory of the pc machine: RAM, the firmware's ROM, the BIOS area with the host bridge's shadow
// attributes, the A20 gate.
//
//   0 .. 640 KiB                RAM
//   0xa0000 .. 0xbffff          the VGA's window (it maps that itself)
//   0xc0000 .. 0xfffff          RAM or ROM, as the PAM registers say; the ROM's last 128 KiB from 0xe0000
//   1 MiB .. low_end            RAM, at most up to 0xe0000000
//   0xfec00000 0xfed00000 0xfee00000    I/O APIC, HPET, local APICs
//   4 GiB - ROM size .. 4 GiB   the ROM
//   4 GiB ..                    the rest of the RAM
//
// A closed A20 gate folds the second megabyte's first 640 KiB onto the first's, which is all that software
// which still closes it looks at.
#pragma once

#include "devmodel/devices/chipset/i440fx.hpp"
#include "devmodel/machine/address_space.hpp"
#include "devmodel/machine/bus.hpp"

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace escalus {

class PcMemory final : public BusDevice {
  public:
    static constexpr std::uint64_t low_limit = 0xe0000000, four_gib = 1ull << 32;

    /// What the constructor asks MemoryMap::allocate for, each piece rounded up to 2 MiB.
    static std::uint64_t region_bytes(std::uint64_t ram_bytes, std::uint64_t rom_bytes);
    /// `rom` may be empty: a machine that starts a kernel without firmware.
    PcMemory(AddressSpace& space, Bus& memory_bus, std::uint64_t ram_bytes,
             std::span<const std::uint8_t> rom);
    ~PcMemory() override;

    void shadow_changed(std::span<const ShadowRange> ranges);
    void set_a20(bool open);
    [[nodiscard]] std::uint64_t low_end() const { return low_end_; }
    [[nodiscard]] std::uint64_t high_bytes() const { return ram_bytes_ - low_end_; }

    // Accesses to the BIOS area that no mapping takes.
    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

  private:
    static constexpr std::uint64_t shadow_base = 0xc0000, shadow_size = 0x40000;
    void map_shadow(const ShadowRange& range);

    AddressSpace& space_;
    Bus& bus_;
    std::uint64_t ram_bytes_, low_end_;
    MemoryRegion& ram_;
    MemoryRegion* rom_ = nullptr;
    std::uint64_t rom_bytes_;
    std::array<bool, shadow_size / page_size> writes_to_ram_{};
};

} // namespace escalus
