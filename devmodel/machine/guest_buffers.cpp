// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/guest_buffers.hpp"

#include <algorithm>

namespace escalus {

[[gnu::hot]] void GuestBuffers::add(GuestPhys address, std::uint32_t bytes) {
    if (bytes == 0)
        return;
    size_ += bytes;
    if (!pieces_.empty() && raw(pieces_.back().address) + pieces_.back().bytes == raw(address))
        pieces_.back().bytes += bytes;
    else
        pieces_.push_back({address, bytes});
}

[[gnu::hot]] bool GuestBuffers::drop_back(std::uint64_t bytes) {
    if (bytes > size_)
        return false;
    size_ -= bytes;
    while (bytes != 0) {
        auto& last = pieces_.back();
        const auto n = std::min(bytes, last.bytes);
        last.bytes -= n;
        bytes -= n;
        if (last.bytes == 0)
            pieces_.pop_back();
    }
    return true;
}

[[gnu::hot]] bool GuestBuffers::drop_front(std::uint64_t bytes) {
    if (bytes > size_)
        return false;
    size_ -= bytes;
    auto first = pieces_.begin();
    while (bytes != 0) {
        const auto n = std::min(bytes, first->bytes);
        first->address += n;
        first->bytes -= n;
        bytes -= n;
        if (first->bytes == 0)
            ++first;
    }
    pieces_.erase(pieces_.begin(), first);
    return true;
}

/// Calls visit(address, bytes) for each piece of a range until it returns false.
template <typename Visit>
bool GuestBuffers::visit(std::uint64_t offset, std::uint64_t bytes, Visit visit) const {
    for (const Piece& piece : pieces_) {
        if (bytes == 0)
            break;
        if (offset >= piece.bytes) {
            offset -= piece.bytes;
            continue;
        }
        const auto n = std::min(bytes, piece.bytes - offset);
        if (!visit(GuestPhys{raw(piece.address) + offset}, static_cast<std::size_t>(n)))
            return false;
        offset = 0;
        bytes -= n;
    }
    return bytes == 0;
}

[[gnu::hot]] bool GuestBuffers::read(GuestMemory& memory, std::uint64_t offset,
                                     std::span<std::uint8_t> data) const {
    return visit(offset, data.size(), [&](GuestPhys address, std::size_t n) {
        const bool good = memory.read(address, data.first(n));
        data = data.subspan(n);
        return good;
    });
}

[[gnu::hot]] bool GuestBuffers::write(GuestMemory& memory, std::uint64_t offset,
                                      std::span<const std::uint8_t> data) const {
    return visit(offset, data.size(), [&](GuestPhys address, std::size_t n) {
        const bool good = memory.write(address, data.first(n));
        data = data.subspan(n);
        return good;
    });
}

[[gnu::hot]] bool GuestBuffers::map(GuestMemory& memory, std::uint64_t offset, std::size_t bytes,
                                    Access access, std::vector<std::span<std::uint8_t>>& pieces) const {
    constexpr std::size_t most_pieces = 1024; // what one preadv takes
    pieces.clear();
    return visit(offset, bytes, [&](GuestPhys address, std::size_t n) {
        const auto view = memory.at(address, n, access);
        if (view.size() != n || pieces.size() == most_pieces)
            return false;
        pieces.push_back(view);
        return true;
    });
}

[[gnu::hot]] std::optional<GuestPhys> GuestBuffers::address_of(std::uint64_t offset) const {
    std::optional<GuestPhys> found;
    visit(offset, 1, [&](GuestPhys address, std::size_t) {
        found = address;
        return true;
    });
    return found;
}

} // namespace escalus
