// SPDX-License-Identifier: GPL-2.0-or-later
// The machine's Clock: guest time is the host's TSC, counted from power-on and scaled to nanoseconds, less
// the time that the machine was paused. A guest's TSC is the host's, scaled, plus an offset, so every timer
// keeps an exact ratio to the TSC that the guest sees.
#pragma once

#include "devmodel/machine/clock.hpp"
#include "devmodel/machine/device_lock.hpp"
#include "devmodel/machine/loop_timers.hpp"

#include <cstdint>

namespace escalus {

/// The time stamp counter of the CPU this runs on.
[[nodiscard]] inline std::uint64_t host_tsc() {
    return __builtin_ia32_rdtsc();
}

/// Measures the TSC against the host's unadjusted clock, from construction to result().
class TscMeter {
  public:
    TscMeter();
    /// Hz. Waits until enough time has passed since construction for some parts in a million.
    [[nodiscard]] std::uint64_t result() const;

  private:
    struct Sample {
        std::uint64_t tsc;
        std::int64_t ns;
    };
    static Sample take();
    Sample first_;
};

/// Conversions between TSC ticks and nanoseconds, without overflow for centuries.
class TscScale {
  public:
    explicit TscScale(std::uint64_t hz)
        : hz_{hz},
          ns_per_tick_{static_cast<std::uint64_t>((static_cast<Wide>(ns_per_second) << shift) / hz)} {}
    [[nodiscard]] std::uint64_t hz() const { return hz_; }
    [[nodiscard]] GuestTime to_ns(std::uint64_t ticks) const {
        return static_cast<GuestTime>(static_cast<Wide>(ticks) * ns_per_tick_ >> shift);
    }
    /// Ticks that have passed at `time`.
    [[nodiscard]] std::uint64_t to_ticks(GuestTime time) const { return ticks_at(time, hz_); }
    /// The first time at which that many ticks have passed; INT64_MAX when that is out of reach.
    [[nodiscard]] GuestTime time_of(std::uint64_t ticks) const;

  private:
    static constexpr unsigned shift = 60; // ns_per_tick_ fits for 63 MHz and more
    std::uint64_t hz_;
    std::uint64_t ns_per_tick_;
};

class GuestClock final : public Clock {
  public:
    using TscSource = std::uint64_t (*)();

    /// Stands still at 0 until resume(). Timers fire on `loop` with `device_lock` held. All other calls but
    /// now() come with that lock held.
    GuestClock(boost::asio::io_context& loop, DeviceLock& device_lock, TscSource tsc = host_tsc);

    /// Before the first resume().
    void set_frequency(std::uint64_t hz);
    [[nodiscard]] const TscScale& scale() const { return scale_; }

    [[nodiscard]] GuestTime now() const override { return running_ ? scale_.to_ns(tsc_() - base_) : frozen_; }
    /// The host's TSC at guest time 0, or what it would have been without the pauses.
    [[nodiscard]] std::uint64_t base() const { return base_; }
    /// The host's TSC that belongs to now().
    [[nodiscard]] std::uint64_t reference_tsc() const { return running_ ? tsc_() : base_ + frozen_ticks_; }
    [[nodiscard]] bool running() const { return running_; }
    void pause();
    /// Returns by how much the base moved: what has to be taken off the TSC offset of each vCPU.
    std::uint64_t resume();

    /// The host's TSC when a timer is due that has this deadline, as long as time does not stand still; 0 for
    /// TimerList::never.
    [[nodiscard]] std::uint64_t tsc_when_due(GuestTime deadline) const;

    /// Fires what is due; for the loop, and for tests.
    void fire_due() { timers_.fire_due(); }

  private:
    void schedule(Timer& timer, GuestTime deadline) override { timers_.set(timer, deadline); }
    void cancel(Timer& timer) override { timers_.remove(timer); }

    TscSource tsc_;
    TscScale scale_{ns_per_second};
    bool running_ = false;
    std::uint64_t base_ = 0;
    std::uint64_t frozen_ticks_ = 0;
    GuestTime frozen_ = 0;
    LoopTimers timers_;
};

} // namespace escalus
