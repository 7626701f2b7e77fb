// SPDX-License-Identifier: GPL-2.0-or-later
// Register values of a processor after power-on, RESET and INIT (Intel SDM volume 3A, table 10-1; AMD APM
// volume 2, table 14-1), after SIPI, and as boot protocols want them.
#pragma once

#include "vmm/abi/abi.hpp"

#include <cstdint>

namespace escalus {

enum class CpuReset {
    Reset, ///< power-on and the reset line: everything
    Init,  ///< INIT: MSRs, the FPU and XCR0 keep their values
};

/// `signature` is CPUID 1 EAX, which EDX holds afterwards. Sets page.dirty, and drops an event under way. The
/// TSC's offset and ratio are left alone.
void reset_registers(abi::VcpuPage& page, CpuReset kind, std::uint32_t signature);

/// A started application processor: real mode at vector << 12. After reset_registers().
void start_at_vector(abi::VcpuPage& page, std::uint8_t vector);

/// 32-bit protected mode without paging, flat segments with the given selectors, interrupts off, at `entry`.
/// After reset_registers().
void enter_flat_protected_mode(abi::VcpuPage& page, std::uint32_t entry, std::uint16_t code_selector,
                               std::uint16_t data_selector);

} // namespace escalus
