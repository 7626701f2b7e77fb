// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/guest_clock.hpp"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <sys/timerfd.h>
#include <system_error>
#include <unistd.h>

namespace escalus {

namespace {
std::int64_t host_ns() {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC_RAW, &t);
    return t.tv_sec * ns_per_second + t.tv_nsec;
}
} // namespace

TscMeter::TscMeter() : first_{take()} {}

TscMeter::Sample TscMeter::take() {
    // The reading between the two TSC readings that lie closest together was disturbed least.
    Sample best{};
    auto best_width = ~0ull;
    for (unsigned i = 0; i < 16; ++i) {
        const auto before = host_tsc();
        const auto ns = host_ns();
        const auto after = host_tsc();
        if (after - before < best_width) {
            best_width = after - before;
            best = {before + (after - before) / 2, ns};
        }
    }
    return best;
}

std::uint64_t TscMeter::result() const {
    constexpr std::int64_t shortest = 50'000'000;
    const auto passed = host_ns() - first_.ns;
    if (passed < shortest) { // once, when a machine is built in less
        const timespec rest{0, static_cast<long>(shortest - passed)};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, nullptr);
    }
    const auto last = take();
    return static_cast<std::uint64_t>(static_cast<Wide>(last.tsc - first_.tsc) * ns_per_second /
                                      static_cast<std::uint64_t>(last.ns - first_.ns));
}

GuestTime TscScale::time_of(std::uint64_t ticks) const {
    const auto ns = (static_cast<Wide>(ticks) * ns_per_second + hz_ - 1) / hz_;
    return ns > INT64_MAX ? INT64_MAX : static_cast<GuestTime>(ns);
}

struct GuestClock::Alarm {
    explicit Alarm(boost::asio::io_context& loop) : descriptor{loop} {
        const int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        if (fd < 0)
            throw std::system_error{errno, std::generic_category(), "timerfd"};
        descriptor.assign(fd);
    }
    boost::asio::posix::stream_descriptor descriptor;
    GuestClock* owner = nullptr;
    bool posted = false; // what is due is on its way through the loop
};

GuestClock::GuestClock(boost::asio::io_context& loop, DeviceLock& device_lock, TscSource tsc)
    : alarm_{std::make_shared<Alarm>(loop)}, device_lock_{device_lock}, tsc_{tsc} {
    alarm_->owner = this;
    wait();
}

GuestClock::~GuestClock() {
    alarm_->owner = nullptr;
    boost::system::error_code ignored;
    alarm_->descriptor.close(ignored);
}

void GuestClock::set_frequency(std::uint64_t hz) {
    scale_ = TscScale{hz};
}

void GuestClock::wait() {
    alarm_->descriptor.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                                  [alarm = alarm_](const boost::system::error_code& error) {
                                      auto* clock = alarm->owner;
                                      if (error || clock == nullptr)
                                          return;
                                      std::uint64_t expirations = 0;
                                      const auto got = ::read(alarm->descriptor.native_handle(), &expirations,
                                                              sizeof expirations);
                                      if (got == sizeof expirations) {
                                          const std::lock_guard lock{clock->device_lock_};
                                          clock->expires_ = never;
                                          clock->fire_due();
                                      }
                                      clock->wait();
                                  });
}

void GuestClock::pause() {
    if (!running_)
        return;
    frozen_ticks_ = tsc_() - base_;
    frozen_ = scale_.to_ns(frozen_ticks_);
    running_ = false;
    program(never);
}

std::uint64_t GuestClock::resume() {
    if (running_)
        return 0;
    const auto before = base_;
    base_ = tsc_() - frozen_ticks_;
    running_ = true;
    program(timers_.nearest());
    return base_ - before;
}

std::uint64_t GuestClock::tsc_when_due(GuestTime deadline) const {
    // One more than rounding takes off: then the deadline has come by the clock, too.
    return deadline == never ? 0 : base_ + scale_.to_ticks(std::max<GuestTime>(deadline, 0)) + 2;
}

void GuestClock::schedule(Timer& timer, GuestTime deadline) {
    timers_.set(timer, deadline);
    if (running_ && deadline < programmed_)
        program(deadline);
}

void GuestClock::cancel(Timer& timer) {
    // The descriptor is left as it is: should it expire for nothing, fire_due() sets it right.
    timers_.remove(timer);
}

void GuestClock::program(GuestTime deadline) {
    programmed_ = deadline;
    if (deadline >= expires_)
        return; // the descriptor expires early enough; also when that is for nothing by then
    const auto rest = deadline - now();
    if (rest <= 0)
        return post();
    // A day at most, so that no conversion overflows.
    const auto soon = std::min<GuestTime>(rest, 86400 * ns_per_second);
    const itimerspec when{{}, {soon / ns_per_second, soon % ns_per_second}};
    timerfd_settime(alarm_->descriptor.native_handle(), 0, &when, nullptr);
    expires_ = deadline;
}

/// What is due already needs no timer, which would cost the host an interrupt.
void GuestClock::post() {
    if (std::exchange(alarm_->posted, true))
        return;
    boost::asio::post(alarm_->descriptor.get_executor(), [alarm = alarm_] {
        auto* clock = alarm->owner;
        if (clock == nullptr)
            return;
        const std::lock_guard lock{clock->device_lock_};
        alarm->posted = false;
        clock->fire_due();
    });
}

void GuestClock::fire_due() {
    if (!running_)
        return;
    programmed_ = INT64_MIN; // what is armed meanwhile is seen below: no need to program it twice
    timers_.fire_due(now());
    program(timers_.nearest());
}

} // namespace escalus
