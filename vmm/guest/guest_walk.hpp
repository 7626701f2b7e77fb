// SPDX-License-Identifier: GPL-2.0-or-later
// Reads instruction bytes of a guest through its own page tables. AMD APM 2, chapter 5.
#pragma once

#include "vmm/memory/recent_pages.hpp"

#include <cstdint>

namespace escalus::vmm {

/// What address translation depends on.
struct PagingState {
    std::uint64_t cr0, cr3, cr4, efer;
    const NestedTables* nested; ///< null: guest-physical is host-physical (control OS)
    RecentPages* recent = nullptr;
};

/// Reads up to `bytes` at `linear` and returns how many could be read: fewer when a page is not mapped.
/// Rights are not checked: the CPU has just executed what is there.
unsigned read_guest_linear(const PagingState& state, GuestLinear linear, std::uint8_t* to, unsigned bytes);

} // namespace escalus::vmm
