// SPDX-License-Identifier: GPL-2.0-or-later
// A machine's guest-physical memory in one place: what is mapped where. The engine is told of each change,
// and devices (DMA) and the instruction emulator find the host's view of an address here.
#pragma once

#include "devmodel/machine/guest_memory.hpp"

#include <cstdint>
#include <vector>

namespace escalus {

class AddressSpace final : public MemoryMap, public GuestMemory {
  public:
    explicit AddressSpace(MemoryMap& engine) : engine_{engine} {}

    MemoryRegion& allocate(std::string name, std::uint64_t size) override {
        return engine_.allocate(std::move(name), size);
    }
    void map(GuestPhys gpa, MemoryRegion& region, std::uint64_t offset, std::uint64_t size,
             Access access) override;
    void unmap(GuestPhys gpa, std::uint64_t size) override;
    void harvest_dirty(GuestPhys gpa, std::uint64_t size, std::vector<std::uint64_t>& bitmap) override {
        engine_.harvest_dirty(gpa, size, bitmap);
    }

    [[nodiscard]] std::span<std::uint8_t> at(GuestPhys gpa, std::uint64_t size, Access access) override;

    /// Goes up with every change, which ends what at() gave.
    [[nodiscard]] const std::uint64_t& generation() const { return generation_; }

  private:
    struct Piece {
        std::uint64_t begin, end;
        std::uint8_t* host;
        Access access;
    };
    /// Takes [begin, end) out of the pieces; what sticks out on either side stays.
    void cut(std::uint64_t begin, std::uint64_t end);
    void insert(const Piece& piece);

    MemoryMap& engine_;
    std::vector<Piece> pieces_; // by address, not overlapping, neighbours merged
    std::uint64_t generation_ = 0;
    std::size_t last_ = 0; // most accesses hit the piece of the one before
};

} // namespace escalus
