// SPDX-License-Identifier: GPL-2.0-or-later
// The machine's time for devices whose timers another loop than the machine's fires: network cards'.
#pragma once

#include "devmodel/machine/guest_clock.hpp"
#include "devmodel/machine/loop_timers.hpp"

namespace escalus {

class LoopClock final : public Clock {
  public:
    LoopClock(boost::asio::io_context& loop, DeviceLock& device_lock, const GuestClock& machine)
        : machine_{machine}, timers_{loop, device_lock, machine} {}

    [[nodiscard]] GuestTime now() const override { return machine_.now(); }

    /// The machine's time stands still, or goes on: after the machine's clock has heard of it.
    void paused() { timers_.hold(); }
    void resumed() { timers_.go_on(); }

  private:
    void schedule(Timer& timer, GuestTime deadline) override { timers_.set(timer, deadline); }
    void cancel(Timer& timer) override { timers_.remove(timer); }

    const GuestClock& machine_;
    LoopTimers timers_;
};

} // namespace escalus
