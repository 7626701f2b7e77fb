// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/cpu/pit.hpp"

#include "vmm/cpu/instructions.hpp"

namespace escalus::vmm {

// The 8254's channel 2 counts 1.193182 MHz without interrupts; gate and output are in port 0x61.
void wait_microseconds(unsigned us) {
    const unsigned ticks = us * 1193 / 1000;
    out8(0x61, static_cast<std::uint8_t>((in8(0x61) & ~2u) | 1));
    out8(0x43, 0xb0); // channel 2, both bytes, mode 0
    out8(0x42, static_cast<std::uint8_t>(ticks));
    out8(0x42, static_cast<std::uint8_t>(ticks >> 8));
    while ((in8(0x61) & 0x20) == 0)
        pause();
}

} // namespace escalus::vmm
