// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/control/control_memory.hpp"

#include "vmm/cpu/backend.hpp"
#include "vmm/cpu/log.hpp"
#include "vmm/cpu/spinlock.hpp"
#include "vmm/memory/page_allocator.hpp"

#include <cstring>

namespace escalus::vmm {

namespace {

constexpr std::uint64_t gib = 1ull << 30, all = abi::map_read | abi::map_write | abi::map_execute;
constinit NestedTables tables;
constinit SpinLock lock;

void must(bool ok) {
    if (!ok)
        panic("no memory for the control OS's nested page tables");
}

// Each run of memory by the attributes it has.
bool map_alike(std::uint64_t from, std::uint64_t bytes, std::uint64_t flags) {
    const auto end = from + bytes;
    while (from < end) {
        NestedAttributes run = backend->control_memory_attributes(HostPhys{from});
        while (run.bytes < end - from) { // as far as they are the same: large pages need long runs
            const auto next = backend->control_memory_attributes(HostPhys{from + run.bytes});
            if (next.leaf != run.leaf)
                break;
            run.bytes = next.bytes < end - from - run.bytes ? run.bytes + next.bytes : end - from;
        }
        const auto step = run.bytes < end - from ? run.bytes : end - from;
        if (!tables.map(GuestPhys{from}, HostPhys{from}, step, flags, run.leaf))
            return false;
        from += step;
    }
    return true;
}

void hide(HostPhys base, std::uint64_t bytes, HostPhys decoy) {
    for (std::uint64_t offset = 0; offset < bytes; offset += page_size)
        must(tables.map(GuestPhys{raw(base) + offset}, decoy, page_size, abi::map_read));
}

} // namespace

void start_control_memory(const HiddenRanges& hidden, HostPhys top) {
    constexpr std::uint64_t unbounded = 1 << 20;
    const HostPhys decoy = allocate_pages(1);
    must(raw(decoy) != 0 && tables.start(*backend->nested_format(), unbounded));
    std::memset(reinterpret_cast<void*>(raw(decoy)), 0xff, page_size);
    const auto end = raw(top) < 4 * gib ? 4 * gib : (raw(top) + gib - 1) / gib * gib;
    must(map_alike(0, end, all));
    hide(hidden.image, hidden.image_bytes, decoy);
    hide(hidden.private_memory, hidden.private_bytes, decoy);
    must(map_alike(raw(hidden.shared), hidden.shared_bytes, abi::map_read));
}

HostPhys control_memory_root() {
    return tables.root();
}

bool map_on_demand(GuestPhys gpa, bool write) {
    const LockGuard guard{lock};
    if (tables.find(gpa).entry != nullptr)
        return tables.permits(gpa, write, false); // another CPU was faster, or it is forbidden
    const auto base = raw(gpa) / gib * gib;
    return map_alike(base, gib, all);
}

void watch_apic_page(HostPhys page, bool watch) {
    const LockGuard guard{lock};
    must(map_alike(raw(page), page_size, watch ? abi::map_read | abi::map_execute : all));
}

} // namespace escalus::vmm
