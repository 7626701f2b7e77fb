// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/storage/bus_master.hpp"

#include "devmodel/machine/little_endian.hpp"

#include <array>

namespace escalus {

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
            rewind({.table = table_});
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
    rewind({});
}

bool BusMaster::fetch(Cursor& cursor) const {
    std::array<std::uint8_t, 8> descriptor{};
    if (!memory().read(GuestPhys{cursor.table}, descriptor))
        return false;
    cursor.table = (cursor.table + descriptor.size()) & 0xffffffff;
    cursor.address = load_le<std::uint32_t>(descriptor) & ~1u;
    const auto control = load_le<std::uint32_t>(descriptor, 4);
    cursor.left = control & 0xfffe;
    if (cursor.left == 0)
        cursor.left = 0x10000;
    cursor.last = (control & 0x80000000u) != 0;
    return true;
}

void BusMaster::exhausted() {
    status_ = static_cast<std::uint8_t>(status_ & ~status_active);
}

void BusMaster::faulted() {
    status_ = static_cast<std::uint8_t>((status_ & ~status_active) | status_error);
}

} // namespace escalus
