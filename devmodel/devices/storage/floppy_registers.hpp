// SPDX-License-Identifier: GPL-2.0-or-later
// Bits of the 82077AA's status registers (datasheet 290166-007, section 6.1 and table 2).
#pragma once

#include <cstdint>

namespace escalus::fdc {

// Digital output register.
inline constexpr std::uint8_t out_run = 0x04, out_gate = 0x08;
// Main status register.
inline constexpr std::uint8_t main_request = 0x80, main_to_guest = 0x40, main_no_dma = 0x20, main_busy = 0x10;
// Status register 0.
inline constexpr std::uint8_t abnormal = 0x40, invalid_command = 0x80, polled = 0xc0, seek_end = 0x20,
                              equipment_check = 0x10;
// Status register 1.
inline constexpr std::uint8_t end_of_cylinder = 0x80, data_error = 0x20, no_data = 0x04, not_writable = 0x02,
                              missing_mark = 0x01;
// Status register 2.
inline constexpr std::uint8_t control_mark = 0x40, data_field_error = 0x20, wrong_cylinder = 0x10,
                              bad_cylinder = 0x02;
// CONFIGURE.
inline constexpr std::uint8_t implied_seek = 0x40, fifo_off = 0x20, threshold = 0x0f;

} // namespace escalus::fdc
