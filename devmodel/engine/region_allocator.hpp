// SPDX-License-Identifier: GPL-2.0-or-later
// Hands out a VM's memory. The VM's extents count as one run of bytes, end to end; a region is a range of it.
//
// Regions of 2 MiB and more are aligned to 2 MiB and come from the bottom, so that nested page tables can use
// big pages; small ones come from the top, page by page. When memory was sized as the sum of all regions,
// each rounded up to 2 MiB, all of them fit in any order.
#pragma once

#include "vmm/abi/abi.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace escalus {

class RegionAllocator {
  public:
    /// Extents are multiples of 2 MiB.
    explicit RegionAllocator(std::span<const abi::Extent> extents);

    /// The offset of `size` bytes (rounded up to pages); nothing when there is no room.
    [[nodiscard]] std::optional<std::uint64_t> allocate(std::uint64_t size);
    [[nodiscard]] std::uint64_t total() const { return total_; }

    /// The host-physical pieces of [offset, offset + size).
    struct Piece {
        HostPhys address;
        std::uint64_t size;
    };
    [[nodiscard]] std::vector<Piece> pieces(std::uint64_t offset, std::uint64_t size) const;

  private:
    std::vector<abi::Extent> extents_;
    std::uint64_t total_ = 0;
    std::uint64_t bottom_ = 0; // first free byte
    std::uint64_t top_ = 0;    // end of the free bytes
};

} // namespace escalus
