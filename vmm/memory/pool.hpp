// SPDX-License-Identifier: GPL-2.0-or-later
// The pool: memory for guests, in blocks of 2 MiB. The control OS may map it (through /dev/mem), but never
// uses it.
#pragma once

#include "vmm/abi/abi.hpp"
#include "vmm/boot/memory_layout.hpp"

namespace escalus::vmm {

void start_pool(const MemoryLayout& layout);

/// Takes `bytes` (a multiple of 2 MiB) as at most `extents_max` extents. False, and nothing taken, when that
/// much is not free or is too scattered. The memory still holds what its last user left.
bool take_from_pool(std::uint64_t bytes, abi::Extent* extents, std::uint32_t& count,
                    std::uint32_t extents_max);
void give_to_pool(const abi::Extent& extent);
[[nodiscard]] std::uint64_t pool_free_bytes();
[[nodiscard]] std::uint64_t pool_total_bytes();

} // namespace escalus::vmm
