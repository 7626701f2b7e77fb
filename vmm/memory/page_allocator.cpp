// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/memory/page_allocator.hpp"

#include "vmm/cpu/spinlock.hpp"

#include <cstring>

namespace escalus::vmm {

namespace {
constinit SpinLock lock;
constinit HostPhys start{};
constinit std::uint64_t page_count = 0;
constinit std::uint64_t used = 0;
constinit std::uint64_t hint = 0;        // no free page below it
constinit std::uint8_t* taken = nullptr; // one byte a page: simple, and small beside what it manages
} // namespace

void start_page_allocator(HostPhys base, std::uint64_t bytes) {
    page_count = bytes / page_size;
    start = base;
    taken = reinterpret_cast<std::uint8_t*>(raw(base));
    std::memset(taken, 0, page_count);
    used = (page_count + page_size - 1) / page_size;
    std::memset(taken, 1, used);
    hint = used;
}

HostPhys allocate_pages(std::uint64_t count) {
    HostPhys result{};
    {
        const LockGuard guard{lock};
        std::uint64_t run = 0;
        for (std::uint64_t i = hint; i < page_count; ++i) {
            run = taken[i] != 0 ? 0 : run + 1;
            if (run < count)
                continue;
            const auto first = i + 1 - count;
            std::memset(taken + first, 1, count);
            used += count;
            if (first == hint)
                hint = i + 1;
            result = start + first * page_size;
            break;
        }
    }
    if (raw(result) != 0)
        std::memset(reinterpret_cast<void*>(raw(result)), 0, count * page_size);
    return result;
}

void free_pages(HostPhys address, std::uint64_t count) {
    const LockGuard guard{lock};
    const auto first = (address - start) / page_size;
    std::memset(taken + first, 0, count);
    used -= count;
    if (first < hint)
        hint = first;
}

std::uint64_t pages_in_use() {
    return used;
}

} // namespace escalus::vmm
