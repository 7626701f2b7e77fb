// SPDX-License-Identifier: GPL-2.0-or-later
// Finding the guest that a command is about.
#pragma once

#include "devmodel/cli/runtime_directory.hpp"

namespace escalus {

/// Clears away what dead guests left, as far as the caller may.
void reap();

/// The running guest of this name, after reap(). Throws std::runtime_error that names the nearest one.
[[nodiscard]] FoundGuest running_guest(const std::string& name);

} // namespace escalus
