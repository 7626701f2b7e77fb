// SPDX-License-Identifier: GPL-2.0-or-later
// What a periodic timer does when the host is late: bounded catch-up.
//
// A timer whose interrupts are edges (8254, HPET, local APIC) counts the edges that came due, and delivers
// one at a time. When several came due at once (the process was not scheduled, or the guest asked for a rate
// that no host can keep), up to `backlog_max` of them are kept and delivered half a period apart, so that
// guests that count ticks keep time over short stalls; the rest is dropped, as a machine with interrupts off
// for long would drop them. No edge follows another within `spacing_min`, so a guest cannot make its device
// model spin. What a guest *reads* from a counter never depends on any of this.
#pragma once

#include "devmodel/machine/clock.hpp"

#include <algorithm>
#include <cstdint>

namespace escalus {

class EdgePacer {
  public:
    static constexpr std::uint64_t backlog_max = 16;
    static constexpr GuestTime spacing_min = 40'000; ///< ns: 25,000 interrupts a second

    /// `edges` more edges came due.
    void add(std::uint64_t edges) { owed_ = std::min(backlog_max, owed_ + std::min(edges, backlog_max)); }
    /// Takes one edge for delivery at `now`, if one is owed and not too soon.
    [[nodiscard]] bool take(GuestTime now) {
        if (owed_ == 0 || now < earliest_)
            return false;
        --owed_;
        earliest_ = now + spacing_min;
        return true;
    }
    /// When to look again: for an owed edge, or for the one that comes due at `next`.
    [[nodiscard]] GuestTime deadline(GuestTime now, GuestTime next, GuestTime period) const {
        return std::max(owed_ != 0 ? std::min(next, now + period / 2) : next, earliest_);
    }
    [[nodiscard]] bool owes() const { return owed_ != 0; }
    /// Forgets what is owed: the timer was reprogrammed.
    void clear() { *this = {}; }

  private:
    std::uint64_t owed_ = 0;
    GuestTime earliest_ = 0;
};

} // namespace escalus
