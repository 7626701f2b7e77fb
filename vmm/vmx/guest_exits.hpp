// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "vmm/vmx/vmx.hpp"

namespace escalus::vmm::vmx {

enum class Action {
    Resume,      ///< handled: enter the guest again
    DeviceModel, ///< the page's exit fields are filled in
    Control      ///< the control OS has something to take
};

/// Handles the exit of the current VMCS.
Action handle_guest_exit(PerCpu& cpu, Vcpu& vcpu, std::uint32_t reason);
/// The entry failed without an exit.
Action handle_failed_entry(Vcpu& vcpu);

/// The debug registers are the guest's from now on, or no longer.
void give_debug_registers(PerCpu& cpu, Vcpu& vcpu);

/// Where StatPage::hardware counts this exit reason.
[[nodiscard]] unsigned statistics_index(std::uint32_t reason);

} // namespace escalus::vmm::vmx
