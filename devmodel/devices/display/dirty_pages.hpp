// SPDX-License-Identifier: GPL-2.0-or-later
// Which 4 KiB pages of video memory changed since the picture was last brought up to date.
#pragma once

#include "vmm/abi/types.hpp"

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace escalus {

class DirtyPages {
  public:
    explicit DirtyPages(std::uint64_t bytes) : pages_((bytes + page_mask) / page_size) {}

    /// Parts beyond the end are ignored.
    void mark(std::uint64_t offset, std::uint64_t size) {
        const auto last = std::min<std::uint64_t>((offset + size + page_mask) / page_size, pages_.size());
        for (auto page = offset / page_size; page < last; ++page)
            pages_[page] = 1;
    }
    void mark(std::uint64_t offset) { pages_[offset / page_size] = 1; }

    /// What MemoryMap::harvest_dirty gave for memory that is mapped from `offset` on.
    void merge(std::uint64_t offset, std::uint64_t size, std::span<const std::uint64_t> bitmap) {
        for (std::uint64_t i = 0; i < size / page_size && i / 64 < bitmap.size(); ++i)
            if ((bitmap[i / 64] >> (i % 64) & 1) != 0)
                mark(offset + i * page_size, 1);
    }
    [[nodiscard]] bool any(std::uint64_t offset, std::uint64_t size) const {
        const auto last = std::min<std::uint64_t>((offset + size + page_mask) / page_size, pages_.size());
        for (auto page = offset / page_size; page < last; ++page)
            if (pages_[page] != 0)
                return true;
        return false;
    }
    void clear() { std::ranges::fill(pages_, std::uint8_t{0}); }

  private:
    std::vector<std::uint8_t> pages_;
};

} // namespace escalus
