// SPDX-License-Identifier: GPL-2.0-or-later
// Which CPUs of the control OS a thread may run on.
#pragma once

#include "devmodel/config/cpu_list.hpp"

#include <pthread.h>

namespace escalus {

/// CPUs of the mask that are not there, or not ours to use, are left out. Throws std::runtime_error when none
/// is left.
void set_affinity(pthread_t thread, const CpuMask& cpus);

} // namespace escalus
