// SPDX-License-Identifier: GPL-2.0-or-later
// The control OS starts its CPUs by INIT and start-up IPIs (Intel SDM 3, section 9.4; AMD APM 2,
// section 16.5). The CPUs are in root mode already, waiting, so the IPIs are acted out instead of sent: a
// real INIT would take a CPU out of root mode. AMD-V has no start-up exit, so writes to the interrupt command
// register are watched until the last CPU has started.
#pragma once

#include "vmm/cpu/apic.hpp"
#include "vmm/cpu/per_cpu.hpp"

namespace escalus::vmm {

/// Acts out the parts of `command` that are INIT and start-up IPIs for waiting CPUs. True when nothing is
/// left to be sent.
bool act_out_start_ipi(const PerCpu& sender, const apic::Command& command);

/// True until every CPU runs the control OS.
[[nodiscard]] bool watching_start_ipis();

/// On a CPU that waits: returns the vector it is to start at.
std::uint8_t wait_for_start(PerCpu& cpu);

} // namespace escalus::vmm
