// SPDX-License-Identifier: GPL-2.0-or-later
// The bus-master IDE function of the Intel 82371SB (PIIX3): PCI function 1, two legacy channels.
//
// Intel 82371FB/82371SB datasheet (order 290550), sections 2.2 (configuration), 2.6 and 4.5. State: the
// configuration space with IDETIM and SIDETIM, and two channels. The channels answer at their legacy ports
// (0x1f0-0x1f7 and 0x3f6, 0x170-0x177 and 0x376) while IDETIM's decode enable and the command register's I/O
// bit are set, the bus master registers at BAR4. Missing: the timings have no effect, as a model has none.
#pragma once

#include "devmodel/devices/storage/ide_channel.hpp"
#include "devmodel/machine/pci.hpp"

namespace escalus {

class PiixIde final : public PciFunction {
  public:
    static constexpr PciIdentity piix3{.vendor = 0x8086,
                                       .device = 0x7010,
                                       .class_code = 0x010180,
                                       .subsystem_vendor = 0x8086,
                                       .subsystem = 0x7010};

    /// `irq14` and `irq15` are the interrupt wires of the primary and the secondary channel.
    PiixIde(PciSpaces spaces, GuestMemory& memory, IrqLine irq14, IrqLine irq15,
            const PciIdentity& identity = piix3);
    ~PiixIde() override;

    /// The legacy ports answer from reset on, not only once IDETIM's decode enable is set: OVMF never sets
    /// it, as QEMU does not look at it. Before the first reset.
    void decode_from_reset();

    /// Leaves notes of its ports there. Before the first reset.
    void leave_notes(PortNotes& notes) { notes_ = &notes; }

    /// channel 0 or 1, unit 0 (master) or 1 (slave). Before the first reset. Throws std::logic_error when
    /// the place is taken.
    void attach(unsigned channel, unsigned unit, std::unique_ptr<IdeDrive> drive);
    [[nodiscard]] IdeDrive* drive(unsigned channel, unsigned unit) {
        return channels_.at(channel).drive(unit);
    }

    [[nodiscard]] std::string_view name() const override { return "piix3-ide"; }
    void reset(ResetKind kind) override;
    void pause() override;
    void resume() override;
    void config_write(unsigned offset, std::span<const std::uint8_t> data) override;

    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

  private:
    void bar_moved(unsigned index, std::optional<std::uint64_t> address) override;
    void update_decoding();
    void update_notes();
    void stop_decoding(unsigned channel);

    Bus& ports_;
    PortNotes* notes_ = nullptr;
    std::array<IdeChannel, 2> channels_;
    std::array<bool, 2> command_decoded_{}, control_decoded_{};
};

} // namespace escalus
