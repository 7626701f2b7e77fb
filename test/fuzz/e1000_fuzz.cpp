// SPDX-License-Identifier: GPL-2.0-or-later
// A hostile guest at the 82540EM: the input is a program of register accesses, descriptor contents, frames
// from the wire, time, pauses and resets. Nothing may crash, hang, or touch memory that is not the guest's.
#include "devmodel/devices/net/e1000.hpp"
#include "test/fuzz/card_fuzz.hpp"

namespace {
using namespace escalus;
using namespace escalus::e1000;
using fuzz::Input;

struct Guest : fuzz::CardMachine<E1000> {
    static constexpr std::uint32_t rx_ring = 0x2000, tx_ring = 0x3000, buffer = 0x5000;

    Guest() { power_on(); }
    void power_on() {
        card.reset(ResetKind::System);
        config(0x10, mmio);
        config(0x18, io | 1);
        config(0x04, 7);
    }
    void start(std::uint8_t how) {
        mem(reg_ctrl, ctrl_reset);
        mem(reg_ctrl, (how & 1) != 0 ? ctrl_vlan : 0u);
        mem(reg_rdbal, rx_ring);
        mem(reg_rdlen, 0x100);
        mem(reg_tdbal, tx_ring);
        mem(reg_tdlen, (how & 2) != 0 ? 0x80u : 0x1000u);
        mem(reg_rxcsum, (how & 4) != 0 ? 0x300u : 0u);
        mem(reg_rctl, rctl_enable | 0x8018u | (how & 0x38u) << 13 | (how & 0x40u ? rctl_mac_loopback : 0u));
        mem(reg_rdt, 12);
        mem(reg_tctl, tctl_enable | tctl_pad);
        mem(reg_ims, ~0u);
    }
    void step(Input& in) {
        const auto op = in.byte(), selector = in.byte();
        const unsigned width = 1u << (op >> 4 & 3);
        switch (op & 15) {
        case 0:
            access(in, selector | (in.byte() & 0x1ffu) << 8, width);
            break;
        case 1:
        case 2: // a register that does something
            mem(std::array{reg_ctrl, reg_eecd, reg_mdic, reg_rctl, reg_rdt, reg_rdh, reg_tdh, reg_tdt,
                           reg_rdlen, reg_tdlen, reg_itr, reg_rdtr, reg_tidv, reg_ics, reg_vet,
                           reg_tctl}[selector & 15],
                in.dword());
            break;
        case 3: // a descriptor of any kind
        case 4: {
            const auto ring = (selector & 1) != 0 ? rx_ring : tx_ring;
            const auto where = (ring + (selector >> 1) * 16u) % (memory_bytes - 16);
            store_le(memory.bytes(), where, (op & 0x80) != 0 ? in.dword() : buffer + in.byte() * 64u);
            store_le(memory.bytes(), where + 4, (op & 0x40) != 0 ? in.dword() : 0u);
            store_le(memory.bytes(), where + 8, in.dword());
            store_le(memory.bytes(), where + 12, in.dword());
            break;
        }
        case 5: { // a context that suits a packet, more or less
            const auto where = tx_ring + (selector & 31) * 32u;
            const auto bits = in.byte();
            store_le<std::uint32_t>(memory.bytes(), where, 14u | 24u << 8 | 33u << 16);
            store_le<std::uint32_t>(memory.bytes(), where + 4, ((bits & 8) != 0 ? 54u : 34u) | 50u << 8);
            store_le<std::uint32_t>(memory.bytes(), where + 8, tx_extended | tx_segment | (bits & 3u) << 24);
            store_le<std::uint32_t>(memory.bytes(), where + 12, (in.byte() & 0x7fu) << 8 | in.byte() << 18);
            const auto size = in.dword() & 0xffff;
            store_le<std::uint32_t>(memory.bytes(), where + 16, buffer);
            store_le<std::uint32_t>(memory.bytes(), where + 24,
                                    tx_extended | tx_kind_data | tx_segment | tx_end | tx_report | size);
            store_le<std::uint32_t>(memory.bytes(), where + 28, (bits & 0xc0u) << 2);
            break;
        }
        case 6:
            packet(buffer, in);
            break;
        case 7:
            mem(reg_tdt, selector);
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
