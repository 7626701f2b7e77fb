// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/guest_clock.hpp"

#include <algorithm>
#include <ctime>

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

GuestClock::GuestClock(boost::asio::io_context& loop, DeviceLock& device_lock, TscSource tsc)
    : tsc_{tsc}, timers_{loop, device_lock, *this} {}

void GuestClock::set_frequency(std::uint64_t hz) {
    scale_ = TscScale{hz};
}

void GuestClock::pause() {
    if (!running_)
        return;
    frozen_ticks_ = tsc_() - base_;
    frozen_ = scale_.to_ns(frozen_ticks_);
    running_ = false;
    timers_.hold();
}

std::uint64_t GuestClock::resume() {
    if (running_)
        return 0;
    const auto before = base_;
    base_ = tsc_() - frozen_ticks_;
    running_ = true;
    timers_.go_on();
    return base_ - before;
}

std::uint64_t GuestClock::tsc_when_due(GuestTime deadline) const {
    // One more than rounding takes off: then the deadline has come by the clock, too.
    return deadline == TimerList::never ? 0 : base_ + scale_.to_ticks(std::max<GuestTime>(deadline, 0)) + 2;
}

} // namespace escalus
