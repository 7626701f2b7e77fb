// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/engine/region_allocator.hpp"

#include <algorithm>

namespace escalus {

namespace {
constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
    return (value + unit - 1) & ~(unit - 1);
}
} // namespace

RegionAllocator::RegionAllocator(std::span<const abi::Extent> extents)
    : extents_{extents.begin(), extents.end()} {
    for (const auto& extent : extents_)
        total_ += extent.bytes;
    top_ = total_;
}

std::optional<std::uint64_t> RegionAllocator::allocate(std::uint64_t size) {
    if (size == 0 || size > top_ - bottom_)
        return {};
    size = round_up(size, page_size);
    if (size > top_ - bottom_)
        return {};
    if (size < large_page_size)
        return top_ -= size;
    const auto offset = bottom_; // a multiple of 2 MiB: only this branch moves it
    const auto end = std::min(round_up(bottom_ + size, large_page_size), top_);
    bottom_ = end;
    return offset;
}

std::vector<RegionAllocator::Piece> RegionAllocator::pieces(std::uint64_t offset, std::uint64_t size) const {
    std::vector<Piece> result;
    for (const auto& extent : extents_) {
        if (size == 0)
            break;
        if (offset >= extent.bytes) {
            offset -= extent.bytes;
            continue;
        }
        const auto part = std::min(size, extent.bytes - offset);
        result.push_back({HostPhys{extent.address + offset}, part});
        offset = 0;
        size -= part;
    }
    return result;
}

} // namespace escalus
