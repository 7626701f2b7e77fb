// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/cpu/fpu.hpp"

#include <cstring>

namespace escalus::vmm {

namespace {
[[gnu::section(".hot.data")]] constinit bool has_xsave = false, has_xsaveopt = false;
[[gnu::section(".hot.data")]] constinit std::uint64_t components = 0;
constinit std::uint64_t area_bytes = sizeof(FpuArea);
constexpr std::uint32_t initial_mxcsr = 0x1f80;
} // namespace

void enable_fpu() {
    write_cr4(read_cr4() | cr4::osfxsr | cr4::osxmmexcpt | (has_xsave ? cr4::osxsave : 0));
}

void start_fpu() {
    has_xsave = (cpuid(1).ecx & 1u << 26) != 0;
    enable_fpu();
    if (!has_xsave)
        return;
    const auto leaf = cpuid(0xd, 0);
    components = std::uint64_t{leaf.edx} << 32 | leaf.eax;
    area_bytes = leaf.ecx; // for all components the CPU has
    has_xsaveopt = (cpuid(0xd, 1).eax & 1) != 0;
}

std::uint64_t fpu_area_bytes() {
    return area_bytes;
}

[[gnu::hot]] std::uint64_t fpu_components() {
    return components;
}

bool is_valid_xcr0(std::uint64_t value) {
    constexpr std::uint64_t sse = 2, avx = 4, bounds = 0x18, avx512 = 0xe0, tile = 0x60000;
    return (value & 1) != 0 && (value & ~fpu_components()) == 0 &&
           ((value & avx) == 0 || (value & sse) != 0) &&
           ((value & avx512) == 0 || ((value & avx512) == avx512 && (value & avx) != 0)) &&
           ((value & bounds) == 0 || (value & bounds) == bounds) &&
           ((value & tile) == 0 || (value & tile) == tile);
}

void reset_fpu_area(FpuArea& area) {
    std::memset(&area, 0, area_bytes);
    area.fcw = 0x40;
    area.mxcsr = initial_mxcsr;
    area.xstate_bv = 3; // x87 and SSE as above, the rest in its initial state
}

[[gnu::hot]] void save_fpu(FpuArea& area) {
    if (has_xsaveopt)
        asm volatile("xsaveopt64 %0" : "+m"(area) : "a"(~0u), "d"(~0u) : "memory");
    else if (has_xsave)
        asm volatile("xsave64 %0" : "+m"(area) : "a"(~0u), "d"(~0u) : "memory");
    else
        asm volatile("fxsave64 %0" : "=m"(area)::"memory");
}

[[gnu::hot]] void save_fpu_components(FpuArea& area, std::uint64_t wanted) {
    if (!has_xsave)
        return save_fpu(area);
    area.xstate_bv = 0;
    area.mxcsr = initial_mxcsr; // XRSTOR loads it even where SSE is in its initial state
    if ((wanted &= components) != 0)
        asm volatile("xsave64 %0"
                     : "+m"(area)
                     : "a"(static_cast<std::uint32_t>(wanted)), "d"(static_cast<std::uint32_t>(wanted >> 32))
                     : "memory");
}

[[gnu::hot]] void load_fpu(const FpuArea& area) {
    if (has_xsave)
        asm volatile("xrstor64 %0" ::"m"(area), "a"(~0u), "d"(~0u) : "memory");
    else
        asm volatile("fxrstor64 %0" ::"m"(area) : "memory");
}

} // namespace escalus::vmm
