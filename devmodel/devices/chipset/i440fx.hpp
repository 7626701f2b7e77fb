// SPDX-License-Identifier: GPL-2.0-or-later
// Intel 82441FX PCI and Memory Controller (PMC), the host bridge of the 440FX chip set: datasheet 290549-001.
//
// Modelled: configuration mechanism 1 (ports 0xcf8, 0xcfc), the Programmable Attribute Map PAM0..PAM6
// (0x59..0x5f), which says for each piece of 0xc0000..0xfffff whether reads and writes go to RAM or to the
// ROMs, and SMRAM control (0x72) as a register. The subsystem ID is 1af4:1100, by which SeaBIOS and OVMF
// recognise a machine that feeds them through fw_cfg. State: CONFADD and the configuration space.
//
// Missing: DRAM timing and error registers do nothing; SMRAM never opens, since guests have no SMM.
#pragma once

#include "devmodel/machine/guest_memory.hpp"
#include "devmodel/machine/pci.hpp"
#include "devmodel/machine/port_notes.hpp"

#include <array>
#include <functional>
#include <span>
#include <vector>

namespace escalus {

class Piix3;

/// How a piece of the BIOS area decodes. Reads that do not go to RAM go to the ROM; writes that do not go to
/// RAM are dropped.
struct ShadowRange {
    GuestPhys base{};
    std::uint64_t size = 0;
    bool read_ram = false;
    bool write_ram = false;
    bool operator==(const ShadowRange&) const = default;
};

class I440fx final : public PciFunction {
  public:
    /// Called with the ranges whose attributes changed, neighbours with like attributes merged; after a reset
    /// with the whole of 0xc0000..0xfffff (all ROM).
    using ShadowChanged = std::function<void(std::span<const ShadowRange>)>;

    /// `isa_bridge` gets the byte accesses to 0xcf8..0xcfb, which are not configuration cycles (0xcf9 is the
    /// reset control register). Plug it at 00.0.
    I440fx(PciSpaces spaces, PciBus& pci, Piix3& isa_bridge, ShadowChanged shadow_changed);
    ~I440fx() override;

    /// The configuration address only matters to what follows at 0xcfc.
    static void leave_notes(PortNotes& notes);

    /// The whole of 0xc0000..0xfffff as it decodes now.
    [[nodiscard]] std::vector<ShadowRange> shadow_map() const;

    [[nodiscard]] std::string_view name() const override { return "i440fx"; }
    void reset(ResetKind kind) override;
    void config_write(unsigned offset, std::span<const std::uint8_t> data) override;
    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

  private:
    static constexpr unsigned segment_count = 13; // twelve of 16 KiB from 0xc0000, then 64 KiB at 0xf0000
    using Attributes = std::array<std::uint8_t, segment_count>; // bit 0: reads go to RAM, bit 1: writes do

    [[nodiscard]] Attributes attributes() const;
    [[nodiscard]] static std::vector<ShadowRange> ranges(const Attributes& now, const Attributes* before);

    Bus& ports_;
    PciBus& pci_;
    Piix3& isa_bridge_;
    ShadowChanged shadow_changed_;
    std::uint32_t config_address_ = 0;
};

} // namespace escalus
