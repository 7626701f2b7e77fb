// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/control/reset.hpp"

#include "vmm/cpu/instructions.hpp"
#include "vmm/cpu/log.hpp"

namespace escalus::vmm {

void reset_machine(unsigned cpu, std::uint64_t rip) {
    log::error("CPU ", cpu, ": the control OS shut down (triple fault) at rip ", hex(rip),
               "; resetting the machine");
    out8(0xcf9, 0x02);
    out8(0xcf9, 0x06);
    out8(0x64, 0xfe);
    halt_forever();
}

} // namespace escalus::vmm
