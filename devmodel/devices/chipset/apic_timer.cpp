// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/apic_timer.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

ApicTimer::ApicTimer(Clock& clock, const TscClock* tsc, std::function<void()> expired)
    : clock_{clock}, tsc_{tsc}, expired_{std::move(expired)}, timer_{clock, [this] { fire(); }} {}

void ApicTimer::reset() {
    timer_.cancel();
    pacer_.clear();
    mode_ = Mode::OneShot;
    masked_ = true;
    divide_ = 0;
    initial_ = 0;
    running_ = false;
    deadline_ = 0;
}

GuestTime ApicTimer::divisor() const {
    // Bits 3, 1, 0: 000 divides by 2, 001 by 4 ... 110 by 128, 111 by 1.
    const unsigned code = (divide_ & 3) | (divide_ >> 1 & 4);
    return 1 << ((code + 1) & 7);
}

std::uint32_t ApicTimer::current_count() const {
    if (!running_ || mode_ == Mode::TscDeadline)
        return 0;
    const std::int64_t ticks = (clock_.now() - base_) / divisor();
    if (ticks < base_count_)
        return static_cast<std::uint32_t>(base_count_ - ticks);
    if (mode_ != Mode::Periodic)
        return 0;
    return static_cast<std::uint32_t>(initial_ - (ticks - base_count_) % initial_);
}

GuestTime ApicTimer::next_expiry() const {
    return base_ + base_count_ * divisor();
}

/// Brings the counter up to now: expiries that came due are owed, if anybody can see them.
void ApicTimer::advance() {
    if (mode_ == Mode::TscDeadline) {
        if (masked_ && deadline_ != 0 && tsc_->tsc_at(clock_.now()) >= deadline_)
            deadline_ = 0;
        return;
    }
    if (!running_ || clock_.now() < next_expiry())
        return;
    std::uint64_t expiries = 1;
    if (mode_ == Mode::Periodic) {
        const GuestTime period = initial_ * divisor(), first = next_expiry();
        const GuestTime further = (clock_.now() - first) / period;
        expiries += static_cast<std::uint64_t>(further);
        base_ = first + further * period;
        base_count_ = initial_;
    } else {
        running_ = false;
    }
    if (!masked_)
        pacer_.add(expiries);
}

void ApicTimer::settle() {
    const GuestTime now = clock_.now();
    if (masked_) {
        pacer_.clear();
        timer_.cancel();
    } else if (mode_ == Mode::TscDeadline) {
        if (deadline_ != 0)
            timer_.arm(std::max(tsc_->time_of_tsc(deadline_), now + 1));
        else
            timer_.cancel();
    } else if (running_ || pacer_.owes()) {
        const GuestTime next = running_ ? next_expiry() : INT64_MAX;
        const GuestTime period = mode_ == Mode::Periodic ? initial_ * divisor() : 0;
        timer_.arm(pacer_.deadline(now, next, period));
    } else {
        timer_.cancel();
    }
}

void ApicTimer::fire() {
    const GuestTime now = clock_.now();
    if (mode_ == Mode::TscDeadline) {
        if (deadline_ != 0 && tsc_->tsc_at(now) >= deadline_) {
            deadline_ = 0;
            expired_();
        }
    } else {
        advance();
        deliver_owed();
    }
    settle();
}

void ApicTimer::deliver_owed() {
    if (pacer_.take(clock_.now()))
        expired_();
}

void ApicTimer::set_mode(Mode mode, bool masked) {
    advance();
    if ((mode == Mode::TscDeadline) != (mode_ == Mode::TscDeadline)) { // a change disarms (11.5.4.1)
        running_ = false;
        initial_ = 0;
        deadline_ = 0;
        pacer_.clear();
    } else if (running_) {
        rebase();
    }
    mode_ = mode;
    masked_ = masked;
    settle();
}

void ApicTimer::rebase() {
    base_count_ = current_count();
    base_ = clock_.now();
}

void ApicTimer::set_initial_count(std::uint32_t count) {
    if (mode_ == Mode::TscDeadline)
        return;
    advance();
    deliver_owed(); // what came due before goes first
    pacer_.clear();
    initial_ = base_count_ = count;
    base_ = clock_.now();
    running_ = count != 0;
    settle();
}

void ApicTimer::set_divide(std::uint32_t value) {
    advance();
    if (running_)
        rebase(); // the count goes on from where it is, at the new rate
    divide_ = value & 0xb;
    settle();
}

void ApicTimer::set_tsc_deadline(std::uint64_t tsc) {
    if (mode_ != Mode::TscDeadline || tsc_ == nullptr)
        return;
    deadline_ = tsc;
    tsc_changed();
}

std::uint64_t ApicTimer::tsc_deadline() const {
    return mode_ == Mode::TscDeadline ? deadline_ : 0;
}

void ApicTimer::tsc_changed() {
    if (mode_ != Mode::TscDeadline)
        return;
    if (deadline_ != 0 && tsc_->tsc_at(clock_.now()) >= deadline_) {
        deadline_ = 0;
        timer_.cancel();
        if (!masked_)
            expired_();
        return;
    }
    settle();
}

} // namespace escalus
