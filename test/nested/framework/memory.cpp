// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/nested/framework/memory.hpp"

#include "vmm/cpu/log.hpp"
#include "vmm/memory/page_allocator.hpp"

extern "C" char image_end[];

namespace escalus::nested {

namespace {
constexpr std::uint64_t pages_wanted = 16ull << 20;
}

const char* start_memory(const vmm::BootInfo& info) {
    std::uint64_t total = 0;
    HostPhys found{};
    bool low = false;
    const HostPhys above_image{(reinterpret_cast<std::uint64_t>(image_end) + page_mask) & ~page_mask};
    for (const auto& range : info.memory) {
        if (range.type != vmm::MemoryType::Usable)
            continue;
        total += range.bytes;
        low = low || (raw(range.base) <= low_code && raw(range.end()) >= low_end);
        const HostPhys first = range.base < above_image ? above_image : range.base;
        if (range.end() >= first + pages_wanted && raw(first) < 1ull << 31)
            found = first;
    }
    // Firmware and tables take some of what the machine has.
    if (total < memory_wanted - (2ull << 20))
        return "this machine has less than 64 MiB of memory, which the suite needs";
    if (raw(found) == 0)
        return "there are no 16 MiB of contiguous memory below 2 GiB";
    if (!low)
        return "the memory from 128 to 324 KiB is not free";
    vmm::start_page_allocator(found, pages_wanted);
    return nullptr;
}

void* permanent_pages(unsigned count) {
    const HostPhys pages = vmm::allocate_pages(count);
    if (raw(pages) == 0)
        vmm::panic("the suite's memory is used up");
    return reinterpret_cast<void*>(raw(pages));
}

} // namespace escalus::nested
