// SPDX-License-Identifier: GPL-2.0-or-later
// The timers of a clock, fired by an event loop.
//
// The nearest deadline is in one timerfd, whose expiry the loop's thread waits for. Arming from any thread
// only sets that descriptor, and only when the nearest deadline came nearer than it is set; what is due
// already goes to the loop at once.
#pragma once

#include "devmodel/machine/clock.hpp"
#include "devmodel/machine/device_lock.hpp"
#include "devmodel/machine/timer_list.hpp"

#include <memory>

namespace boost::asio {
class io_context;
}

namespace escalus {

class LoopTimers {
  public:
    /// Deadlines are by `clock`. Timers fire on `loop` with `device_lock` held; all calls come with it held.
    LoopTimers(boost::asio::io_context& loop, DeviceLock& device_lock, const Clock& clock);
    ~LoopTimers();
    LoopTimers(const LoopTimers&) = delete;
    LoopTimers& operator=(const LoopTimers&) = delete;

    void set(Timer& timer, GuestTime deadline);
    void remove(Timer& timer);

    /// The clock's time goes on; before the first call it stands still.
    void go_on();
    /// It stands still: no timer fires.
    void hold();

    /// Fires what is due; for the loop, and for tests.
    void fire_due();

  private:
    void program(GuestTime deadline);
    void post();
    void wait();

    struct Alarm; // the timerfd on the loop
    std::shared_ptr<Alarm> alarm_;
    DeviceLock& device_lock_;
    const Clock& clock_;
    TimerList timers_;
    bool running_ = false;
    static constexpr GuestTime never = TimerList::never;
    GuestTime programmed_ = never; ///< the nearest deadline
    GuestTime expires_ = never;    ///< the descriptor, by the clock's time at which it was set
};

} // namespace escalus
