// SPDX-License-Identifier: GPL-2.0-or-later
// The control OS starts its CPUs by INIT and start-up IPIs (Intel SDM 3, section 9.4; AMD APM 2,
// section 16.5). Where the hardware has no exits for these, the CPUs are in root mode already, waiting, and
// the IPIs are acted out instead of sent: a real INIT would take a CPU out of root mode. For that, writes to
// the interrupt command register are watched until the last CPU has started. So on AMD-V, which has no
// start-up exit, and on VT-x without the activity state wait-for-SIPI.
#pragma once

#include "vmm/cpu/apic.hpp"
#include "vmm/cpu/per_cpu.hpp"
#include "vmm/guest/guest_walk.hpp"

namespace escalus::vmm {

/// Makes writes of the x2APIC's interrupt command register exit, or no longer.
using WatchMsr = void (*)(bool watch);

/// Begins to watch, if there are CPUs to be started: the local APIC's page, and the x2APIC's register as
/// well, as firmware or the OS may change the mode meanwhile.
void watch_start_ipis(WatchMsr watch_msr);

/// A write of the interrupt command register. What it says is acted out, or else sent.
void write_interrupt_command(const PerCpu& sender, const apic::Command& command);

/// A nested fault by a write at `gpa`: whether it is the watched page.
[[nodiscard]] bool is_watched(GuestPhys gpa);
/// Acts it out. Registers are those in `cpu.control`; `rip` is linear. Returns the instruction's length; 0
/// when it is not understood and has to be executed once more, as nothing is watched any longer.
unsigned write_watched_page(PerCpu& cpu, const PagingState& paging, GuestLinear rip, GuestPhys gpa);

/// On a CPU that waits: returns the vector it is to start at.
std::uint8_t wait_for_start(PerCpu& cpu);

} // namespace escalus::vmm
