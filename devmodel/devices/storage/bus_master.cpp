// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/storage/bus_master.hpp"

#include <algorithm>
#include <array>

namespace escalus {

namespace {
constexpr unsigned offset_command = 0, offset_status = 2, offset_table = 4;
constexpr std::size_t most_pieces = 256; // one preadv takes 1024

std::uint32_t load32(std::span<const std::uint8_t> bytes) {
    return bytes[0] | std::uint32_t{bytes[1]} << 8 | std::uint32_t{bytes[2]} << 16 |
           std::uint32_t{bytes[3]} << 24;
}
} // namespace

std::uint8_t BusMaster::read(unsigned offset) const {
    switch (offset) {
    case offset_command:
        return command_;
    case offset_status:
        return status_;
    case offset_table:
    case offset_table + 1:
    case offset_table + 2:
    case offset_table + 3:
        return static_cast<std::uint8_t>(table_ >> (8 * (offset - offset_table)));
    default:
        return 0;
    }
}

bool BusMaster::write(unsigned offset, std::uint8_t value) {
    if (offset == offset_command) {
        const bool was_started = (command_ & command_start) != 0;
        command_ = value & command_mask;
        const bool started = (command_ & command_start) != 0;
        if (started && !was_started) {
            // "The controller begins from the table's start": there is no resuming (section 2.6.1).
            cursor_ = Cursor{.table = table_};
            status_ |= status_active;
            return true;
        }
        if (!started)
            status_ = static_cast<std::uint8_t>(status_ & ~status_active);
    } else if (offset == offset_status) {
        const auto cleared = value & (status_error | status_interrupt);
        status_ =
            static_cast<std::uint8_t>((status_ & ~status_capable & ~cleared) | (value & status_capable));
    } else if (offset >= offset_table && offset < offset_table + 4) {
        const unsigned shift = 8 * (offset - offset_table);
        table_ = (table_ & ~(0xffu << shift)) | std::uint32_t{value} << shift;
        table_ &= ~3u; // the table is dword-aligned
    }
    return false;
}

void BusMaster::reset() {
    command_ = 0;
    status_ = 0;
    table_ = 0;
    cursor_ = {};
}

bool BusMaster::next_region(Cursor& cursor, bool& fault) const {
    if (cursor.left != 0)
        return true;
    if (cursor.last)
        return false;
    std::array<std::uint8_t, 8> descriptor{};
    if (!memory_.read(GuestPhys{cursor.table}, descriptor)) {
        fault = true;
        return false;
    }
    cursor.table += 8;
    cursor.address = load32(descriptor) & ~1u;
    const auto control = load32(std::span{descriptor}.subspan(4));
    cursor.left = control & 0xfffe;
    if (cursor.left == 0)
        cursor.left = 0x10000;
    cursor.last = (control & 0x80000000u) != 0;
    return true;
}

void BusMaster::settle(const Cursor& cursor) {
    cursor_ = cursor;
    if (cursor_.left == 0 && cursor_.last)
        status_ = static_cast<std::uint8_t>(status_ & ~status_active);
}

void BusMaster::fail() {
    status_ = static_cast<std::uint8_t>((status_ & ~status_active) | status_error);
}

namespace {
// As much of [address, address + left) as is wanted and does not wrap around 4 GiB.
std::uint32_t part_of(std::uint32_t address, std::uint32_t left, std::size_t wanted) {
    const std::uint64_t to_wrap = (std::uint64_t{1} << 32) - address;
    return static_cast<std::uint32_t>(std::min({std::uint64_t{left}, std::uint64_t{wanted}, to_wrap}));
}
} // namespace

bool BusMaster::map(std::size_t bytes, Access access, std::vector<std::span<std::uint8_t>>& pieces,
                    Cursor& after) {
    pieces.clear();
    Cursor& cursor = after;
    cursor = cursor_;
    bool fault = false;
    while (bytes != 0) {
        if (!next_region(cursor, fault))
            return false;
        const auto n = part_of(cursor.address, cursor.left, bytes);
        const auto piece = memory_.at(GuestPhys{cursor.address}, n, access);
        if (piece.size() != n)
            return false;
        if (!pieces.empty() && pieces.back().data() + pieces.back().size() == piece.data())
            pieces.back() = {pieces.back().data(), pieces.back().size() + n};
        else if (pieces.size() < most_pieces)
            pieces.push_back(piece);
        else
            return false;
        cursor.address += n;
        cursor.left -= n;
        bytes -= n;
    }
    return true;
}

template <typename Move>
std::size_t BusMaster::walk(std::size_t bytes, Move move) {
    Cursor cursor = cursor_;
    bool fault = false;
    std::size_t moved = 0;
    while (moved < bytes && next_region(cursor, fault)) {
        const auto n = part_of(cursor.address, cursor.left, bytes - moved);
        if (!move(GuestPhys{cursor.address}, moved, n)) {
            fault = true;
            break;
        }
        cursor.address += n;
        cursor.left -= n;
        moved += n;
    }
    settle(cursor);
    if (fault)
        fail();
    return moved;
}

std::size_t BusMaster::to_memory(std::span<const std::uint8_t> data) {
    return walk(data.size(), [&](GuestPhys address, std::size_t at, std::size_t n) {
        return memory_.write(address, data.subspan(at, n));
    });
}

std::size_t BusMaster::from_memory(std::span<std::uint8_t> data) {
    return walk(data.size(), [&](GuestPhys address, std::size_t at, std::size_t n) {
        return memory_.read(address, data.subspan(at, n));
    });
}

} // namespace escalus
