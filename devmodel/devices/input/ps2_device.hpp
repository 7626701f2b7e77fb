// SPDX-License-Identifier: GPL-2.0-or-later
// What the keyboard controller sees of a PS/2 device: bytes to it, and a queue of bytes from it.
// (IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller".)
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <utility>

namespace escalus {

class Ps2Device {
  public:
    virtual ~Ps2Device() = default;

    /// A byte from the host: a command or its argument. It drops what waits to be sent, as on the wire.
    virtual void receive(std::uint8_t byte) = 0;
    /// The next byte for the host. Only when has_data().
    std::uint8_t take() {
        const auto byte = queue_.front();
        queue_.pop_front();
        last_sent_ = byte;
        if (queue_.empty())
            drained();
        return byte;
    }
    [[nodiscard]] bool has_data() const { return !queue_.empty(); }
    /// Called when the queue gets its first byte.
    void on_data(std::function<void()> notify) { notify_ = std::move(notify); }

    static constexpr std::uint8_t ack = 0xfa, resend = 0xfe, self_test_passed = 0xaa;

  protected:
    void queue(std::initializer_list<std::uint8_t> bytes) {
        const bool was_empty = queue_.empty();
        queue_.insert(queue_.end(), bytes.begin(), bytes.end());
        if (was_empty && !queue_.empty() && notify_)
            notify_();
    }
    void clear_queue() { queue_.clear(); }
    [[nodiscard]] std::size_t queued() const { return queue_.size(); }
    [[nodiscard]] std::uint8_t last_sent() const { return last_sent_; }
    /// The host has taken everything.
    virtual void drained() {}

  private:
    std::deque<std::uint8_t> queue_;
    std::function<void()> notify_;
    std::uint8_t last_sent_ = 0;
};

} // namespace escalus
