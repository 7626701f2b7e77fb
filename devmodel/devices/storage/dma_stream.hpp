// SPDX-License-Identifier: GPL-2.0-or-later
// A table of memory regions as a stream of bytes: what a bus master makes of the physical region descriptors
// that a driver has written. The regions need not match sectors.
//
// State: the position in the table. The form of a descriptor is the controller's (BusMaster: SFF-8038i,
// AhciPrdTable: AHCI 1.3).
#pragma once

#include "devmodel/machine/guest_memory.hpp"

#include <span>
#include <vector>

namespace escalus {

class DmaStream {
  public:
    virtual ~DmaStream() = default;
    DmaStream(const DmaStream&) = delete;
    DmaStream& operator=(const DmaStream&) = delete;

    /// A position in the table.
    struct Cursor {
        std::uint64_t table = 0;   // address of the next descriptor
        std::uint64_t address = 0; // of the next byte
        std::uint64_t left = 0;    // bytes in this region
        std::uint64_t moved = 0;   // bytes since the table's start
        std::uint32_t entries = 0; // descriptors left, where the table's length is told beforehand
        bool last = false;         // this region is the last
    };
    /// Host views of the next `bytes` bytes, and the position after them, for settle() once they have been
    /// moved. False when the table ends before, or some of it is not memory, or there are too many pieces to
    /// be worth it.
    bool map(std::size_t bytes, Access access, std::vector<std::span<std::uint8_t>>& pieces, Cursor& after);
    void settle(const Cursor& cursor);
    /// Copies until `data` or the table ends; returns the bytes moved. An address that is not memory ends the
    /// stream: faulted().
    std::size_t to_memory(std::span<const std::uint8_t> data);
    std::size_t from_memory(std::span<std::uint8_t> data);
    /// Bytes since the table's start.
    [[nodiscard]] std::uint64_t moved() const { return cursor_.moved; }

  protected:
    /// `last_address`: where the engine's addresses wrap around.
    DmaStream(GuestMemory& memory, std::uint64_t last_address)
        : memory_{memory}, last_address_{last_address} {}

    void rewind(const Cursor& cursor) { cursor_ = cursor; }
    [[nodiscard]] GuestMemory& memory() const { return memory_; }

    /// Takes the next descriptor into address, left (not 0) and last, and moves on in the table. Called with
    /// `last` clear. False when it is not memory.
    virtual bool fetch(Cursor& cursor) const = 0;
    virtual void exhausted() {}
    virtual void faulted() = 0;

  private:
    /// Makes cursor.left nonzero; false at the end of the table or when the descriptor cannot be read.
    bool next_region(Cursor& cursor, bool& fault) const;
    [[nodiscard]] std::size_t part_of(const Cursor& cursor, std::size_t wanted) const;
    void advance(Cursor& cursor, std::size_t bytes) const;
    template <typename Move>
    std::size_t walk(std::size_t bytes, Move move);

    GuestMemory& memory_;
    std::uint64_t last_address_;
    Cursor cursor_;
};

} // namespace escalus
