// SPDX-License-Identifier: GPL-2.0-or-later
// The suite's memory. Guests see all physical memory at its own address (guest-physical = host-physical), so
// that one set of addresses serves with and without nested paging, in every mode. Pages come from
// vmm/memory/page_allocator.
#pragma once

#include "vmm/boot/boot_info.hpp"

namespace escalus::nested {

inline constexpr std::uint64_t memory_wanted = 64ull << 20;
/// Guests in modes with 16-bit segments have this memory below 1 MiB: code, stack, tables.
inline constexpr std::uint64_t low_code = 0x20000, low_stack_top = 0x3fff0, low_data = 0x40000;
inline constexpr std::uint64_t low_trampoline = 0x50000,
                               low_end = 0x51000; ///< the second CPU's; the end of all

/// Null, or what is wrong with the machine's memory, in words for the user.
const char* start_memory(const vmm::BootInfo& info);

/// A zeroed page that stays; ends the program when there is none.
[[nodiscard]] void* permanent_pages(unsigned count);

} // namespace escalus::nested
