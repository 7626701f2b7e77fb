// SPDX-License-Identifier: GPL-2.0-or-later
// Names of AHCI 1.3 registers (chapter 3), structures in memory (chapter 4) and Serial ATA frames (FIS).
#pragma once

#include <cstdint>

namespace escalus::ahci {

inline constexpr unsigned slots = 32;

// Generic host control (3.1): offsets.
inline constexpr unsigned reg_cap = 0x00, reg_ghc = 0x04, reg_is = 0x08, reg_pi = 0x0c, reg_vs = 0x10;
inline constexpr std::uint32_t ghc_reset = 1, ghc_interrupts = 2, ghc_ahci = 0x80000000;

// Ports (3.3): offsets from 0x100 + 0x80 * port.
inline constexpr unsigned ports_base = 0x100, port_bytes = 0x80;
inline constexpr unsigned port_clb = 0x00, port_clbu = 0x04, port_fb = 0x08, port_fbu = 0x0c, port_is = 0x10,
                          port_ie = 0x14, port_cmd = 0x18, port_tfd = 0x20, port_sig = 0x24, port_ssts = 0x28,
                          port_sctl = 0x2c, port_serr = 0x30, port_sact = 0x34, port_ci = 0x38;

// PxIS: device to host, PIO setup and set device bits frames; overflow; host bus fatal and task file errors.
inline constexpr std::uint32_t is_d2h = 1u << 0, is_pio_setup = 1u << 1, is_device_bits = 1u << 3,
                               is_connect = 1u << 6, is_overflow = 1u << 24, is_bus_fatal = 1u << 29,
                               is_task_file = 1u << 30;
inline constexpr std::uint32_t is_known = 0xfdc000ff;

// PxCMD.
inline constexpr std::uint32_t cmd_start = 1u << 0, cmd_spin_up = 1u << 1, cmd_power_on = 1u << 2,
                               cmd_clear_busy = 1u << 3, cmd_fis_receive = 1u << 4,
                               cmd_fis_running = 1u << 14, cmd_running = 1u << 15, cmd_atapi = 1u << 24,
                               cmd_led = 1u << 25;
inline constexpr unsigned cmd_slot_shift = 8;

// PxSSTS: device present with communication at 3 Gb/s, interface active; only present while in reset.
inline constexpr std::uint32_t ssts_up = 0x123, ssts_reset = 0x001;
inline constexpr std::uint32_t sctl_reset = 1, sctl_offline = 4;
inline constexpr std::uint32_t serr_exchanged = 1u << 26;

// Command header (4.2.2), word 0.
inline constexpr std::uint32_t header_bytes = 32;
inline constexpr std::uint32_t header_length = 0x1f, header_atapi = 1u << 5, header_clear_busy = 1u << 10;
// Command table (4.2.3).
inline constexpr std::uint32_t table_packet = 0x40, table_regions = 0x80, region_bytes = 16;

// Frames: types, sizes, and where they are received (4.2.1).
inline constexpr std::uint8_t fis_h2d = 0x27, fis_d2h = 0x34, fis_device_bits = 0xa1, fis_pio_setup = 0x5f;
inline constexpr std::uint32_t received_pio_setup = 0x20, received_d2h = 0x40, received_device_bits = 0x58;
inline constexpr std::uint8_t fis_command = 0x80, fis_interrupt = 0x40, fis_to_host = 0x20;

} // namespace escalus::ahci
