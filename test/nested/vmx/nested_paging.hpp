// SPDX-License-Identifier: GPL-2.0-or-later
// What the checks of extended page tables and of translation caches share.
#pragma once

#include "test/nested/guests/paging_data.hpp"
#include "test/nested/vmx/guest.hpp"
#include "vmm/vmx/ept_format.hpp"

namespace escalus::nested::vmx {

namespace e = ept_entry;
inline constexpr std::uint64_t write_back = e::write_back << e::type_shift;

inline void need_ept() {
    if (!has_secondary(secondary::ept))
        skip("no EPT");
}

/// The entry of the page at `address`, as a page of 4 KiB of its own.
inline std::uint64_t& small_entry(Guest& guest, std::uint64_t address) {
    const auto page = address & ~page_mask;
    if (!guest.nested.map(GuestPhys{page}, HostPhys{page}, page_size,
                          abi::map_read | abi::map_write | abi::map_execute))
        fail("no memory for extended page tables");
    return *guest.nested.find(GuestPhys{page}).entry;
}

} // namespace escalus::nested::vmx
