// SPDX-License-Identifier: GPL-2.0-or-later
// A hostile guest at the PCnet-PCI II: the input is a program of register accesses, initialization blocks,
// descriptor contents, frames from the wire, time, pauses and resets. Nothing may crash, hang, or touch
// memory that is not the guest's.
#include "devmodel/devices/net/pcnet.hpp"
#include "test/fuzz/card_fuzz.hpp"

namespace {
using namespace escalus;
using namespace escalus::pcnet;
using fuzz::Input;

struct Guest : fuzz::CardMachine<Pcnet> {
    static constexpr std::uint32_t block = 0x1000, rx_ring = 0x2000, tx_ring = 0x3000, buffer = 0x5000;
    bool wide = false;

    Guest() { power_on(); }
    void power_on() {
        card.reset(ResetKind::System);
        config(0x10, io | 1);
        config(0x14, mmio);
        config(0x04, 7);
        wide = false;
    }
    void csr(unsigned index, std::uint32_t value) {
        port(wide ? 0x14 : 0x12, wide ? 4 : 2, index);
        port(0x10, wide ? 4 : 2, value);
    }
    void bcr(unsigned index, std::uint32_t value) {
        port(wide ? 0x14 : 0x12, wide ? 4 : 2, index);
        port(wide ? 0x1c : 0x16, wide ? 4 : 2, value);
    }
    void start(std::uint8_t how, Input& in) {
        csr(0, csr0_stop);
        bcr(20, how & 3u);
        auto m = memory.bytes();
        const auto lengths = in.byte();
        if ((how & 3) == 0) {
            store_le<std::uint32_t>(m, block, in.byte() & 0x4cu);
            store_le<std::uint32_t>(m, block + 16, rx_ring | (lengths & 7u) << 29);
            store_le<std::uint32_t>(m, block + 20, tx_ring | (lengths >> 4 & 7u) << 29);
        } else {
            store_le<std::uint32_t>(
                m, block, (in.byte() & 0x4cu) | 0x8000u | (lengths & 15u) << 20 | (lengths >> 4) << 28);
            store_le<std::uint32_t>(m, block + 20, (how & 0x80) != 0 ? memory_bytes - 64 : rx_ring);
            store_le<std::uint32_t>(m, block + 24, (how & 0x40) != 0 ? memory_bytes - 64 : tx_ring);
        }
        csr(1, block);
        csr(2, 0);
        csr(4, (how & 0x3cu) << 8);
        csr(0, csr0_init | csr0_start | csr0_enable);
    }
    void step(Input& in) {
        const auto op = in.byte(), selector = in.byte();
        const unsigned width = 1u << (op >> 4 & 3);
        switch (op & 15) {
        case 0:
            access(in, selector & 31, width);
            break;
        case 1:
            csr(selector & 127, in.dword());
            break;
        case 2:
            bcr(selector & 31, in.dword());
            break;
        case 3:
        case 4: { // a descriptor that means something
            const auto ring = (selector & 1) != 0 ? rx_ring : tx_ring;
            const auto address = (op & 0x80) != 0 ? in.dword() : buffer + in.byte() * 64u;
            const auto status = desc_own | in.dword();
            const auto where = ring + (selector >> 1) * ((op & 0x40) != 0 ? 8u : 16u);
            if ((op & 0x40) != 0)
                describe(where, (address & 0xffffff) | (status & 0xff000000), status & 0xffff, 0);
            else if ((op & 0x20) != 0)
                describe(where, 0, status, address);
            else
                describe(where, address, status, 0);
            break;
        }
        case 5:
            csr(0, csr0_enable | csr0_demand);
            break;
        case 6:
            port_in(0x10 + (selector & 15), 2);
            break;
        case 7:
            wide = true;
            port(0x10, 4, 0);
            break;
        case 8:
        case 9:
            from_wire(in, selector);
            break;
        case 10:
            start(selector, in);
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
