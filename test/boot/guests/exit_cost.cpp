// SPDX-License-Identifier: GPL-2.0-or-later
// Measures, in TSC cycles, what an exit costs: CPUID (answered by the hypervisor), a read of a CMOS port and
// of a memory-mapped register of the HPET (answered by the device model). Prints the median and the smallest
// of several batches; each batch's figure is the mean of its turns. First without paging, as old boot code
// runs, then with paging and the features of it that today's systems switch on: what an exit costs an
// emulator depends on how much of that differs between guest and hypervisor.
#include "test/boot/guests/kernel.hpp"

namespace {

constexpr unsigned batches = 21, turns = 100;
constexpr uint32_t hpet = 0xfed00000;

uint64_t tsc() {
    uint32_t low = 0, high = 0;
    asm volatile("lfence\n rdtsc" : "=a"(low), "=d"(high));
    return uint64_t{high} << 32 | low;
}

template <typename Action>
void measure(const char* name, Action action) {
    uint32_t results[batches];
    for (unsigned i = 0; i < turns; ++i)
        action(); // caches, translations
    for (uint32_t& result : results) {
        const uint64_t begin = tsc();
        for (unsigned i = 0; i < turns; ++i)
            action();
        result = static_cast<uint32_t>(tsc() - begin) / turns;
    }
    for (unsigned i = 1; i < batches; ++i)
        for (unsigned j = i; j > 0 && results[j] < results[j - 1]; --j) {
            const uint32_t swap = results[j];
            results[j] = results[j - 1];
            results[j - 1] = swap;
        }
    say("cost ", name, " median ", results[batches / 2], " least ", results[0]);
}

struct CpuidAnswer {
    uint32_t a, b, c, d;
};
CpuidAnswer cpuid(uint32_t leaf) {
    CpuidAnswer r{};
    asm volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(0));
    return r;
}

void measure_exits(const char* with_cpuid, const char* with_port, const char* with_mmio) {
    measure(with_cpuid, [] { cpuid(0); });
    out8(0x70, 0x0f);
    measure(with_port, [] { in8(0x71); });
    measure(with_mmio, [] { [[maybe_unused]] const uint32_t value = at<uint32_t>(hpet); });
}

alignas(4096) uint64_t directories[4][512];
alignas(32) uint64_t directory_pointers[4];

/// The first 4 GiB one to one, in pages of 2 MiB.
void start_paging() {
    constexpr uint64_t present = 1, writable = 2, large = 0x80;
    for (uint32_t i = 0; i < 4; ++i) {
        directory_pointers[i] = reinterpret_cast<uint32_t>(directories[i]) | present;
        for (uint32_t j = 0; j < 512; ++j)
            directories[i][j] = uint64_t{512 * i + j} << 21 | large | writable | present;
    }
    constexpr uint32_t cr4_pse = 1 << 4, cr4_pae = 1 << 5, cr4_pge = 1 << 7, cr4_smep = 1 << 20,
                       cr4_smap = 1 << 21;
    constexpr uint32_t has_smep = 1 << 7, has_smap = 1 << 20, cr0_pg_wp = 1u << 31 | 1 << 16;
    const uint32_t has = cpuid(0).a >= 7 ? cpuid(7).b : 0;
    const uint32_t cr4 = cr4_pse | cr4_pae | cr4_pge | ((has & has_smep) != 0 ? cr4_smep : 0) |
                         ((has & has_smap) != 0 ? cr4_smap : 0);
    asm volatile("mov %0, %%cr3\n mov %1, %%cr4\n mov %%cr0, %%eax\n or %2, %%eax\n mov %%eax, %%cr0"
                 :
                 : "r"(directory_pointers), "r"(cr4), "r"(cr0_pg_wp)
                 : "eax", "memory");
}

} // namespace

extern "C" void kernel_main(uint32_t, const MultibootInfo*) {
    serial_start();
    say("exit cost begins");
    measure("nothing", [] { asm volatile("" : : : "memory"); });
    measure_exits("unpaged_cpuid", "unpaged_port", "unpaged_mmio");
    start_paging();
    measure_exits("cpuid", "port", "mmio");
    say("exit cost, END");
}
