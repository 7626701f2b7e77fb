// SPDX-License-Identifier: GPL-2.0-or-later
// FPU, SSE, AVX and further extended state, by XSAVE where the CPU has it, else by FXSAVE (AMD APM 2,
// section 11.5; Intel SDM 1, chapter 13). The monitor itself uses none of it.
#pragma once

#include "vmm/cpu/instructions.hpp"

#include <cstdint>

namespace escalus::vmm {

/// An XSAVE area; its true size is fpu_area_bytes().
struct alignas(64) FpuArea {
    std::uint16_t fcw;
    std::uint8_t reserved1[22];
    std::uint32_t mxcsr;
    std::uint8_t reserved2[512 - 28];
    std::uint64_t xstate_bv; ///< the components that are not in their initial state
    std::uint8_t reserved3[56];
};
static_assert(sizeof(FpuArea) == 512 + 64);

/// Measures the CPU; once, at boot.
void start_fpu();
/// Per CPU: CR4 bits.
void enable_fpu();
[[nodiscard]] std::uint64_t fpu_area_bytes();
/// All state components that the CPU has and XSAVE manages; 0 without XSAVE.
[[nodiscard]] std::uint64_t fpu_components();
/// What XSETBV checks of a value for XCR0, by this CPU's own components (AMD APM 3 and Intel SDM 2, XSETBV).
[[nodiscard]] bool is_valid_xcr0(std::uint64_t value);

/// Power-on state (APM 2, table 14-1): x87 control word 0x37f is FINIT's; at reset it is 0x40.
void reset_fpu_area(FpuArea& area);

/// Everything that is enabled in XCR0.
void save_fpu(FpuArea& area);
void load_fpu(const FpuArea& area);
/// Saves only `components` of what is enabled, and has load_fpu() give all others their initial state.
/// Without XSAVE it saves everything.
void save_fpu_components(FpuArea& area, std::uint64_t components);
/// What a function's caller expects to find unchanged by the x86-64 ABI (System V, 3.2.1): all but x87, SSE,
/// AVX, AVX-512 and tiles. PKRU is among it.
inline constexpr std::uint64_t fpu_preserved_by_calls = ~std::uint64_t{0x600e7};

} // namespace escalus::vmm
