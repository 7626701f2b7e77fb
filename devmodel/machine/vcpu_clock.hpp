// SPDX-License-Identifier: GPL-2.0-or-later
// The clock of what belongs to one vCPU: its local APIC's timer. It is the machine's time, but the vCPU's own
// thread fires these timers: no other thread runs, or takes it out of guest mode, for a guest's tick.
//
// State: the armed timers, and the host's TSC when the nearest is due.
#pragma once

#include "devmodel/machine/guest_clock.hpp"
#include "devmodel/machine/timer_list.hpp"

#include <functional>
#include <utility>

namespace escalus {

class VcpuClock final : public Clock {
  public:
    /// `sooner` is called when the nearest deadline comes nearer: the thread may be waiting for a later one.
    VcpuClock(GuestClock& machine, std::function<void()> sooner)
        : machine_{machine}, sooner_{std::move(sooner)} {}

    [[nodiscard]] GuestTime now() const override { return machine_.now(); }
    /// Of the nearest timer; TimerList::never when there is none.
    [[nodiscard]] GuestTime deadline() const { return deadline_; }
    /// The same by the host's TSC; 0 when there is none.
    [[nodiscard]] std::uint64_t deadline_tsc() const { return deadline_tsc_; }

    void fire_due() {
        if (!machine_.running())
            return;
        firing_ = true;
        timers_.fire_due(now());
        firing_ = false;
        take_nearest();
    }
    /// The machine's time went on after it stood still: the host's TSC when the nearest is due is another.
    void resumed() { take_nearest(); }

  private:
    void schedule(Timer& timer, GuestTime deadline) override {
        timers_.set(timer, deadline);
        const auto before = deadline_;
        take_nearest();
        if (deadline_ < before && !firing_)
            sooner_();
    }
    void cancel(Timer& timer) override {
        timers_.remove(timer);
        take_nearest();
    }
    void take_nearest() {
        deadline_ = timers_.nearest();
        deadline_tsc_ = machine_.tsc_when_due(deadline_);
    }

    GuestClock& machine_;
    std::function<void()> sooner_;
    TimerList timers_;
    GuestTime deadline_ = TimerList::never;
    std::uint64_t deadline_tsc_ = 0;
    bool firing_ = false;
};

} // namespace escalus
