// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/loop_timers.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <sys/timerfd.h>
#include <system_error>
#include <unistd.h>

namespace escalus {

struct LoopTimers::Alarm {
    explicit Alarm(boost::asio::io_context& loop) : descriptor{loop} {
        const int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        if (fd < 0)
            throw std::system_error{errno, std::generic_category(), "timerfd"};
        descriptor.assign(fd);
    }
    boost::asio::posix::stream_descriptor descriptor;
    LoopTimers* owner = nullptr;
    bool posted = false; // what is due is on its way through the loop
};

LoopTimers::LoopTimers(boost::asio::io_context& loop, DeviceLock& device_lock, const Clock& clock)
    : alarm_{std::make_shared<Alarm>(loop)}, device_lock_{device_lock}, clock_{clock} {
    alarm_->owner = this;
    wait();
}

LoopTimers::~LoopTimers() {
    alarm_->owner = nullptr;
    boost::system::error_code ignored;
    alarm_->descriptor.close(ignored);
}

void LoopTimers::wait() {
    alarm_->descriptor.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                                  [alarm = alarm_](const boost::system::error_code& error) {
                                      auto* timers = alarm->owner;
                                      if (error || timers == nullptr)
                                          return;
                                      std::uint64_t expirations = 0;
                                      const auto got = ::read(alarm->descriptor.native_handle(), &expirations,
                                                              sizeof expirations);
                                      if (got == sizeof expirations) {
                                          const std::lock_guard lock{timers->device_lock_};
                                          timers->expires_ = never;
                                          timers->fire_due();
                                      }
                                      timers->wait();
                                  });
}

void LoopTimers::go_on() {
    running_ = true;
    program(timers_.nearest());
}

void LoopTimers::hold() {
    running_ = false;
    program(never);
}

void LoopTimers::set(Timer& timer, GuestTime deadline) {
    timers_.set(timer, deadline);
    if (running_ && deadline < programmed_)
        program(deadline);
}

void LoopTimers::remove(Timer& timer) {
    // The descriptor is left as it is: should it expire for nothing, fire_due() sets it right.
    timers_.remove(timer);
}

void LoopTimers::program(GuestTime deadline) {
    programmed_ = deadline;
    if (deadline >= expires_)
        return; // the descriptor expires early enough; also when that is for nothing by then
    const auto rest = deadline - clock_.now();
    if (rest <= 0)
        return post();
    // A day at most, so that no conversion overflows.
    const auto soon = std::min<GuestTime>(rest, 86400 * ns_per_second);
    const itimerspec when{{}, {soon / ns_per_second, soon % ns_per_second}};
    timerfd_settime(alarm_->descriptor.native_handle(), 0, &when, nullptr);
    expires_ = deadline;
}

/// What is due already needs no timer, which would cost the host an interrupt.
void LoopTimers::post() {
    if (std::exchange(alarm_->posted, true))
        return;
    boost::asio::post(alarm_->descriptor.get_executor(), [alarm = alarm_] {
        auto* timers = alarm->owner;
        if (timers == nullptr)
            return;
        const std::lock_guard lock{timers->device_lock_};
        alarm->posted = false;
        timers->fire_due();
    });
}

void LoopTimers::fire_due() {
    if (!running_)
        return;
    programmed_ = INT64_MIN; // what is armed meanwhile is seen below: no need to program it twice
    timers_.fire_due(clock_.now());
    program(timers_.nearest());
}

} // namespace escalus
