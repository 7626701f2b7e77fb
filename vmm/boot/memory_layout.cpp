// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/boot/memory_layout.hpp"

namespace escalus::vmm {

namespace {

// VM structures, FPU areas and the control OS's own nested tables; then one page of tables for each 2 MiB of
// pool, as when all guest memory is mapped by small pages.
constexpr std::uint64_t private_base_bytes = 6ull << 20;
constexpr std::uint64_t shared_bytes = 2ull << 20;

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
    return (value + unit - 1) / unit * unit;
}

// Cuts [base, base + bytes) out of `free`, a list of free ranges.
void cut(MemoryList& free, HostPhys base, std::uint64_t bytes) {
    for (std::size_t i = 0; i < free.size(); ++i) {
        const MemoryRange range = free[i];
        if (base + bytes <= range.base || range.end() <= base)
            continue;
        free.erase(i--);
        if (range.base < base)
            free.push_back({range.base, base - range.base, MemoryType::Usable});
        if (base + bytes < range.end())
            free.push_back({base + bytes, range.end() - (base + bytes), MemoryType::Usable});
    }
}

MemoryList free_ranges(const MemoryList& memory, const MemoryList& taken) {
    MemoryList free;
    for (const auto& range : memory)
        if (range.type == MemoryType::Usable && range.bytes != 0)
            free.push_back(range);
    // Firmware maps may overlap; what any entry reserves is reserved.
    for (const auto& range : memory)
        if (range.type != MemoryType::Usable)
            cut(free, range.base, range.bytes);
    for (const auto& range : taken)
        cut(free, range.base, range.bytes);
    return free;
}

// Takes up to `bytes` (a multiple of 2 MiB) from the top of the highest free range that has at least `least`.
MemoryRange take_top(MemoryList& free, std::uint64_t bytes, std::uint64_t least, HostPhys floor) {
    MemoryRange best;
    for (const auto& range : free) {
        const auto start = round_up(raw(range.base < floor ? floor : range.base), large_page_size);
        const auto end = raw(range.end()) / large_page_size * large_page_size;
        if (end <= start || end - start < least || HostPhys{start} < best.base)
            continue;
        const auto size = bytes < end - start ? bytes : end - start;
        best = {HostPhys{end - size}, size, MemoryType::Reserved};
    }
    if (best.bytes != 0)
        cut(free, best.base, best.bytes);
    return best;
}

} // namespace

std::uint64_t usable_bytes(const MemoryList& memory) {
    std::uint64_t total = 0;
    for (const auto& range : free_ranges(memory, {}))
        total += range.bytes;
    return total;
}

bool plan_memory(const MemoryList& memory, const MemoryList& taken, std::uint64_t pool_bytes,
                 MemoryLayout& layout) {
    // A lone MiB at the very start must stay apart from the reserved BIOS area below.
    const HostPhys floor{16ull << 20};
    MemoryList free = free_ranges(memory, taken);
    std::uint64_t total = 0;
    for (const auto& range : free)
        total += range.bytes;
    pool_bytes = pool_bytes / large_page_size * large_page_size;
    auto overhead = [](std::uint64_t pool) {
        return round_up(private_base_bytes + pool / 256, large_page_size) + shared_bytes;
    };
    if (total < control_memory_min + overhead(0))
        return false;
    const auto budget = total - control_memory_min;
    if (pool_bytes + overhead(pool_bytes) > budget) {
        layout.pool_clamped = true;
        const auto available = budget - overhead(budget);
        pool_bytes = budget > overhead(budget) ? available / large_page_size * large_page_size : 0;
    }
    const auto private_bytes = overhead(pool_bytes) - shared_bytes;
    layout.private_memory = take_top(free, private_bytes, private_bytes, floor);
    layout.shared_area = take_top(free, shared_bytes, shared_bytes, floor);
    if (layout.private_memory.bytes == 0 || layout.shared_area.bytes == 0)
        return false;
    while (layout.pool_bytes < pool_bytes) {
        const auto extent = take_top(free, pool_bytes - layout.pool_bytes, large_page_size, floor);
        if (extent.bytes == 0 || !layout.pool.push_back(extent)) {
            layout.pool_clamped = true;
            break;
        }
        layout.pool_bytes += extent.bytes;
    }
    return true;
}

bool reserve(MemoryList& memory, HostPhys base, std::uint64_t bytes) {
    MemoryList result;
    bool fits = true;
    bool placed = false;
    const MemoryRange hole{base, bytes, MemoryType::Reserved};
    for (const auto& range : memory) {
        if (range.type != MemoryType::Usable || range.end() <= base || base + bytes <= range.base) {
            if (!placed && base < range.base) {
                fits &= result.push_back(hole);
                placed = true;
            }
            fits &= result.push_back(range);
            continue;
        }
        if (range.base < base)
            fits &= result.push_back({range.base, base - range.base, MemoryType::Usable});
        if (!placed) {
            fits &= result.push_back(hole);
            placed = true;
        }
        if (base + bytes < range.end())
            fits &= result.push_back({base + bytes, range.end() - (base + bytes), MemoryType::Usable});
    }
    if (!placed)
        fits &= result.push_back(hole);
    if (fits)
        memory = result;
    return fits;
}

HostPhys find_free(const MemoryList& memory, const MemoryList& taken, std::uint64_t bytes,
                   std::uint64_t alignment, HostPhys floor, HostPhys ceiling) {
    HostPhys best{};
    for (const auto& range : free_ranges(memory, taken)) {
        const HostPhys start{round_up(raw(range.base < floor ? floor : range.base), alignment)};
        const HostPhys end = range.end() < ceiling ? range.end() : ceiling;
        if (start < end && end - start >= bytes && (raw(best) == 0 || start < best))
            best = start;
    }
    return best;
}

} // namespace escalus::vmm
