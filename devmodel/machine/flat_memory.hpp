// SPDX-License-Identifier: GPL-2.0-or-later
// Guest memory that is one vector from address 0: for unit tests of devices with DMA.
#pragma once

#include "devmodel/machine/guest_memory.hpp"

#include <memory>

namespace escalus {

class FlatMemory final : public GuestMemory {
  public:
    explicit FlatMemory(std::size_t size) : bytes_(size) {}
    [[nodiscard]] std::span<std::uint8_t> at(GuestPhys gpa, std::uint64_t size, Access) override {
        if (raw(gpa) > bytes_.size() || size > bytes_.size() - raw(gpa))
            return {};
        return std::span{bytes_}.subspan(raw(gpa), size);
    }
    [[nodiscard]] std::span<std::uint8_t> bytes() { return bytes_; }

  private:
    std::vector<std::uint8_t> bytes_;
};

/// A memory map over vectors that remembers what is mapped where: for unit tests of devices that map memory
/// (VGA).
class TestMemoryMap final : public MemoryMap {
  public:
    struct Mapping {
        GuestPhys gpa;
        MemoryRegion* region;
        std::uint64_t offset, size;
        Access access;
    };
    MemoryRegion& allocate(std::string, std::uint64_t size) override {
        regions_.push_back(std::make_unique<Region>(size));
        return *regions_.back();
    }
    void map(GuestPhys gpa, MemoryRegion& region, std::uint64_t offset, std::uint64_t size,
             Access access) override {
        unmap(gpa, size);
        mappings.push_back({gpa, &region, offset, size, access});
    }
    void unmap(GuestPhys gpa, std::uint64_t size) override {
        std::erase_if(mappings, [&](const Mapping& m) { return m.gpa >= gpa && m.gpa < gpa + size; });
    }
    void harvest_dirty(GuestPhys, std::uint64_t size, std::vector<std::uint64_t>& bitmap) override {
        bitmap.assign((size / page_size + 63) / 64, dirty_all ? ~0ull : 0);
    }

    std::vector<Mapping> mappings;
    bool dirty_all = true; ///< what harvest_dirty reports

  private:
    struct Region final : MemoryRegion {
        explicit Region(std::uint64_t size) : storage(size) {}
        std::span<std::uint8_t> bytes() override { return storage; }
        std::vector<std::uint8_t> storage;
    };
    std::vector<std::unique_ptr<Region>> regions_;
};

} // namespace escalus
