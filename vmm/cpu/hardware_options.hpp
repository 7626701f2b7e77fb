// SPDX-License-Identifier: GPL-2.0-or-later
// Parts of hardware virtualization that are used where the CPU has them, and can be switched off on the
// monitor's command line (NAME=off): to find out whether one of them is to blame for a trouble.
#pragma once

#include <cstdint>

namespace escalus::vmm {

enum class HardwareOption : unsigned {
    TrueControls,
    Vpid,
    Rdtscp,
    Invpcid,
    Xsaves,
    Ept1G,
    EptDirty,
    PreemptionTimer,
    VirtualInterrupts,
    WaitForSipi,
    TscScaling,
    Count
};

/// The words of the command line, in the order of HardwareOption.
inline constexpr const char* hardware_option_names[] = {"true-controls",
                                                        "vpid",
                                                        "rdtscp",
                                                        "invpcid",
                                                        "xsaves",
                                                        "ept-1g",
                                                        "ept-ad",
                                                        "preemption-timer",
                                                        "virtual-interrupts",
                                                        "wait-for-sipi",
                                                        "tsc-scaling"};
static_assert(sizeof hardware_option_names / sizeof *hardware_option_names ==
              static_cast<unsigned>(HardwareOption::Count));

/// One bit an option: switched off.
inline constinit std::uint32_t hardware_options_off = 0;

inline bool hardware_option(HardwareOption option) {
    return (hardware_options_off >> static_cast<unsigned>(option) & 1) == 0;
}

} // namespace escalus::vmm
