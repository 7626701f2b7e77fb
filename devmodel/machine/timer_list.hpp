// SPDX-License-Identifier: GPL-2.0-or-later
// The armed timers of a clock. Some dozen at most: a scan is faster than anything ordered.
#pragma once

#include "devmodel/machine/clock.hpp"

#include <algorithm>
#include <vector>

namespace escalus {

class TimerList {
  public:
    static constexpr GuestTime never = INT64_MAX;

    void set(Timer& timer, GuestTime deadline) {
        const auto found = std::ranges::find(entries_, &timer, &Entry::timer);
        if (found != entries_.end())
            found->deadline = deadline;
        else
            entries_.push_back({&timer, deadline});
    }
    void remove(Timer& timer) {
        if (const auto found = std::ranges::find(entries_, &timer, &Entry::timer); found != entries_.end())
            erase(found);
    }
    /// The nearest deadline, or `never`.
    [[nodiscard]] GuestTime nearest() const {
        const auto next = std::ranges::min_element(entries_, {}, &Entry::deadline);
        return next == entries_.end() ? never : next->deadline;
    }
    /// Fires what is due at `time`, in the order of the deadlines; each timer at most once: one that arms
    /// itself in the past must not hold the caller.
    void fire_due(GuestTime time) {
        std::vector<Entry> due;
        for (const auto& entry : entries_)
            if (entry.deadline <= time)
                due.push_back(entry);
        std::ranges::sort(due, {}, &Entry::deadline);
        for (const auto& entry : due) {
            const auto found = std::ranges::find(entries_, entry.timer, &Entry::timer);
            if (found == entries_.end() || found->deadline != entry.deadline)
                continue; // cancelled or moved by one that fired before
            erase(found);
            entry.timer->fire();
        }
    }

  private:
    struct Entry {
        Timer* timer;
        GuestTime deadline;
    };
    void erase(std::vector<Entry>::iterator entry) {
        *entry = entries_.back();
        entries_.pop_back();
    }

    std::vector<Entry> entries_;
};

} // namespace escalus
