// SPDX-License-Identifier: GPL-2.0-or-later
// The timer of a local APIC: one-shot, periodic and TSC-deadline.
//
// Specification: Intel SDM volume 3, 11.5.4 "APIC Timer".
// State: initial count, divider, when the count began; or the deadline.
// The bus clock is 1 GHz, so a tick is exactly one nanosecond of guest time times the divider. The current
// count is a function of guest time; a host timer runs only while the LVT entry is not masked. See
// edge_pacer.hpp for what happens when the host is late.
#pragma once

#include "devmodel/devices/chipset/edge_pacer.hpp"
#include "devmodel/machine/clock.hpp"

#include <cstdint>
#include <functional>

namespace escalus {

/// Guest time to and from one vCPU's TSC. The machine implements it: the guest may write its TSC.
class TscClock {
  public:
    virtual ~TscClock() = default;
    [[nodiscard]] virtual std::uint64_t tsc_at(GuestTime time) const = 0;
    /// The first guest time at which the TSC is at least `tsc`; INT64_MAX when that is out of reach.
    [[nodiscard]] virtual GuestTime time_of_tsc(std::uint64_t tsc) const = 0;
};

class ApicTimer {
  public:
    enum class Mode : std::uint8_t { OneShot = 0, Periodic = 1, TscDeadline = 2, Reserved = 3 };

    /// `expired` is called for each expiry while not masked. `tsc` may be null: then there is no TSC-deadline
    /// mode.
    ApicTimer(Clock& clock, const TscClock* tsc, std::function<void()> expired);

    void reset();
    void set_mode(Mode mode, bool masked);
    void set_initial_count(std::uint32_t count);
    [[nodiscard]] std::uint32_t initial_count() const { return initial_; }
    [[nodiscard]] std::uint32_t current_count() const;
    /// The divide configuration register: bits 3, 1 and 0.
    void set_divide(std::uint32_t value);
    [[nodiscard]] std::uint32_t divide() const { return divide_; }
    void set_tsc_deadline(std::uint64_t tsc);
    [[nodiscard]] std::uint64_t tsc_deadline() const;
    /// The guest's TSC was changed.
    void tsc_changed();

  private:
    [[nodiscard]] GuestTime divisor() const;
    [[nodiscard]] GuestTime next_expiry() const;
    void advance();
    void rebase();
    void deliver_owed();
    void settle();
    void fire();

    Clock& clock_;
    const TscClock* tsc_;
    std::function<void()> expired_;
    Timer timer_;
    EdgePacer pacer_;
    Mode mode_ = Mode::OneShot;
    bool masked_ = true;
    std::uint32_t divide_ = 0;
    std::uint32_t initial_ = 0;
    bool running_ = false;
    GuestTime base_ = 0; // when the count was base_count_
    std::uint32_t base_count_ = 0;
    std::uint64_t deadline_ = 0; // TSC value; 0: not armed
};

} // namespace escalus
