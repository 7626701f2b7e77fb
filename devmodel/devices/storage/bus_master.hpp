// SPDX-License-Identifier: GPL-2.0-or-later
// One channel of the PIIX3's bus-master IDE function: registers BMICX, BMISX and BMIDTPX, and the walk over
// the physical region descriptor (PRD) table.
//
// Intel 82371FB/82371SB (PIIX/PIIX3) datasheet 290550, sections 2.6 and 4.5; "Programming Interface for Bus
// Master IDE Controller" 1.0 (SFF-8038i). State: command, status, table pointer, position in the table.
// Missing: nothing a guest can tell apart (PRD regions that cross 64 KiB are allowed).
#pragma once

#include "devmodel/machine/guest_memory.hpp"

#include <span>
#include <vector>

namespace escalus {

class BusMaster {
  public:
    explicit BusMaster(GuestMemory& memory) : memory_{memory} {}

    /// The eight ports of the channel; offset 0..7, bytes.
    [[nodiscard]] std::uint8_t read(unsigned offset) const;
    /// True when the write started the engine.
    bool write(unsigned offset, std::uint8_t value);
    void reset();

    /// The engine runs: started, not stopped, table not exhausted.
    [[nodiscard]] bool active() const { return (status_ & status_active) != 0; }
    /// The drive's INTRQ rose.
    void interrupt() { status_ |= status_interrupt; }

    // What a drive does with the data of its transfer. The table is a stream of bytes: its regions need not
    // match sectors.

    /// A position in the table.
    struct Cursor {
        std::uint32_t table = 0;   // address of the next descriptor
        std::uint32_t address = 0; // of the next byte
        std::uint32_t left = 0;    // bytes in this region
        bool last = false;         // this region is the last
    };
    /// Host views of the next `bytes` bytes, and the position after them, for settle() once they have been
    /// moved. False when the table ends before, or some of it is not memory, or there are too many pieces to
    /// be worth it.
    bool map(std::size_t bytes, Access access, std::vector<std::span<std::uint8_t>>& pieces, Cursor& after);
    void settle(const Cursor& cursor);
    /// Copies until `data` or the table ends; returns the bytes moved. An address that is not memory stops
    /// the engine with the error bit, as a master abort does.
    std::size_t to_memory(std::span<const std::uint8_t> data);
    std::size_t from_memory(std::span<std::uint8_t> data);

  private:
    static constexpr std::uint8_t command_start = 1, command_mask = 0x09;
    static constexpr std::uint8_t status_active = 1, status_error = 2, status_interrupt = 4,
                                  status_capable = 0x60;

    /// Makes cursor.left nonzero; false at the end of the table or when the descriptor cannot be read.
    bool next_region(Cursor& cursor, bool& fault) const;
    void fail();
    template <typename Move>
    std::size_t walk(std::size_t bytes, Move move);

    GuestMemory& memory_;
    std::uint8_t command_ = 0;
    std::uint8_t status_ = 0;
    std::uint32_t table_ = 0;
    Cursor cursor_;
};

} // namespace escalus
