// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/msix.hpp"

#include "devmodel/machine/little_endian.hpp"

#include <stdexcept>
#include <utility>

namespace escalus {

namespace {
constexpr unsigned entry_bytes = 16;
}

MsixTable::MsixTable(unsigned vectors, MessageSender send) : entries_(vectors), send_{std::move(send)} {
    if (vectors == 0 || vectors > most_vectors)
        throw std::invalid_argument{"MSI-X: so many vectors do not fit"};
}

std::uint32_t MsixTable::read_register(unsigned offset) const {
    if (offset < entries_.size() * entry_bytes) {
        const Entry& entry = entries_[offset / entry_bytes];
        switch (offset % entry_bytes / 4) {
        case 0:
            return static_cast<std::uint32_t>(entry.address);
        case 1:
            return static_cast<std::uint32_t>(entry.address >> 32);
        case 2:
            return entry.data;
        default:
            return entry.masked ? 1 : 0;
        }
    }
    std::uint32_t pending = 0;
    if (offset >= pending_offset)
        for (unsigned i = 0; i < 32; ++i) {
            const auto vector = (offset - pending_offset) * 8 + i;
            if (vector < entries_.size() && entries_[vector].pending)
                pending |= 1u << i;
        }
    return pending;
}

void MsixTable::read(std::uint64_t offset, std::span<std::uint8_t> data) const {
    for (std::size_t i = 0; i < data.size(); ++i) {
        const auto at = static_cast<unsigned>(offset + i);
        data[i] = static_cast<std::uint8_t>(read_register(at & ~3u) >> (8 * (at & 3)));
    }
}

void MsixTable::write_register(unsigned offset, std::uint32_t value) {
    if (offset >= entries_.size() * entry_bytes)
        return; // pending bits are read-only
    Entry& entry = entries_[offset / entry_bytes];
    switch (offset % entry_bytes / 4) {
    case 0:
        entry.address = (entry.address & ~std::uint64_t{0xffffffff}) | (value & ~3u);
        break;
    case 1:
        entry.address = (entry.address & 0xffffffff) | std::uint64_t{value} << 32;
        break;
    case 2:
        entry.data = value;
        break;
    default:
        entry.masked = (value & 1) != 0;
        deliver(entry);
    }
}

void MsixTable::write(std::uint64_t offset, std::span<const std::uint8_t> data) {
    for (std::size_t i = 0; i + 4 <= data.size() && offset % 4 == 0; i += 4)
        write_register(static_cast<unsigned>(offset + i), load_le<std::uint32_t>(data, i));
}

void MsixTable::set_control(std::uint16_t control) {
    control_ = control;
    for (Entry& entry : entries_)
        deliver(entry);
}

void MsixTable::deliver(Entry& entry) {
    if (enabled() && !entry.masked && (control_ & control_mask) == 0 && std::exchange(entry.pending, false))
        send_(entry.address, entry.data);
}

[[gnu::hot]] void MsixTable::raise(unsigned vector) {
    if (!enabled() || vector >= entries_.size())
        return;
    entries_[vector].pending = true;
    deliver(entries_[vector]);
}

void MsixTable::reset() {
    control_ = 0;
    for (Entry& entry : entries_)
        entry = {};
}

} // namespace escalus
