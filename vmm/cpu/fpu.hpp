// SPDX-License-Identifier: GPL-2.0-or-later
// FPU, SSE, AVX and further extended state, by XSAVE where the CPU has it, else by FXSAVE (AMD APM 2,
// section 11.5; Intel SDM 1, chapter 13). The monitor itself uses none of it.
#pragma once

#include "vmm/cpu/instructions.hpp"

#include <cstdint>

namespace escalus::vmm {

/// An XSAVE area; its true size is fpu_area_bytes().
struct FpuArea {
    alignas(64) unsigned char bytes[512 + 64];
};

/// Measures the CPU; once, at boot.
void start_fpu();
/// Per CPU: CR4 bits.
void enable_fpu();
[[nodiscard]] std::uint64_t fpu_area_bytes();
/// All state components that the CPU has and XSAVE manages; 0 without XSAVE.
[[nodiscard]] std::uint64_t fpu_components();
/// What XSETBV checks of a value for XCR0, by this CPU's own components (AMD APM 3 and Intel SDM 2, XSETBV).
[[nodiscard]] bool is_valid_xcr0(std::uint64_t value);

[[nodiscard]] FpuArea* allocate_fpu_area();
void free_fpu_area(FpuArea* area);
/// Power-on state (APM 2, table 14-1): x87 control word 0x37f is FINIT's; at reset it is 0x40.
void reset_fpu_area(FpuArea& area);

/// Both act on all components enabled in XCR0.
void save_fpu(FpuArea& area);
void load_fpu(const FpuArea& area);

} // namespace escalus::vmm
