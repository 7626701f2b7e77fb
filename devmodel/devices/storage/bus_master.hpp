// SPDX-License-Identifier: GPL-2.0-or-later
// One channel of the PIIX3's bus-master IDE function: registers BMICX, BMISX and BMIDTPX, and the walk over
// the physical region descriptor (PRD) table.
//
// Intel 82371FB/82371SB (PIIX/PIIX3) datasheet 290550, sections 2.6 and 4.5; "Programming Interface for Bus
// Master IDE Controller" 1.0 (SFF-8038i). State: command, status, table pointer, position in the table.
// Missing: nothing a guest can tell apart (PRD regions that cross 64 KiB are allowed).
#pragma once

#include "devmodel/devices/storage/dma_stream.hpp"

namespace escalus {

class BusMaster final : public DmaStream {
  public:
    static constexpr unsigned offset_command = 0, offset_status = 2, offset_table = 4;

    explicit BusMaster(GuestMemory& memory) : DmaStream{memory, 0xffffffff} {}

    /// The eight ports of the channel; offset 0..7, bytes.
    [[nodiscard]] std::uint8_t read(unsigned offset) const;
    /// True when the write started the engine.
    bool write(unsigned offset, std::uint8_t value);
    void reset();

    /// The engine runs: started, not stopped, table not exhausted.
    [[nodiscard]] bool active() const { return (status_ & status_active) != 0; }
    /// The drive's INTRQ rose.
    void interrupt() { status_ |= status_interrupt; }

  private:
    static constexpr std::uint8_t command_start = 1, command_mask = 0x09;
    static constexpr std::uint8_t status_active = 1, status_error = 2, status_interrupt = 4,
                                  status_capable = 0x60;

    bool fetch(Cursor& cursor) const override;
    void exhausted() override;
    /// As after a master abort: stops with the error bit.
    void faulted() override;

    std::uint8_t command_ = 0;
    std::uint8_t status_ = 0;
    std::uint32_t table_ = 0;
};

} // namespace escalus
