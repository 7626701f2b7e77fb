// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "vmm/svm/svm.hpp"

namespace escalus::vmm::svm {

enum class Action {
    Resume,      ///< handled: enter the guest again
    DeviceModel, ///< the page's exit fields are filled in
    Control      ///< the control OS has something to take
};

/// Handles the exit in the VMCB.
Action handle_guest_exit(PerCpu& cpu, Vcpu& vcpu);

/// Where StatPage::hardware counts this exit code.
[[nodiscard]] unsigned statistics_index(std::uint64_t exit_code);

} // namespace escalus::vmm::svm
