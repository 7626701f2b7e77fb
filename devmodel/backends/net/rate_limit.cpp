// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/net/rate_limit.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

void TokenBucket::fill(GuestTime now) {
    if (now < filled_ + interval_)
        return;
    const auto intervals = static_cast<std::uint64_t>((now - filled_) / interval_);
    filled_ += static_cast<GuestTime>(intervals) * interval_;
    const auto paid = debt_ / grant_ < intervals ? debt_ : intervals * grant_;
    debt_ -= paid;
    if (paid < intervals * grant_) // saturates: a bucket never holds more than one grant
        credit_ = std::min(grant_, credit_ + (intervals * grant_ - paid));
}

bool TokenBucket::take(std::size_t bytes, GuestTime now) {
    fill(now);
    if (bytes <= credit_) {
        credit_ -= bytes;
        return true;
    }
    if (bytes <= grant_ || credit_ < grant_)
        return false;
    debt_ = bytes - std::exchange(credit_, 0);
    return true;
}

RateLimit::RateLimit(std::unique_ptr<NetBackend> inner, Clock& clock, std::uint64_t bytes_per_interval,
                     GuestTime interval)
    : inner_{std::move(inner)},
      clock_{clock},
      bucket_{bytes_per_interval, interval},
      again_{clock, [this] { pass_waiting(); }} {}

void RateLimit::connect(NetCard* card) {
    waiting_.clear();
    waiting_bytes_ = 0;
    inner_->connect(card);
}

void RateLimit::send(std::span<const std::uint8_t> frame, const NetOffload& offload) {
    if (waiting_.empty() && bucket_.take(frame.size(), clock_.now())) {
        inner_->send(frame, offload);
        return;
    }
    if (waiting_bytes_ + frame.size() > most_waiting_bytes)
        return;
    waiting_.push_back({{frame.begin(), frame.end()}, offload});
    waiting_bytes_ += frame.size();
    if (!again_.armed())
        again_.arm(bucket_.next());
}

void RateLimit::pass_waiting() {
    while (!waiting_.empty() && bucket_.take(waiting_.front().frame.size(), clock_.now())) {
        const auto first = std::move(waiting_.front());
        waiting_.pop_front();
        waiting_bytes_ -= first.frame.size();
        inner_->send(first.frame, first.offload);
    }
    if (!waiting_.empty())
        again_.arm(bucket_.next());
}

} // namespace escalus
