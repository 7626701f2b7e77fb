// SPDX-License-Identifier: GPL-2.0-or-later
// Nested page tables: guest-physical to host-physical, four levels, pages of 4 KiB, 2 MiB and 1 GiB. One
// class serves NPT (AMD APM 2, section 15.25) and EPT (Intel SDM 3C, section 29.3): they differ in the bits
// of an entry only.
#pragma once

#include "vmm/abi/abi.hpp"

#include <cstdint>

namespace escalus::vmm {

/// Which bits of an entry mean what.
struct NestedFormat {
    std::uint64_t present; ///< an entry with none of these is not there
    std::uint64_t table;   ///< entry that points to a table
    std::uint64_t read, write, execute,
        no_execute;      ///< leaf rights; no_execute is set where execute is not wanted
    std::uint64_t leaf;  ///< set in leaves unless map() is told otherwise (memory type)
    std::uint64_t large; ///< leaf above the lowest level
    std::uint64_t dirty; ///< set by the CPU, or by permits() where the CPU does not
    bool pages_1g;
    std::uint64_t may_write = 0; ///< 0 where the CPU sets dirty bits; else leaves that may be written have
                                 ///< this bit and get `write` with their first write
};

class NestedTables {
  public:
    struct Leaf {
        std::uint64_t* entry = nullptr; ///< null: not mapped
        std::uint64_t bytes = 0;        ///< size of the page that maps, or of the hole
    };

    /// `budget` bounds how many pages the tables may take. False when there is no memory for the root.
    bool start(const NestedFormat& format, std::uint64_t budget);
    void release();

    /// Maps [gpa, gpa + bytes) to host memory from `host`; flags are abi::MapFlags. All values are page
    /// multiples. Existing mappings are replaced. False, with nothing changed, when the budget might not
    /// suffice. `leaf` replaces the format's.
    bool map(GuestPhys gpa, HostPhys host, std::uint64_t bytes, std::uint64_t flags);
    bool map(GuestPhys gpa, HostPhys host, std::uint64_t bytes, std::uint64_t flags, std::uint64_t leaf);
    /// Unmapping may have to split a large page, so it can fail like map().
    bool unmap(GuestPhys gpa, std::uint64_t bytes);

    [[nodiscard]] Leaf find(GuestPhys gpa) const;
    /// Host address behind `gpa` if it may be read; 0 if not.
    [[nodiscard]] HostPhys translate(GuestPhys gpa) const;
    /// Whether the access that faulted may go on, having marked the page dirty if that is all it was for.
    [[nodiscard]] bool permits(GuestPhys gpa, bool write, bool fetch);

    /// Sets bit n of `bitmap` when page n of the range was written since the last call, and forgets it. Large
    /// pages in the range are split, so that later answers are exact to 4 KiB. False when the budget did not
    /// suffice for that.
    bool harvest_dirty(GuestPhys gpa, std::uint64_t pages, std::uint64_t* bitmap);

    [[nodiscard]] HostPhys root() const { return root_; }

  private:
    [[nodiscard]] std::uint64_t tables_needed(std::uint64_t gpa, std::uint64_t host,
                                              std::uint64_t bytes) const;
    [[nodiscard]] std::uint64_t* entry_at(std::uint64_t gpa, unsigned level);
    [[nodiscard]] std::uint64_t* table_of(std::uint64_t& entry, unsigned level);
    [[nodiscard]] std::uint64_t leaf_bits(std::uint64_t flags, std::uint64_t leaf, unsigned level) const;
    void clear(std::uint64_t& entry, unsigned level);
    HostPhys take_page();

    const NestedFormat* format_ = nullptr;
    HostPhys root_{};
    std::uint64_t budget_ = 0;
};

} // namespace escalus::vmm
