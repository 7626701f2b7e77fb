// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/host/thread_affinity.hpp"

#include <cstring>
#include <stdexcept>

#include <fmt/format.h>
#include <sched.h>

namespace escalus {

void set_affinity(pthread_t thread, const CpuMask& cpus) {
    static_assert(CPU_SETSIZE >= host_cpus_max);
    cpu_set_t available, chosen;
    CPU_ZERO(&available);
    CPU_ZERO(&chosen);
    if (sched_getaffinity(0, sizeof available, &available) != 0)
        throw std::runtime_error{fmt::format("the CPUs cannot be asked for: {}", std::strerror(errno))};
    for (std::size_t cpu = 0; cpu < host_cpus_max; ++cpu)
        if (cpus.test(cpu) && CPU_ISSET(cpu, &available))
            CPU_SET(cpu, &chosen);
    if (CPU_COUNT(&chosen) == 0)
        throw std::runtime_error{fmt::format("none of the CPUs that `cpus` names is there for the guest: the "
                                             "control OS has {} for it",
                                             CPU_COUNT(&available))};
    if (const int error = pthread_setaffinity_np(thread, sizeof chosen, &chosen); error != 0)
        throw std::runtime_error{fmt::format("a vCPU's thread cannot be pinned: {}", std::strerror(error))};
}

} // namespace escalus
