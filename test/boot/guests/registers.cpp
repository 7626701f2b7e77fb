// SPDX-License-Identifier: GPL-2.0-or-later
// Holds values in the SSE and debug registers over exits of every kind and checks that they stay: whoever
// else uses the processor meanwhile must neither see nor change them.
#include "test/boot/guests/kernel.hpp"

namespace {

alignas(16) uint32_t expected[8][4];
alignas(16) uint32_t found[8][4];

void load_all() {
    asm volatile(
        "movaps 0(%0), %%xmm0\n movaps 16(%0), %%xmm1\n movaps 32(%0), %%xmm2\n movaps 48(%0), %%xmm3\n"
        "movaps 64(%0), %%xmm4\n movaps 80(%0), %%xmm5\n movaps 96(%0), %%xmm6\n movaps 112(%0), %%xmm7"
        :
        : "r"(expected)
        : "memory");
}
void store_all() {
    asm volatile(
        "movaps %%xmm0, 0(%0)\n movaps %%xmm1, 16(%0)\n movaps %%xmm2, 32(%0)\n movaps %%xmm3, 48(%0)\n"
        "movaps %%xmm4, 64(%0)\n movaps %%xmm5, 80(%0)\n movaps %%xmm6, 96(%0)\n movaps %%xmm7, 112(%0)"
        :
        : "r"(found)
        : "memory");
}

} // namespace

extern "C" void kernel_main(uint32_t, const MultibootInfo* info) {
    serial_start();
    asm volatile("mov %%cr0, %%eax\n and $~4, %%eax\n or $2, %%eax\n mov %%eax, %%cr0\n"
                 "mov %%cr4, %%eax\n or $0x600, %%eax\n mov %%eax, %%cr4"
                 :
                 :
                 : "eax");
    for (uint32_t i = 0; i < 32; ++i)
        expected[i / 4][i % 4] = 0xa5000000 + 0x01010101 * i;
    const uint32_t breakpoint = 0x00123450;
    asm volatile("mov %0, %%dr0\n mov %1, %%dr3" : : "r"(breakpoint), "r"(breakpoint + 64));
    load_all();
    uint32_t lost = 0;
    const uint32_t rounds = is_told(*info, "long") ? 100'000 : 20'000;
    for (uint32_t round = 0; round < rounds; ++round) {
        uint32_t a = 0, b = 0, c = 0, d = 0;
        asm volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0), "c"(0));
        in8(0x71);
        store_all();
        for (uint32_t i = 0; i < 32; ++i)
            lost += found[i / 4][i % 4] != expected[i / 4][i % 4];
        uint32_t dr0 = 0, dr3 = 0;
        asm volatile("mov %%dr0, %0\n mov %%dr3, %1" : "=r"(dr0), "=r"(dr3));
        lost += dr0 != breakpoint;
        lost += dr3 != breakpoint + 64;
    }
    say("registers: ", rounds, " rounds, ", lost, " lost, END");
}
