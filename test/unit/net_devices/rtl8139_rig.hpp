// SPDX-License-Identifier: GPL-2.0-or-later
// An RTL8139C+ and the habits of its drivers (8139too and 8139cp of Linux, rl and re of the BSDs).
#pragma once

#include "devmodel/devices/net/rtl8139.hpp"
#include "test/unit/net_devices/card_rig.hpp"

namespace escalus::test {

struct Rtl8139Rig : CardRig<Rtl8139> {
    static constexpr std::uint32_t rx = 0x10000, tx = 0x40000, rx_ring = 0x50000, tx_ring = 0x51000,
                                   high_ring = 0x52000, buffers = 0x100000;

    Rtl8139Rig() : CardRig{io | 1, mmio} {}

    void start_ring(std::uint32_t rx_config = 0xf) {
        out8(rtl8139::reg_cr, rtl8139::cmd_reset);
        out32(rtl8139::reg_rx_buffer, rx);
        out8(rtl8139::reg_cr, rtl8139::cmd_receive | rtl8139::cmd_transmit);
        out32(rtl8139::reg_rx_config, rx_config);
        out32(rtl8139::reg_tx_config, 0x03000600);
        out16(rtl8139::reg_imr, rtl8139::int_all);
    }
    void send(unsigned n, const Bytes& frame) {
        put(tx + n * 0x2000, frame);
        out32(rtl8139::reg_tx_address + 4 * n, tx + n * 0x2000);
        out32(rtl8139::reg_tx_status + 4 * n, static_cast<std::uint32_t>(frame.size()));
    }
    void start_cplus(std::uint16_t extra = 0) {
        out8(rtl8139::reg_cr, rtl8139::cmd_reset);
        out16(rtl8139::reg_cplus, static_cast<std::uint16_t>(3 | extra));
        out32(rtl8139::reg_rx_ring + 4, 0);
        out32(rtl8139::reg_rx_ring, rx_ring);
        out32(rtl8139::reg_tx_ring + 4, 0);
        out32(rtl8139::reg_tx_ring, tx_ring);
        out32(rtl8139::reg_tx_ring_high_priority + 4, 0);
        out32(rtl8139::reg_tx_ring_high_priority, high_ring);
        out8(rtl8139::reg_cr, rtl8139::cmd_receive | rtl8139::cmd_transmit);
        out32(rtl8139::reg_rx_config, 0xe);
        out16(rtl8139::reg_imr, rtl8139::int_all);
    }
    void describe(std::uint32_t ring, unsigned n, std::uint32_t command, std::uint32_t tag,
                  std::uint64_t buffer) {
        poke(ring + 16 * n + 4, tag);
        poke(ring + 16 * n + 8, buffer);
        poke(ring + 16 * n, command);
    }
    void give_buffers(unsigned count, std::uint32_t bytes = 1536) {
        for (unsigned n = 0; n < count; ++n)
            describe(rx_ring, n, rtl8139::desc_own | bytes | (n + 1 == count ? rtl8139::desc_end : 0u), 0,
                     buffers + n * 0x1000);
    }
};

} // namespace escalus::test
