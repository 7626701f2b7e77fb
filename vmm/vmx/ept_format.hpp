// SPDX-License-Identifier: GPL-2.0-or-later
// The format of extended page tables: Intel SDM 3C, section 28.2.2.
#pragma once

#include "vmm/memory/nested_tables.hpp"

namespace escalus::vmm::vmx {

namespace ept_entry {
inline constexpr std::uint64_t read = 1, write = 2, execute = 4, all = 7, ignore_pat = 1 << 6, large = 1 << 7,
                               accessed = 1 << 8, dirty = 1 << 9;
inline constexpr unsigned type_shift = 3;
inline constexpr std::uint64_t uncacheable = 0, write_back = 6;
} // namespace ept_entry

/// With the dirty bits that the CPU keeps. Memory is write-back whatever the guest's PAT says.
constexpr NestedFormat ept_page_format(bool pages_1g) {
    namespace e = ept_entry;
    return {.present = e::all,
            .table = e::all,
            .read = e::read,
            .write = e::write,
            .execute = e::execute,
            .no_execute = 0,
            .leaf = e::write_back << e::type_shift | e::ignore_pat,
            .large = e::large,
            .dirty = e::dirty,
            .pages_1g = pages_1g};
}

} // namespace escalus::vmm::vmx
