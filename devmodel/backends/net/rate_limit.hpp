// SPDX-License-Identifier: GPL-2.0-or-later
// Holds what a guest sends to a rate, as Xen's netback does (`rate` of xl-network-configuration): there is a
// credit of so many bytes for each interval, a frame that finds none waits for the next. What waits is
// bounded, and beyond that frames are lost.
#pragma once

#include "devmodel/backends/net/net_backend.hpp"
#include "devmodel/machine/clock.hpp"

#include <deque>
#include <memory>
#include <optional>
#include <vector>

namespace escalus {

/// Bytes that may pass: filled up once each interval, and not beyond what one interval grants.
class TokenBucket {
  public:
    TokenBucket(std::uint64_t bytes_per_interval, GuestTime interval)
        : grant_{bytes_per_interval}, interval_{interval}, credit_{bytes_per_interval} {}

    /// True when so many may pass now, and their credit is used. A frame larger than a whole grant passes
    /// when the bucket is full, and is paid off over the next intervals.
    bool take(std::size_t bytes, GuestTime now);
    /// When it is worth trying again.
    [[nodiscard]] GuestTime next() const { return filled_ + interval_; }

  private:
    void fill(GuestTime now);

    std::uint64_t grant_;
    GuestTime interval_;
    std::uint64_t credit_, debt_ = 0;
    GuestTime filled_ = 0;
};

class RateLimit final : public NetBackend {
  public:
    static constexpr std::size_t most_waiting_bytes = 256 * 1024;

    RateLimit(std::unique_ptr<NetBackend> inner, Clock& clock, std::uint64_t bytes_per_interval,
              GuestTime interval);

    [[nodiscard]] std::string description() const override { return inner_->description(); }
    void connect(NetCard* card) override;
    [[nodiscard]] bool link_up() const override { return inner_->link_up(); }
    void send(std::span<const std::uint8_t> frame, const NetOffload& offload) override;
    void card_ready() override { inner_->card_ready(); }
    void accept_offloads(bool checksum, bool tcp4, bool tcp6) override {
        inner_->accept_offloads(checksum, tcp4, tcp6);
    }

  private:
    struct Waiting {
        std::vector<std::uint8_t> frame;
        NetOffload offload;
    };
    void pass_waiting();

    std::unique_ptr<NetBackend> inner_;
    Clock& clock_;
    TokenBucket bucket_;
    std::deque<Waiting> waiting_;
    std::size_t waiting_bytes_ = 0;
    Timer again_;
};

} // namespace escalus
