// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/storage/nvme_prp.hpp"

#include "devmodel/machine/little_endian.hpp"

#include <algorithm>
#include <vector>

namespace escalus::nvme {

namespace {
constexpr std::uint64_t entry_bytes = 8;

/// A list of pages; its last entry leads to the next list when the data needs more (4.3, figure 108).
Status collect_list(GuestMemory& memory, std::uint64_t list, std::uint64_t bytes, std::uint32_t page_bytes,
                    GuestBuffers& data) {
    if (list % entry_bytes != 0)
        return Status::InvalidPrpOffset;
    std::vector<std::uint8_t> entries;
    while (bytes != 0) {
        const auto room = (page_bytes - list % page_bytes) / entry_bytes;
        const auto needed = (bytes + page_bytes - 1) / page_bytes;
        const bool chained = needed > room;
        const auto count = std::min(needed, room);
        entries.resize(static_cast<std::size_t>(count * entry_bytes));
        if (!memory.read(GuestPhys{list}, entries))
            return Status::DataTransferError;
        for (std::uint64_t i = 0; i < count; ++i) {
            const auto entry = load_le<std::uint64_t>(entries, static_cast<std::size_t>(i * entry_bytes));
            if (entry % page_bytes != 0)
                return Status::InvalidPrpOffset;
            if (chained && i + 1 == count) {
                list = entry;
                break;
            }
            const auto n = static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes, page_bytes));
            data.add(GuestPhys{entry}, n);
            bytes -= n;
        }
    }
    return Status::Success;
}
} // namespace

Status collect_regions(GuestMemory& memory, const Command& command, std::uint64_t bytes,
                       std::uint32_t page_bytes, GuestBuffers& data) {
    if (bytes == 0)
        return Status::Success;
    if (command.prp1 % 4 != 0)
        return Status::InvalidPrpOffset;
    const auto first = std::min<std::uint64_t>(bytes, page_bytes - command.prp1 % page_bytes);
    data.add(GuestPhys{command.prp1}, static_cast<std::uint32_t>(first));
    bytes -= first;
    if (bytes > page_bytes)
        return collect_list(memory, command.prp2, bytes, page_bytes, data);
    if (bytes != 0) {
        if (command.prp2 % page_bytes != 0)
            return Status::InvalidPrpOffset;
        data.add(GuestPhys{command.prp2}, static_cast<std::uint32_t>(bytes));
    }
    return Status::Success;
}

} // namespace escalus::nvme
