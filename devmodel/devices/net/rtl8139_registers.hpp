// SPDX-License-Identifier: GPL-2.0-or-later
// Registers and descriptors of the RTL8139C+ (Realtek RTL8139C+ datasheet 1.6, chapters 6 and 9).
#pragma once

#include <cstdint>

namespace escalus::rtl8139 {

inline constexpr unsigned reg_mac = 0x00, reg_multicast = 0x08, reg_tx_status = 0x10, reg_tx_address = 0x20,
                          reg_rx_buffer = 0x30, reg_early_count = 0x34, reg_early_status = 0x36,
                          reg_cr = 0x37, reg_read_pointer = 0x38, reg_write_pointer = 0x3a, reg_imr = 0x3c,
                          reg_isr = 0x3e, reg_tx_config = 0x40, reg_rx_config = 0x44, reg_timer = 0x48,
                          reg_missed = 0x4c, reg_eeprom = 0x50, reg_config0 = 0x51, reg_config1 = 0x52,
                          reg_timer_target = 0x54, reg_media = 0x58, reg_config3 = 0x59, reg_config4 = 0x5a,
                          reg_revision = 0x5e, reg_tx_summary = 0x60, reg_phy_control = 0x62,
                          reg_phy_status = 0x64, reg_advertised = 0x66, reg_partner = 0x68,
                          reg_expansion = 0x6a, reg_phy_test = 0x74, reg_config5 = 0xd8, reg_poll = 0xd9,
                          reg_cplus = 0xe0, reg_rx_ring = 0xe4;
// The same places while the C+ rings are on.
inline constexpr unsigned reg_tally = 0x10, reg_tx_ring = 0x20, reg_tx_ring_high_priority = 0x28;

inline constexpr std::uint8_t cmd_reset = 0x10, cmd_receive = 8, cmd_transmit = 4, cmd_empty = 1;

inline constexpr std::uint16_t int_rx_ok = 1, int_rx_error = 2, int_tx_ok = 4, int_tx_error = 8,
                               int_rx_overflow = 0x10, int_link = 0x20, int_fifo = 0x40,
                               int_no_tx_descriptor = 0x80, int_software = 0x100, int_timer = 0x4000,
                               int_bus_error = 0x8000;
inline constexpr std::uint16_t int_all = 0xe1ff;

inline constexpr std::uint32_t tx_own = 1u << 13, tx_ok = 1u << 15, tx_aborted = 1u << 30,
                               tx_size_mask = 0x1fff;

inline constexpr std::uint32_t rx_accept_all = 1, rx_accept_mine = 2, rx_accept_multicast = 4,
                               rx_accept_broadcast = 8, rx_no_wrap = 0x80;
inline constexpr std::uint16_t head_ok = 1, head_broadcast = 0x2000, head_mine = 0x4000,
                               head_multicast = 0x8000;

inline constexpr std::uint16_t cplus_transmit = 1, cplus_receive = 2, cplus_checksum = 0x20,
                               cplus_untag = 0x40;
inline constexpr std::uint8_t poll_high = 0x80, poll_normal = 0x40, poll_software = 1;
inline constexpr std::uint32_t tally_dump = 8;

// Both kinds of C+ descriptor.
inline constexpr std::uint32_t desc_own = 1u << 31, desc_end = 1u << 30, desc_first = 1u << 29,
                               desc_last = 1u << 28;
// Sending.
inline constexpr std::uint32_t desc_large = 1u << 27, desc_ip_sum = 1u << 18, desc_udp_sum = 1u << 17,
                               desc_tcp_sum = 1u << 16, desc_tx_errors = 0x03ff0000,
                               desc_tx_summary = 1u << 23, desc_add_tag = 1u << 17;
// Receiving.
inline constexpr std::uint32_t desc_multicast = 1u << 26, desc_mine = 1u << 25, desc_broadcast = 1u << 24,
                               desc_ip = 3u << 16, desc_udp = 2u << 16, desc_tcp = 1u << 16,
                               desc_ip_bad = 1u << 15, desc_udp_bad = 1u << 14, desc_tcp_bad = 1u << 13,
                               desc_rx_size = 0x1fff, desc_tag_there = 1u << 16;

/// The PHY's registers as the chip shows them, and what they always say.
inline constexpr std::uint16_t phy_reset = 0x8000, phy_100 = 0x2000, phy_negotiate = 0x1000,
                               phy_restart = 0x0200, phy_full_duplex = 0x0100, phy_can = 0x7809,
                               phy_negotiated = 0x20, phy_link = 4, phy_all_modes = 0x01e1,
                               phy_partner = 0x45e1;

} // namespace escalus::rtl8139
