// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/memory/identity_map.hpp"

#include "vmm/cpu/instructions.hpp"
#include "vmm/cpu/log.hpp"
#include "vmm/memory/page_allocator.hpp"

extern "C" std::uint64_t boot_pdpt[512];

namespace escalus::vmm {

namespace {
constexpr std::uint64_t gib = 1ull << 30, large = 0x83;
constinit std::uint64_t limit = 4 * gib;
} // namespace

void extend_identity_map(HostPhys top) {
    const bool pages_1g = (cpuid(0x80000001).edx & 1u << 26) != 0;
    // One PDPT: 512 GiB. Memory above stays with the control OS, but cannot hold its boot data.
    for (auto at = limit; at < raw(top) && at < 512 * gib; at += gib) {
        auto& entry = boot_pdpt[at / gib];
        if (pages_1g) {
            entry = at | large;
        } else {
            const HostPhys page = allocate_pages(1);
            if (raw(page) == 0)
                panic("no memory for the monitor's page tables");
            auto* table = reinterpret_cast<std::uint64_t*>(raw(page));
            for (unsigned i = 0; i < 512; ++i)
                table[i] = (at + i * large_page_size) | large;
            entry = raw(page) | 3;
        }
        limit = at + gib;
    }
    write_cr3(read_cr3());
}

HostPhys identity_limit() {
    return HostPhys{limit};
}

} // namespace escalus::vmm
