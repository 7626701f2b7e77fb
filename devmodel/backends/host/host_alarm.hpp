// SPDX-License-Identifier: GPL-2.0-or-later
// Time from the control OS for a vCPU's thread: an interrupt while it is in guest mode, precise sleep while
// it is not.
#pragma once

#include "devmodel/backends/host/descriptor.hpp"

#include <chrono>

namespace escalus {

/// A timer that nobody waits for. What it is for is its interrupt, which comes to the CPU where it was set
/// and takes that out of guest mode; the monitor then sees the vCPU's deadline. Should the thread have moved
/// to another CPU meanwhile, the scheduler's next tick there does the same, some milliseconds later.
class HostAlarm {
  public:
    /// Throws std::system_error.
    HostAlarm();
    /// Replaces what was set before. `from_now` is more than 0 and at most some years.
    void set(std::chrono::nanoseconds from_now);

  private:
    Descriptor timer_;
};

/// The calling thread, and those that it starts from now on, end waiting when they said, and not up to 50 us
/// later, which is how long Linux may wait for other timers to come due.
void sleep_precisely();

} // namespace escalus
