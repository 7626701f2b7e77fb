// SPDX-License-Identifier: GPL-2.0-or-later
// Divides the machine's memory between monitor, pool and control OS. Pure: no hardware is touched.
//
// The monitor takes memory from the top, in units of 2 MiB: first its private part, then the area it shares
// with root (host page, log), then the pool. High memory goes first, so that the control OS keeps what its
// drivers need below 4 GiB, and nothing comes near the first MiB: Linux merges adjacent reserved ranges,
// marks a merged range that begins below 1 MiB as busy, and refuses it to /dev/mem.
#pragma once

#include "vmm/boot/boot_info.hpp"

namespace escalus::vmm {

inline constexpr std::size_t pool_extents_max = 32;
/// What the control OS is left with at least, whatever pool= says.
inline constexpr std::uint64_t control_memory_min = 192ull << 20;

struct MemoryLayout {
    MemoryRange private_memory;
    MemoryRange shared_area;
    FixedVector<MemoryRange, pool_extents_max> pool;
    std::uint64_t pool_bytes = 0;
    /// The pool is smaller than was asked for.
    bool pool_clamped = false;
};

/// `taken` are ranges within usable memory that hold something already (image, modules, boot information).
/// Returns false when there is not enough memory for the monitor itself and the control OS.
bool plan_memory(const MemoryList& memory, const MemoryList& taken, std::uint64_t pool_bytes,
                 MemoryLayout& layout);

[[nodiscard]] std::uint64_t usable_bytes(const MemoryList& memory);

/// Marks [base, base + bytes) as reserved, splitting what it crosses. False when the list has no room.
bool reserve(MemoryList& memory, HostPhys base, std::uint64_t bytes);

/// The lowest free range of `bytes` at or above `floor` and below `ceiling`; 0 when there is none.
[[nodiscard]] HostPhys find_free(const MemoryList& memory, const MemoryList& taken, std::uint64_t bytes,
                                 std::uint64_t alignment, HostPhys floor, HostPhys ceiling);

} // namespace escalus::vmm
