// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/memory/pool.hpp"

#include "vmm/cpu/spinlock.hpp"
#include "vmm/memory/page_allocator.hpp"

namespace escalus::vmm {

namespace {

// Free memory as a sorted list of extents: a machine has few guests, so the list stays short.
constexpr std::size_t free_extents_max = 512;
constinit SpinLock lock;
constinit FixedVector<abi::Extent, free_extents_max> free_list;
constinit std::uint64_t total = 0, available = 0;

void insert(const abi::Extent& extent) {
    std::size_t at = 0;
    while (at < free_list.size() && free_list[at].address < extent.address)
        ++at;
    const bool joins_before = at > 0 && free_list[at - 1].address + free_list[at - 1].bytes == extent.address;
    const bool joins_after = at < free_list.size() && extent.address + extent.bytes == free_list[at].address;
    if (joins_before) {
        free_list[at - 1].bytes += extent.bytes;
        if (joins_after) {
            free_list[at - 1].bytes += free_list[at].bytes;
            free_list.erase(at);
        }
    } else if (joins_after) {
        free_list[at].address = extent.address;
        free_list[at].bytes += extent.bytes;
    } else if (free_list.push_back({})) {
        for (std::size_t i = free_list.size() - 1; i > at; --i)
            free_list[i] = free_list[i - 1];
        free_list[at] = extent;
    }
}

} // namespace

void start_pool(const MemoryLayout& layout) {
    for (const auto& range : layout.pool) {
        insert({raw(range.base), range.bytes});
        total += range.bytes;
    }
    available = total;
}

bool take_from_pool(std::uint64_t bytes, abi::Extent* extents, std::uint32_t& count,
                    std::uint32_t extents_max) {
    const LockGuard guard{lock};
    count = 0;
    if (bytes > available)
        return false;
    // The smallest extent that holds all of it, else the largest ones first.
    std::uint64_t left = bytes;
    while (left != 0) {
        std::size_t best = free_list.size();
        for (std::size_t i = 0; i < free_list.size(); ++i) {
            if (best == free_list.size()) {
                best = i;
                continue;
            }
            const auto size = free_list[i].bytes, known = free_list[best].bytes;
            if (known >= left ? size >= left && size < known : size > known)
                best = i;
        }
        if (best == free_list.size() || count == extents_max) {
            while (count != 0)
                insert(extents[--count]);
            return false;
        }
        abi::Extent& from = free_list[best];
        const auto size = from.bytes < left ? from.bytes : left;
        extents[count++] = {from.address + from.bytes - size, size};
        from.bytes -= size;
        if (from.bytes == 0)
            free_list.erase(best);
        left -= size;
    }
    available -= bytes;
    return true;
}

void give_to_pool(const abi::Extent& extent) {
    const LockGuard guard{lock};
    insert(extent);
    available += extent.bytes;
}

std::uint64_t pool_free_bytes() {
    return available;
}

std::uint64_t pool_total_bytes() {
    return total;
}

} // namespace escalus::vmm
