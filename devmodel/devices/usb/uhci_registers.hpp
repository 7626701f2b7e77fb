// SPDX-License-Identifier: GPL-2.0-or-later
// Registers and structures of Intel's Universal Host Controller Interface (UHCI) Design Guide 1.1: chapters 2
// (registers) and 3 (frame list, queue heads, transfer descriptors).
#pragma once

#include <cstdint>

namespace escalus::uhci {

// I/O registers.
inline constexpr unsigned reg_command = 0x00, reg_status = 0x02, reg_interrupts = 0x04, reg_frame = 0x06,
                          reg_frame_list = 0x08, reg_sof_modify = 0x0c, reg_port = 0x10, port_count = 2,
                          register_bytes = 0x20;

inline constexpr std::uint16_t cmd_run = 1, cmd_host_reset = 2, cmd_global_reset = 4, cmd_global_suspend = 8,
                               cmd_force_resume = 0x10, cmd_single_step = 0x20, cmd_writable = 0xff;
inline constexpr std::uint16_t sts_interrupt = 1, sts_error = 2, sts_resume = 4, sts_system_error = 8,
                               sts_process_error = 0x10, sts_halted = 0x20;
inline constexpr std::uint16_t int_error = 1, int_resume = 2, int_complete = 4, int_short = 8;

inline constexpr std::uint16_t port_connected = 1, port_connect_change = 2, port_enabled = 4,
                               port_enable_change = 8, port_line_plus = 0x10, port_line_minus = 0x20,
                               port_resume = 0x40, port_always = 0x80, port_low_speed = 0x100,
                               port_reset = 0x200, port_suspend = 0x1000;

inline constexpr unsigned frame_mask = 0x7ff, frames_in_list = 1024;

// Link pointers.
inline constexpr std::uint32_t link_end = 1, link_queue = 2, link_depth = 4, link_address = 0xfffffff0;

// Transfer descriptors: control and status.
inline constexpr std::uint32_t td_length = 0x7ff, td_bit_stuff = 1u << 17, td_timeout = 1u << 18,
                               td_nak = 1u << 19, td_babble = 1u << 20, td_buffer_error = 1u << 21,
                               td_stalled = 1u << 22, td_active = 1u << 23, td_complete = 1u << 24,
                               td_isochronous = 1u << 25, td_low_speed = 1u << 26, td_errors = 3u << 27,
                               td_one_error = 1u << 27, td_short = 1u << 29;
// And token.
inline constexpr unsigned pid_setup = 0x2d, pid_in = 0x69, pid_out = 0xe1;
inline constexpr unsigned most_packet = 1280;

struct TransferDescriptor {
    std::uint32_t link = 0, control = 0, token = 0, buffer = 0;

    [[nodiscard]] unsigned pid() const { return token & 0xff; }
    [[nodiscard]] unsigned address() const { return token >> 8 & 0x7f; }
    [[nodiscard]] unsigned endpoint() const { return token >> 15 & 0xf; }
    /// Bytes; the field holds one less, all ones for none.
    [[nodiscard]] unsigned length() const { return ((token >> 21) + 1) & td_length; }
};

} // namespace escalus::uhci
