// SPDX-License-Identifier: GPL-2.0-or-later
// A hostile guest at the NE2000: the input is a program of register and data port accesses, frames from the
// wire, pauses and resets. Nothing may crash or hang.
#include "devmodel/devices/net/ne2000.hpp"
#include "test/fuzz/card_fuzz.hpp"

namespace {
using namespace escalus;
using namespace escalus::dp8390;
using fuzz::Input;

struct Guest : fuzz::CardMachine<Ne2000> {
    Guest() { power_on(); }
    void power_on() {
        card.reset(ResetKind::System);
        config(0x10, io | 1);
        config(0x04, 7);
    }
    void start(std::uint8_t how, Input& in) {
        port(0, 1, cmd_no_dma | cmd_stop);
        port(14, 1, how & 0x7fu);
        port(1, 1, (how & 1) != 0 ? in.byte() : 0x46u);
        port(2, 1, (how & 2) != 0 ? in.byte() : 0x60u);
        port(3, 1, (how & 4) != 0 ? in.byte() : 0x5fu);
        port(12, 1, 0x1c);
        port(13, 1, (how & 8) != 0 ? 2u : 0u);
        port(15, 1, 0x7f);
        port(0, 1, 0x40 | cmd_no_dma | cmd_stop);
        port(7, 1, (how & 0x10) != 0 ? in.byte() : 0x46u);
        port(0, 1, cmd_no_dma | cmd_start);
    }
    void step(Input& in) {
        const auto op = in.byte(), selector = in.byte();
        const unsigned width = std::min(1u << (op >> 4 & 3), 4u);
        switch (op & 15) {
        case 0:
        case 1:
        case 2:
            port(selector & 31, width, in.dword());
            break;
        case 3:
            port_in(selector & 31, width);
            break;
        case 4: { // many bytes through the data port
            std::array<std::uint8_t, 2048> bytes{};
            const auto some = std::span{bytes}.first((selector + 1u) * 8);
            if ((op & 0x80) != 0)
                ports.read_repeated(io + 16, width, some);
            else
                ports.write_repeated(io + 16, width, some);
            break;
        }
        case 5:
            port(8, 1, in.byte());
            port(9, 1, in.byte());
            port(10, 1, in.byte());
            port(11, 1, in.byte());
            port(0, 1, (selector & 0x38u) | cmd_start);
            break;
        case 6:
            port(4, 1, in.byte());
            port(5, 1, in.byte());
            port(6, 1, in.byte());
            port(0, 1, cmd_no_dma | cmd_start | cmd_transmit);
            break;
        case 7:
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
