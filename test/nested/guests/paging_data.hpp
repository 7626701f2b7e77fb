// SPDX-License-Identifier: GPL-2.0-or-later
// The data that the guests of paging checks access, and its entry in their own page tables.
#pragma once

#include "test/nested/framework/check.hpp"
#include "test/nested/guests/modes.hpp"

namespace escalus::nested {

inline std::uint64_t data_page() {
    return reinterpret_cast<std::uint64_t>(guest_memory.data);
}

/// Marks each page of the data: its first byte tells which one it is.
inline void number_pages() {
    for (unsigned i = 0; i < data_bytes / page_size; ++i)
        guest_memory.data[i * page_size] = static_cast<std::uint8_t>(0x10 + i);
}

/// The guest's own entry of the first page of the data, which is mapped by 4 KiB.
inline std::uint64_t& guest_entry_of_data() {
    if (!guest_memory.paging.map(GuestPhys{data_page()}, HostPhys{data_page()}, page_size,
                                 abi::map_read | abi::map_write | abi::map_execute))
        fail("no memory for page tables");
    return *guest_memory.paging.find(GuestPhys{data_page()}).entry;
}

} // namespace escalus::nested
