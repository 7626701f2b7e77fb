// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/storage/dma_stream.hpp"

#include <algorithm>

namespace escalus {

namespace {
constexpr std::size_t most_pieces = 256; // one preadv takes 1024
}

bool DmaStream::next_region(Cursor& cursor, bool& fault) const {
    if (cursor.left != 0)
        return true;
    if (cursor.last)
        return false;
    fault = !fetch(cursor);
    return !fault;
}

void DmaStream::settle(const Cursor& cursor) {
    cursor_ = cursor;
    if (cursor_.left == 0 && cursor_.last)
        exhausted();
}

// As much of the region as is wanted and does not wrap around the end of the address space.
std::size_t DmaStream::part_of(const Cursor& cursor, std::size_t wanted) const {
    const auto n = std::min<std::uint64_t>(cursor.left, wanted);
    const auto to_wrap = last_address_ - cursor.address; // one less than there are
    return static_cast<std::size_t>(n - 1 > to_wrap ? to_wrap + 1 : n);
}

void DmaStream::advance(Cursor& cursor, std::size_t bytes) const {
    cursor.address = (cursor.address + bytes) & last_address_;
    cursor.left -= bytes;
    cursor.moved += bytes;
}

bool DmaStream::map(std::size_t bytes, Access access, std::vector<std::span<std::uint8_t>>& pieces,
                    Cursor& after) {
    pieces.clear();
    Cursor& cursor = after;
    cursor = cursor_;
    bool fault = false;
    while (bytes != 0) {
        if (!next_region(cursor, fault))
            return false;
        const auto n = part_of(cursor, bytes);
        const auto piece = memory_.at(GuestPhys{cursor.address}, n, access);
        if (piece.size() != n)
            return false;
        if (!pieces.empty() && pieces.back().data() + pieces.back().size() == piece.data())
            pieces.back() = {pieces.back().data(), pieces.back().size() + n};
        else if (pieces.size() < most_pieces)
            pieces.push_back(piece);
        else
            return false;
        advance(cursor, n);
        bytes -= n;
    }
    return true;
}

template <typename Move>
std::size_t DmaStream::walk(std::size_t bytes, Move move) {
    Cursor cursor = cursor_;
    bool fault = false;
    std::size_t moved = 0;
    while (moved < bytes && next_region(cursor, fault)) {
        const auto n = part_of(cursor, bytes - moved);
        if (!move(GuestPhys{cursor.address}, moved, n)) {
            fault = true;
            break;
        }
        advance(cursor, n);
        moved += n;
    }
    settle(cursor);
    if (fault)
        faulted();
    return moved;
}

std::size_t DmaStream::to_memory(std::span<const std::uint8_t> data) {
    return walk(data.size(), [&](GuestPhys address, std::size_t at, std::size_t n) {
        return memory_.write(address, data.subspan(at, n));
    });
}

std::size_t DmaStream::from_memory(std::span<std::uint8_t> data) {
    return walk(data.size(), [&](GuestPhys address, std::size_t at, std::size_t n) {
        return memory_.read(address, data.subspan(at, n));
    });
}

} // namespace escalus
