// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <cstdint>

namespace escalus::vmm {

/// A 64-bit interrupt gate: AMD APM 2, section 4.8.4.
struct Gate {
    std::uint16_t offset_low, selector, flags, offset_middle;
    std::uint32_t offset_high, reserved;
};
/// A gate to `entry` in the code segment of vmm/boot/entry.S.
constexpr Gate gate_to(std::uint64_t entry) {
    return {static_cast<std::uint16_t>(entry),       0x08, 0x8e00, static_cast<std::uint16_t>(entry >> 16),
            static_cast<std::uint32_t>(entry >> 32), 0};
}
/// Loads the interrupt descriptor table of this CPU.
inline void load_idt(const Gate* gates, unsigned count) {
    struct [[gnu::packed]] {
        std::uint16_t limit;
        std::uint64_t base;
    } const pointer{static_cast<std::uint16_t>(count * sizeof(Gate) - 1),
                    reinterpret_cast<std::uint64_t>(gates)};
    asm volatile("lidt %0" ::"m"(pointer));
}

/// Loads the monitor's IDT on this CPU: every exception ends in a panic that names it.
void load_exception_table();
[[nodiscard]] std::uint64_t exception_table_address();

/// Called for NMIs in root mode, which are not errors where the hardware lets them in; it may change where
/// execution goes on. Without one they are errors.
void set_nmi_handler(void (*handler)(std::uint64_t& rip));

} // namespace escalus::vmm
