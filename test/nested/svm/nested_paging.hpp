// SPDX-License-Identifier: GPL-2.0-or-later
// What the checks of nested page tables and of the TLB share.
#pragma once

#include "test/nested/guests/paging_data.hpp"
#include "test/nested/svm/guest.hpp"
#include "vmm/memory/page_format.hpp"

namespace escalus::nested::svm {

/// Of page table entries, the guest's and nested ones: APM 2, section 5.3.
namespace bits {
inline constexpr std::uint64_t present = 1, writable = 2, user = 4, accessed = 1 << 5, dirty = 1 << 6,
                               large = 1 << 7, no_execute = 1ull << 63, all = present | writable | user;
}

inline void need_nested_paging() {
    if (!has(feature::np))
        skip("no nested paging");
}

/// The nested entry of the page at `address`, as a page of 4 KiB of its own.
inline std::uint64_t& small_entry(Guest& guest, std::uint64_t address) {
    const auto page = address & ~page_mask;
    if (!guest.nested.map(GuestPhys{page}, HostPhys{page}, page_size,
                          abi::map_read | abi::map_write | abi::map_execute))
        fail("no memory for nested tables");
    return *guest.nested.find(GuestPhys{page}).entry;
}

} // namespace escalus::nested::svm
