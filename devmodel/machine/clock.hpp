// SPDX-License-Identifier: GPL-2.0-or-later
// Guest time. Every timer of a machine (PIT, HPET, PM timer, RTC, APIC) derives from one Clock, which is tied
// to the guest's TSC, so that the ratios between them are exact: systems measure them at boot.
//
// Time counts nanoseconds since the machine was powered on, and stands still while the machine is paused.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

namespace escalus {

/// Nanoseconds of guest time since power-on.
using GuestTime = std::int64_t;
inline constexpr GuestTime ns_per_second = 1'000'000'000;

__extension__ using Wide = unsigned __int128; // for products of 64-bit numbers (not ISO C++)

/// Ticks of a `hz` oscillator that have passed at guest time `now` (floor), without overflow for centuries.
constexpr std::uint64_t ticks_at(GuestTime now, std::uint64_t hz) {
    return static_cast<std::uint64_t>(static_cast<Wide>(now) * hz / ns_per_second);
}
/// The first guest time at which `ticks` ticks of a `hz` oscillator have passed (the inverse of ticks_at).
constexpr GuestTime time_of_tick(std::uint64_t ticks, std::uint64_t hz) {
    return static_cast<GuestTime>((static_cast<Wide>(ticks) * ns_per_second + hz - 1) / hz);
}

class Timer;

class Clock {
  public:
    virtual ~Clock() = default;
    [[nodiscard]] virtual GuestTime now() const = 0;

  private:
    friend class Timer;
    /// Arrange that timer.fire() is called, with the device lock held, once now() >= deadline. A later call
    /// replaces the deadline.
    virtual void schedule(Timer& timer, GuestTime deadline) = 0;
    virtual void cancel(Timer& timer) = 0;
};

/// A one-shot timer. Re-arm it in its own callback for periodic work: from the last deadline, not from now(),
/// so that no drift creeps in.
class Timer {
  public:
    Timer(Clock& clock, std::function<void()> expired) : clock_{&clock}, expired_{std::move(expired)} {}
    ~Timer() { cancel(); }
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    /// A deadline in the past fires as soon as possible, never from within arm().
    void arm(GuestTime deadline) {
        armed_ = true;
        deadline_ = deadline;
        clock_->schedule(*this, deadline);
    }
    void cancel() {
        if (!armed_)
            return;
        armed_ = false;
        clock_->cancel(*this);
    }
    [[nodiscard]] bool armed() const { return armed_; }
    [[nodiscard]] GuestTime deadline() const { return deadline_; }

    /// For Clock implementations only: the deadline has come.
    void fire() {
        armed_ = false;
        expired_();
    }

  private:
    Clock* clock_;
    std::function<void()> expired_;
    GuestTime deadline_ = 0;
    bool armed_ = false;
};

} // namespace escalus
