// SPDX-License-Identifier: GPL-2.0-or-later
// What this CPU's VT-x offers (Intel SDM 3D, appendix A), and what of it is used.
#pragma once

#include <cstdint>

namespace escalus::vmm::vmx {

/// The capability MSRs as they are; plain data, so that the entry checker can be tested with any CPU's.
struct Capabilities {
    std::uint64_t basic = 0;
    std::uint64_t pin = 0, primary = 0, secondary = 0, exit = 0,
                  entry = 0; ///< low half: must be 1; high: may
    std::uint64_t misc = 0;
    std::uint64_t cr0_fixed0 = 0, cr0_fixed1 = 0, cr4_fixed0 = 0, cr4_fixed1 = 0;
    std::uint64_t ept_vpid = 0;
    unsigned physical_bits = 36, linear_bits = 48;
    bool true_controls = false; ///< pin, primary, exit and entry are from the TRUE registers
};

/// Bits of IA32_VMX_EPT_VPID_CAP: appendix A.10.
namespace ept_capability {
inline constexpr std::uint64_t execute_only = 1, four_levels = 1 << 6, write_back = 1 << 14,
                               pages_2m = 1 << 16, pages_1g = 1 << 17, invept = 1 << 20,
                               accessed_dirty = 1 << 21, invept_single = 1 << 25, invept_all = 1 << 26;
}

/// Used where it is offered and not switched off on the monitor's command line.
struct Features {
    bool vpid = false, rdtscp = false, invpcid = false, xsaves = false, user_wait = false;
    bool ept_1g = false, ept_dirty = false, invept_single = false;
    bool preemption_timer = false, virtual_interrupts = false;
    bool tsc_scaling = false;
    bool wait_for_sipi = false; ///< the activity state
    unsigned timer_shift = 0;   ///< the preemption timer counts when this bit of the TSC changes
    bool trace = false;         ///< Intel PT may be used by the control OS
};

extern Capabilities capabilities;
extern Features features;

/// Settings of a control field: the `wanted` bits as far as the CPU has them, with those that must be 1.
/// `capability` is the field's MSR.
constexpr std::uint32_t settle(std::uint64_t capability, std::uint32_t wanted) {
    const auto must = static_cast<std::uint32_t>(capability),
               may = static_cast<std::uint32_t>(capability >> 32);
    return (wanted & may) | must;
}
constexpr bool offers(std::uint64_t capability, std::uint32_t bits) {
    return (capability >> 32 & bits) == bits;
}

/// Section 25.5.1: what to load the preemption timer with, so that it expires at `deadline` (0: as late as it
/// can). One that has passed since the vCPU's entry was asked for expires before the guest's next
/// instruction.
constexpr std::uint32_t timer_value(std::uint64_t deadline, std::uint64_t now, unsigned shift) {
    constexpr std::uint32_t longest = 0xffffffff;
    if (deadline == 0)
        return longest;
    if (deadline <= now)
        return 0;
    const auto count = (deadline >> shift) - (now >> shift) + 1;
    return count < longest ? static_cast<std::uint32_t>(count) : longest;
}

/// Whether CPUID reports VT-x at all.
[[nodiscard]] bool offered();
/// Names what is missing or switched off, in words for the user; null when everything needed is there.
[[nodiscard]] const char* missing();
/// Reads both structures; once, at boot.
void read_capabilities();

} // namespace escalus::vmm::vmx
