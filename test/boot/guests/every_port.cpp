// SPDX-License-Identifier: GPL-2.0-or-later
// Reads every port in every width, then writes every port. The writes may reset or power off the machine: so
// they would on hardware.
#include "test/boot/guests/kernel.hpp"

namespace {

constexpr uint16_t com1_first = 0x3f8, com1_last = 0x3ff;

bool spared(uint32_t port) { // so that we can still report
    return port >= com1_first && port <= com1_last;
}

} // namespace

extern "C" void kernel_main(uint32_t, const MultibootInfo*) {
    serial_start();
    uint32_t answered = 0;
    for (uint32_t port = 0; port < 0x10000; ++port) {
        if (spared(port))
            continue;
        const auto p = static_cast<uint16_t>(port);
        answered += in8(p) != 0xff;
        if (port % 16 == 0) {
            in16(p);
            in32(p);
            in32(static_cast<uint16_t>(port + 3));
        }
    }
    say("ports read, ", answered, " answered");
    // Unoccupied ranges first, what might end the machine last.
    for (uint32_t port = 0x1000; port < 0x10000; port += 7)
        out32(static_cast<uint16_t>(port), port * 0x01010101);
    say("high ports written");
    for (uint32_t port = 0; port < 0x1000; ++port) {
        if (!spared(port)) {
            out8(static_cast<uint16_t>(port), 0xff);
            out16(static_cast<uint16_t>(port), 0x5a5a);
            out32(static_cast<uint16_t>(port), 0);
        }
    }
    serial_start();
    say("ports written, END");
}
