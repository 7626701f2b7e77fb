// SPDX-License-Identifier: GPL-2.0-or-later
// A clock that moves when it is told to: for unit tests of everything that keeps time.
#pragma once

#include "devmodel/machine/timer_list.hpp"

#include <algorithm>

namespace escalus {

class ManualClock final : public Clock {
  public:
    [[nodiscard]] GuestTime now() const override { return now_; }

    /// Moves time on, firing the timers that fall due in order of their deadlines, each at its own time.
    void advance(GuestTime by) {
        const GuestTime target = now_ + by;
        for (auto next = timers_.nearest(); next <= target; next = timers_.nearest()) {
            now_ = std::max(now_, next);
            timers_.fire_due(now_);
        }
        now_ = target;
    }

  private:
    void schedule(Timer& timer, GuestTime deadline) override { timers_.set(timer, deadline); }
    void cancel(Timer& timer) override { timers_.remove(timer); }

    GuestTime now_ = 0;
    TimerList timers_;
};

} // namespace escalus
