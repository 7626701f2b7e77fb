// SPDX-License-Identifier: GPL-2.0-or-later
// 4 KiB pages of the monitor's private memory, which no other software can reach.
#pragma once

#include "vmm/abi/types.hpp"

#include <cstdint>
#include <new>

namespace escalus::vmm {

/// Takes over [base, base + bytes), page-aligned; part of it holds the allocator's own bitmap.
void start_page_allocator(HostPhys base, std::uint64_t bytes);

/// `count` physically contiguous zeroed pages; address 0 when there are none.
[[nodiscard]] HostPhys allocate_pages(std::uint64_t count);
void free_pages(HostPhys address, std::uint64_t count);
[[nodiscard]] std::uint64_t pages_in_use();

/// An object in pages of its own, with `more` zeroed bytes right behind it.
template <typename T>
T* allocate_object(std::uint64_t more = 0) {
    const HostPhys page = allocate_pages((sizeof(T) + more + page_size - 1) / page_size);
    return raw(page) == 0 ? nullptr : new (reinterpret_cast<void*>(raw(page))) T{};
}
template <typename T>
void free_object(T* object, std::uint64_t more = 0) {
    if (object != nullptr)
        free_pages(HostPhys{reinterpret_cast<std::uint64_t>(object)},
                   (sizeof(T) + more + page_size - 1) / page_size);
}

} // namespace escalus::vmm
