// SPDX-License-Identifier: GPL-2.0-or-later
// Bits and register numbers of the local APIC (Intel SDM volume 3, table 11-1 and figures 11-5 to 11-23), for
// its two source files.
#pragma once

#include <cstdint>

namespace escalus::apic {

inline constexpr std::uint64_t base_bootstrap = 1 << 8, base_x2apic = 1 << 10, base_enable = 1 << 11;

// Register numbers: MMIO offset / 16, MSR - 0x800.
enum Register : unsigned {
    reg_id = 0x02,
    reg_version = 0x03,
    reg_tpr = 0x08,
    reg_apr = 0x09,
    reg_ppr = 0x0a,
    reg_eoi = 0x0b,
    reg_rrd = 0x0c,
    reg_ldr = 0x0d,
    reg_dfr = 0x0e,
    reg_svr = 0x0f,
    reg_isr = 0x10,
    reg_tmr = 0x18,
    reg_irr = 0x20,
    reg_esr = 0x28,
    reg_icr = 0x30,
    reg_icr_high = 0x31,
    reg_lvt_timer = 0x32,
    reg_lvt_error = 0x37,
    reg_initial_count = 0x38,
    reg_current_count = 0x39,
    reg_divide = 0x3e,
    reg_self_ipi = 0x3f
};

inline constexpr std::uint32_t svr_enable = 0x100, svr_no_focus = 0x200, svr_no_eoi_broadcast = 0x1000;

inline constexpr std::uint32_t lvt_vector = 0xff, lvt_delivery = 0x700, lvt_polarity = 0x2000,
                               lvt_remote_irr = 0x4000, lvt_level = 0x8000, lvt_masked = 0x10000;
inline constexpr unsigned lvt_delivery_shift = 8, lvt_timer_mode_shift = 17;

inline constexpr std::uint32_t error_send_vector = 0x20, error_receive_vector = 0x40, error_register = 0x80;

} // namespace escalus::apic
