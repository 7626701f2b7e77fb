// SPDX-License-Identifier: GPL-2.0-or-later
// An IDE channel: two device positions on one cable, its command block (8 ports) and control block (1 port).
//
// ATA/ATAPI-6 (T13/1410D) clauses 7 and 9.16. State: device control register, device selection, and what the
// drives keep. How absent devices read, which drivers' probing depends on:
//  - nobody on the cable, or device 0 selected where only device 1 is: the bus floats, with DD7 pulled down
//    as clause 4 wants: every register reads 0x7f, and commands go nowhere;
//  - device 1 selected where only device 0 is: status and alternate status read 0x00. The other registers
//    read 0x00 too rather than device 0's values (clause 9.16.1), because some drivers (FreeBSD's, OpenBSD's)
//    take a mirrored ATAPI signature for a second drive.
// Between commands it leaves notes of its ports (machine/port_notes).
// Missing: overlapped and queued commands.
#pragma once

#include "devmodel/devices/storage/bus_master.hpp"
#include "devmodel/devices/storage/ide_drive.hpp"
#include "devmodel/machine/bus.hpp"
#include "devmodel/machine/irq_line.hpp"
#include "devmodel/machine/port_notes.hpp"

#include <array>
#include <functional>

namespace escalus {

class IdeChannel final : public BusDevice, private IdeHost {
  public:
    static constexpr unsigned region_command = 0, region_control = 1;

    IdeChannel(GuestMemory& memory, IrqLine irq) : bus_master_{memory}, irq_{irq} {}

    /// Where the channel's ports are, of which some may be noted; 0: they do not answer.
    struct Place {
        std::uint16_t command = 0, control = 0, bus_master = 0;
        bool operator==(const Place&) const = default;
    };
    void note_ports_at(PortNotes& notes, const Place& place);

    /// unit 0 or 1; throws std::logic_error when there is one already.
    void attach(unsigned unit, std::unique_ptr<IdeDrive> drive);
    [[nodiscard]] IdeDrive* drive(unsigned unit) { return drives_.at(unit).get(); }

    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;
    void read_repeated(unsigned region, std::uint64_t offset, unsigned width,
                       std::span<std::uint8_t> data) override;
    void write_repeated(unsigned region, std::uint64_t offset, unsigned width,
                        std::span<const std::uint8_t> data) override;

    [[nodiscard]] std::uint8_t read_bus_master(unsigned offset);
    void write_bus_master(unsigned offset, std::uint8_t value);
    /// The PCI command register's bus master bit.
    void allow_dma(bool allowed);

    void reset();
    void pause();
    void resume();

  private:
    void interrupt_changed() override;
    DmaStream* dma() override { return dma_allowed_ && bus_master_.active() ? &bus_master_ : nullptr; }

    [[nodiscard]] IdeDrive* selected() { return drives_[selected_unit_].get(); }
    [[nodiscard]] std::uint8_t read_absent(unsigned index) const;
    std::uint8_t read_byte(unsigned region, unsigned index);
    void write_byte(unsigned region, unsigned index, std::uint8_t value);
    void write_control(std::uint8_t value);
    void run_diagnostic();
    void select(std::uint8_t device);
    void note_ports();
    void set_notes() const;

    /// What the notes are made of.
    struct Noted {
        bool quiet = false, pending = false;
        std::uint8_t status = 0, engine_command = 0, engine_status = 0;
        bool operator==(const Noted&) const = default;
    };
    std::array<std::unique_ptr<IdeDrive>, 2> drives_;
    BusMaster bus_master_;
    IrqLine irq_;
    unsigned selected_unit_ = 0;
    std::uint8_t device_ = 0;
    std::uint8_t control_ = 0;
    bool dma_allowed_ = false;
    PortNotes* notes_ = nullptr;
    Place place_;
    Noted noted_;
};

} // namespace escalus
