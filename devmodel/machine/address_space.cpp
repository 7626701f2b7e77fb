// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/address_space.hpp"

#include <algorithm>

namespace escalus {

void AddressSpace::map(GuestPhys gpa, MemoryRegion& region, std::uint64_t offset, std::uint64_t size,
                       Access access) {
    engine_.map(gpa, region, offset, size, access); // checks everything
    cut(raw(gpa), raw(gpa) + size);
    insert({raw(gpa), raw(gpa) + size, region.bytes().data() + offset, access});
}

void AddressSpace::unmap(GuestPhys gpa, std::uint64_t size) {
    engine_.unmap(gpa, size);
    cut(raw(gpa), raw(gpa) + size);
}

void AddressSpace::cut(std::uint64_t begin, std::uint64_t end) {
    ++generation_;
    last_ = 0;
    std::vector<Piece> kept;
    kept.reserve(pieces_.size() + 2);
    for (const auto& piece : pieces_) {
        if (piece.end <= begin || piece.begin >= end) {
            kept.push_back(piece);
            continue;
        }
        if (piece.begin < begin)
            kept.push_back({piece.begin, begin, piece.host, piece.access});
        if (piece.end > end)
            kept.push_back({end, piece.end, piece.host + (end - piece.begin), piece.access});
    }
    pieces_ = std::move(kept);
}

void AddressSpace::insert(const Piece& piece) {
    auto next = std::ranges::lower_bound(pieces_, piece.begin, {}, &Piece::begin);
    const auto continues = [](const Piece& a, const Piece& b) {
        return a.end == b.begin && a.access == b.access && a.host + (a.end - a.begin) == b.host;
    };
    next = pieces_.insert(next, piece);
    if (auto after = std::next(next); after != pieces_.end() && continues(*next, *after)) {
        next->end = after->end;
        pieces_.erase(after);
    }
    if (next != pieces_.begin() && continues(*std::prev(next), *next)) {
        std::prev(next)->end = next->end;
        pieces_.erase(next);
    }
}

[[gnu::hot]] std::span<std::uint8_t> AddressSpace::at(GuestPhys gpa, std::uint64_t size, Access access) {
    const auto address = raw(gpa);
    const auto holds = [&](const Piece& p) { return address >= p.begin && address < p.end; };
    if (last_ >= pieces_.size() || !holds(pieces_[last_])) {
        const auto next = std::ranges::upper_bound(pieces_, address, {}, &Piece::begin);
        if (next == pieces_.begin() || !holds(*std::prev(next)))
            return {};
        last_ = static_cast<std::size_t>(std::prev(next) - pieces_.begin());
    }
    const auto& piece = pieces_[last_];
    const auto wanted = static_cast<unsigned>(access);
    if (size > piece.end - address || (static_cast<unsigned>(piece.access) & wanted) != wanted)
        return {};
    return {piece.host + (address - piece.begin), size};
}

} // namespace escalus
