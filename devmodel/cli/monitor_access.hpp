// SPDX-License-Identifier: GPL-2.0-or-later
// The monitor as the command line uses it.
#pragma once

#include "devmodel/cli/runtime_directory.hpp"

namespace escalus {

/// Destroys a VM whose device model is dead, if the monitor still has it.
void destroy_in_monitor(const VmIdentity& vm);

} // namespace escalus
