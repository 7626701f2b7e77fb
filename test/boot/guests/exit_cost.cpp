// SPDX-License-Identifier: GPL-2.0-or-later
// Measures, in TSC cycles, what an exit costs: CPUID (answered by the hypervisor), a read of a CMOS port and
// of a memory-mapped register of the HPET (answered by the device model). Prints the median and the smallest
// of several batches; each batch's figure is the mean of its turns.
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

} // namespace

extern "C" void kernel_main(uint32_t, const MultibootInfo*) {
    serial_start();
    say("exit cost begins");
    measure("nothing", [] { asm volatile("" : : : "memory"); });
    measure("cpuid", [] {
        uint32_t a = 0, b = 0, c = 0, d = 0;
        asm volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0), "c"(0));
    });
    out8(0x70, 0x0f);
    measure("port", [] { in8(0x71); });
    measure("mmio", [] { [[maybe_unused]] const uint32_t value = at<uint32_t>(hpet); });
    say("exit cost, END");
}
