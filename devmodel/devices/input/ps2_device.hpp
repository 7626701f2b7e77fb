// SPDX-License-Identifier: GPL-2.0-or-later
// What the keyboard controller sees of a PS/2 device: bytes to it, and bytes from it in order.
// (IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller".)
//
// State: answers to commands and data (keys, motion) that wait for the host. Answers go first, and a new
// command drops the answer to the one before, as on the wire.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <utility>

namespace escalus {

class Ps2Device {
  public:
    virtual ~Ps2Device() = default;

    /// A byte from the host: a command or its argument.
    virtual void receive(std::uint8_t byte) = 0;
    [[nodiscard]] bool has_data() const { return !answers_.empty() || !data_.empty(); }
    /// The next byte for the host. Only when has_data().
    std::uint8_t take() {
        auto& from = answers_.empty() ? data_ : answers_;
        last_sent_ = from.front();
        from.pop_front();
        const auto byte = last_sent_;
        if (!has_data())
            drained();
        return byte;
    }
    /// Called when there is something to take where there was nothing; that may be from within take().
    void on_data(std::function<void()> notify) { notify_ = std::move(notify); }

    static constexpr std::uint8_t ack = 0xfa, resend = 0xfe, self_test_passed = 0xaa;

  protected:
    /// The answer to a command takes the place of one that was not fetched.
    void answer(std::span<const std::uint8_t> bytes) {
        answers_.clear();
        append(answers_, bytes);
    }
    void send(std::span<const std::uint8_t> bytes) { append(data_, bytes); }
    void drop_data() { data_.clear(); }
    void drop_everything() {
        answers_.clear();
        data_.clear();
    }
    [[nodiscard]] std::size_t waiting() const { return data_.size(); }
    [[nodiscard]] std::uint8_t last_sent() const { return last_sent_; }
    /// The host has taken everything.
    virtual void drained() {}

  private:
    void append(std::deque<std::uint8_t>& to, std::span<const std::uint8_t> bytes) {
        const bool was_empty = !has_data();
        to.insert(to.end(), bytes.begin(), bytes.end());
        if (was_empty && has_data() && notify_)
            notify_();
    }

    std::deque<std::uint8_t> answers_;
    std::deque<std::uint8_t> data_;
    std::function<void()> notify_;
    std::uint8_t last_sent_ = 0;
};

} // namespace escalus
