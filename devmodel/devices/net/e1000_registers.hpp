// SPDX-License-Identifier: GPL-2.0-or-later
// Registers and descriptors of the Intel 82540EM (PCI/PCI-X Family of Gigabit Ethernet Controllers Software
// Developer's Manual, 317453, chapters 3 and 13).
#pragma once

#include <cstdint>

namespace escalus::e1000 {

inline constexpr unsigned reg_ctrl = 0x0000, reg_device_status = 0x0008, reg_eecd = 0x0010, reg_eerd = 0x0014,
                          reg_ctrl_ext = 0x0018, reg_mdic = 0x0020, reg_fcal = 0x0028, reg_fcah = 0x002c,
                          reg_fct = 0x0030, reg_vet = 0x0038, reg_icr = 0x00c0, reg_itr = 0x00c4,
                          reg_ics = 0x00c8, reg_ims = 0x00d0, reg_imc = 0x00d8, reg_rctl = 0x0100,
                          reg_fcttv = 0x0170, reg_tctl = 0x0400, reg_tipg = 0x0410, reg_ledctl = 0x0e00,
                          reg_pba = 0x1000, reg_rdbal = 0x2800, reg_rdbah = 0x2804, reg_rdlen = 0x2808,
                          reg_rdh = 0x2810, reg_rdt = 0x2818, reg_rdtr = 0x2820, reg_rxdctl = 0x2828,
                          reg_radv = 0x282c, reg_rsrpd = 0x2c00, reg_tdbal = 0x3800, reg_tdbah = 0x3804,
                          reg_tdlen = 0x3808, reg_tdh = 0x3810, reg_tdt = 0x3818, reg_tidv = 0x3820,
                          reg_txdctl = 0x3828, reg_tadv = 0x382c, reg_tspmt = 0x3830, reg_rxcsum = 0x5000,
                          reg_mta = 0x5200, reg_ra = 0x5400, reg_vfta = 0x5600, reg_manc = 0x5820;

inline constexpr std::uint32_t ctrl_full_duplex = 1, ctrl_link_up = 1u << 6, ctrl_reset = 1u << 26,
                               ctrl_vlan = 1u << 30, ctrl_phy_reset = 1u << 31, ctrl_ext_reload = 1u << 13;
inline constexpr std::uint32_t eecd_clock = 1, eecd_select = 2, eecd_in = 4, eecd_out = 8,
                               eecd_request = 0x40, eecd_grant = 0x80, eecd_present = 0x100;
inline constexpr std::uint32_t int_tx_written = 1, int_tx_empty = 2, int_link = 4, int_rx_threshold = 0x10,
                               int_rx_overrun = 0x40, int_rx_timer = 0x80, int_mdio = 0x200,
                               int_small_packet = 0x10000, int_all = 0x1f7df;
inline constexpr std::uint32_t rctl_enable = 2, rctl_all_unicast = 8, rctl_all_multicast = 0x10,
                               rctl_long = 0x20, rctl_mac_loopback = 0x40, rctl_broadcast = 0x8000,
                               rctl_vlan_filter = 1u << 18, rctl_cfi_enable = 1u << 19, rctl_cfi = 1u << 20,
                               rctl_discard_pause = 1u << 22, rctl_size_extension = 1u << 25,
                               rctl_strip_crc = 1u << 26;
inline constexpr std::uint32_t tctl_enable = 2, tctl_pad = 8;
inline constexpr std::uint32_t rxcsum_ip = 0x100, rxcsum_transport = 0x200;

// The third word of a transmit descriptor.
inline constexpr std::uint32_t tx_end = 1u << 24, tx_insert_sum = 1u << 26, tx_segment = 1u << 26,
                               tx_report = 1u << 27, tx_report_sent = 1u << 28, tx_extended = 1u << 29,
                               tx_vlan = 1u << 30, tx_delay = 1u << 31, tx_kind_data = 1u << 20,
                               tx_context_tcp = 1u << 24, tx_context_ipv4 = 1u << 25;
// The fourth.
inline constexpr std::uint32_t tx_done = 1, tx_ip_sum = 0x100, tx_transport_sum = 0x200;

// Status and errors of a receive descriptor.
inline constexpr std::uint8_t rx_done = 1, rx_end = 2, rx_no_sums = 4, rx_vlan = 8, rx_tcp_summed = 0x20,
                              rx_ip_summed = 0x40, rx_not_exact = 0x80;
inline constexpr std::uint8_t rx_tcp_bad = 0x20, rx_ip_bad = 0x40;

// Statistics: the registers from 0x4000 on, cleared by being read (13.7).
inline constexpr unsigned stat_begin = 0x4000, stat_end = 0x4128, stat_missed = 0x4010, stat_rx_64 = 0x405c,
                          stat_rx_good = 0x4074, stat_rx_broadcast = 0x4078, stat_rx_multicast = 0x407c,
                          stat_tx_good = 0x4080, stat_rx_good_octets = 0x4088, stat_tx_good_octets = 0x4090,
                          stat_no_buffers = 0x40a0, stat_oversize = 0x40ac, stat_rx_octets = 0x40c0,
                          stat_tx_octets = 0x40c8, stat_rx_total = 0x40d0, stat_tx_total = 0x40d4,
                          stat_tx_64 = 0x40d8, stat_tx_multicast = 0x40f0, stat_tx_broadcast = 0x40f4,
                          stat_tx_segmented = 0x40f8;

} // namespace escalus::e1000
