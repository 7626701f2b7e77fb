// SPDX-License-Identifier: GPL-2.0-or-later
// Measures the rate of the TSC against the 8254, twice, the second time after setting the TSC to 0; and says
// which rate CPUID 40000010 names.
#include "test/boot/guests/kernel.hpp"

namespace {

constexpr uint32_t msr_tsc = 0x10;

uint64_t tsc() {
    uint32_t low = 0, high = 0;
    asm volatile("lfence\n rdtsc" : "=a"(low), "=d"(high));
    return uint64_t{high} << 32 | low;
}
uint64_t tsc_register() {
    uint32_t low = 0, high = 0;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr_tsc));
    return uint64_t{high} << 32 | low;
}
void set_tsc(uint64_t value) {
    asm volatile("wrmsr"
                 :
                 : "c"(msr_tsc), "a"(static_cast<uint32_t>(value)), "d"(static_cast<uint32_t>(value >> 32)));
}

uint32_t stated_khz() {
    uint32_t a = 0x40000010, b = 0, c = 0, d = 0;
    asm volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
    return a;
}

// Channel 2 in mode 0 counts 65535 ticks of 1.193182 MHz, 54924 us, and raises its output, bit 5 of port
// 0x61.
uint32_t measured_once() {
    constexpr uint32_t microseconds = 54924;
    out8(0x61, (in8(0x61) & ~2) | 1);
    out8(0x43, 0xb0);
    out8(0x42, 0xff);
    out8(0x42, 0xff);
    const uint64_t begin = tsc();
    while ((in8(0x61) & 0x20) == 0) {
    }
    const auto ticks = static_cast<uint32_t>(tsc() - begin);
    return ticks / microseconds * 1000 + ticks % microseconds * 1000 / microseconds;
}

// The median of five: the control OS may take the processor away for milliseconds as the time begins, or is
// up.
uint32_t measured_khz() {
    constexpr unsigned times = 5;
    uint32_t sorted[times]; // NOLINT(*-avoid-c-arrays): there is no library here
    for (unsigned count = 0; count < times; ++count) {
        const uint32_t khz = measured_once();
        unsigned at = count;
        for (; at > 0 && sorted[at - 1] > khz; --at)
            sorted[at] = sorted[at - 1];
        sorted[at] = khz;
    }
    return sorted[times / 2];
}

} // namespace

extern "C" void kernel_main(uint32_t, const MultibootInfo*) {
    serial_start();
    say("rate: stated ", stated_khz(), " measured ", measured_khz());
    set_tsc(0);
    const uint64_t first = tsc(), read = tsc_register(), last = tsc();
    const bool in_order = first <= read && read <= last && last >> 32 == 0;
    say("rate: set to 0, ", in_order ? "in order" : "not in order", ", measured ", measured_khz(), ", END");
}
