// SPDX-License-Identifier: GPL-2.0-or-later
// The physical local APIC, as far as the monitor uses it: to start CPUs before the control OS owns it. AMD
// APM 2, chapter 16; Intel SDM 3, chapter 11.
#pragma once

#include "vmm/abi/types.hpp"

#include <cstdint>

namespace escalus::vmm {

namespace apic {

inline constexpr std::uint64_t base_enable = 1 << 11, base_x2apic = 1 << 10;
inline constexpr std::uint32_t reg_id = 0x20, reg_icr_low = 0x300, reg_icr_high = 0x310;

enum class Delivery : std::uint32_t { Init = 5, StartUp = 6 };
enum class Shorthand : std::uint32_t { None = 0, Self = 1, All = 2, Others = 3 };

/// An interrupt command. `destination` is an APIC ID (physical mode) or a logical one.
struct Command {
    std::uint32_t low;
    std::uint32_t destination;
    [[nodiscard]] std::uint8_t vector() const { return static_cast<std::uint8_t>(low); }
    [[nodiscard]] std::uint32_t delivery() const { return low >> 8 & 7; }
    [[nodiscard]] bool logical() const { return (low & 1 << 11) != 0; }
    [[nodiscard]] bool level_deassert() const { return (low & 1 << 15) != 0 && (low & 1 << 14) == 0; }
    [[nodiscard]] Shorthand shorthand() const { return Shorthand{low >> 18 & 3}; }
};

[[nodiscard]] bool x2apic_mode();
[[nodiscard]] HostPhys page();
[[nodiscard]] std::uint32_t read(std::uint32_t reg);
void write(std::uint32_t reg, std::uint32_t value);
[[nodiscard]] std::uint32_t id();
void send(const Command& command);

} // namespace apic

} // namespace escalus::vmm
