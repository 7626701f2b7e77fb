// SPDX-License-Identifier: GPL-2.0-or-later
// A clock that moves when it is told to: for unit tests of everything that keeps time.
#pragma once

#include "devmodel/machine/clock.hpp"

#include <algorithm>
#include <vector>

namespace escalus {

class ManualClock final : public Clock {
  public:
    [[nodiscard]] GuestTime now() const override { return now_; }

    /// Moves time on, firing the timers that fall due in order of their deadlines, each at its own time.
    void advance(GuestTime by) {
        const GuestTime target = now_ + by;
        for (;;) {
            auto next = std::ranges::min_element(timers_, {}, [](const Entry& e) { return e.deadline; });
            if (next == timers_.end() || next->deadline > target)
                break;
            Timer* timer = next->timer;
            now_ = std::max(now_, next->deadline);
            timers_.erase(next);
            timer->fire();
        }
        now_ = target;
    }

  private:
    struct Entry {
        Timer* timer;
        GuestTime deadline;
    };
    void schedule(Timer& timer, GuestTime deadline) override {
        cancel(timer);
        timers_.push_back({&timer, deadline});
    }
    void cancel(Timer& timer) override {
        std::erase_if(timers_, [&](const Entry& e) { return e.timer == &timer; });
    }

    GuestTime now_ = 0;
    std::vector<Entry> timers_;
};

} // namespace escalus
