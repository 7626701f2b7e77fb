// SPDX-License-Identifier: GPL-2.0-or-later
// One buffer of a transfer that lies in several pieces of guest memory: a virtqueue's chain, an NVMe
// command's physical region pages.
#pragma once

#include "devmodel/machine/guest_memory.hpp"

#include <optional>
#include <span>
#include <vector>

namespace escalus {

/// Pieces of guest memory that are one buffer.
class GuestBuffers {
  public:
    /// What follows the last piece in memory becomes a part of it.
    void add(GuestPhys address, std::uint32_t bytes);
    [[nodiscard]] std::uint64_t size() const { return size_; }
    /// Takes `bytes` bytes off the end; false when there are not so many.
    bool drop_back(std::uint64_t bytes);
    /// Takes them off the start.
    bool drop_front(std::uint64_t bytes);

    /// False when part of it is not there or not memory.
    bool read(GuestMemory& memory, std::uint64_t offset, std::span<std::uint8_t> data) const;
    bool write(GuestMemory& memory, std::uint64_t offset, std::span<const std::uint8_t> data) const;
    /// Host views; false also when there are too many to be worth it.
    bool map(GuestMemory& memory, std::uint64_t offset, std::size_t bytes, Access access,
             std::vector<std::span<std::uint8_t>>& pieces) const;
    /// The address of a byte.
    [[nodiscard]] std::optional<GuestPhys> address_of(std::uint64_t offset) const;

  private:
    struct Piece {
        GuestPhys address;
        std::uint64_t bytes;
    };
    template <typename Visit>
    bool visit(std::uint64_t offset, std::uint64_t bytes, Visit visit) const;

    std::vector<Piece> pieces_;
    std::uint64_t size_ = 0;
};

} // namespace escalus
