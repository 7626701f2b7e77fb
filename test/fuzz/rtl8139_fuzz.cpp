// SPDX-License-Identifier: GPL-2.0-or-later
// A hostile guest at the RTL8139C+: the input is a program of register accesses, descriptor contents, frames
// from the wire, time, pauses and resets. Nothing may crash, hang, or touch memory that is not the guest's.
#include "devmodel/devices/net/rtl8139.hpp"
#include "test/fuzz/card_fuzz.hpp"

namespace {
using namespace escalus;
using namespace escalus::rtl8139;
using fuzz::Input;

struct Guest : fuzz::CardMachine<Rtl8139> {
    static constexpr std::uint32_t rx_ring = 0x2000, tx_ring = 0x3000, high_ring = 0x4000, buffer = 0x5000;

    Guest() { power_on(); }
    void power_on() {
        card.reset(ResetKind::System);
        config(0x10, io | 1);
        config(0x14, mmio);
        config(0x04, 7);
    }
    void start(std::uint8_t how) {
        port(reg_cr, 1, cmd_reset);
        if ((how & 1) != 0) {
            port(reg_cplus, 2, 3u | (how & 0x60u));
            port(reg_rx_ring, 4, rx_ring);
            port(reg_tx_ring, 4, tx_ring);
            port(reg_tx_ring_high_priority, 4, high_ring);
        } else {
            port(reg_rx_buffer, 4, (how & 2) != 0 ? buffer : memory_bytes - 0x1000);
        }
        port(reg_cr, 1, cmd_receive | cmd_transmit);
        port(reg_rx_config, 4, 0xfu | (how & 0x18u) << 8 | (how & 0x80u));
        port(reg_tx_config, 4, (how & 4) != 0 ? 0x60000u : 0u);
        port(reg_imr, 2, int_all);
    }
    void step(Input& in) {
        const auto op = in.byte(), selector = in.byte();
        const unsigned width = 1u << (op >> 4 & 3);
        switch (op & 15) {
        case 0:
        case 1:
            access(in, selector, width);
            break;
        case 2: // a register that does something
            port(std::array{reg_cr, reg_poll, reg_tx_status, reg_tx_status + 4, reg_read_pointer, reg_cplus,
                            reg_tally, reg_eeprom}[selector & 7],
                 4, in.dword());
            break;
        case 3:
        case 4: { // a descriptor that means something
            const auto ring = std::array{rx_ring, tx_ring, high_ring, tx_ring}[selector & 3];
            describe(ring + (selector >> 2) * 16u, desc_own | in.dword(), in.dword(),
                     (op & 0x80) != 0 ? in.dword() : buffer + in.byte() * 64u);
            break;
        }
        case 5:
            port(reg_poll, 1, selector);
            break;
        case 6:
            packet(buffer, in);
            break;
        case 7:
            port(reg_tx_address + 4 * (selector & 3u), 4, buffer + in.byte() * 64u);
            port(reg_tx_status + 4 * (selector & 3u), 4, in.byte() * 16u);
            break;
        case 8:
        case 9:
            from_wire(in, selector);
            break;
        case 10:
            start(selector);
            break;
        default:
            common(op & 15, selector, in);
            if ((op & 15) == 15 && selector == 0)
                power_on();
        }
    }
};
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    return fuzz::run<Guest>(bytes, size);
}
