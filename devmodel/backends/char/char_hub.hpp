// SPDX-License-Identifier: GPL-2.0-or-later
// The common part of the character backends: any number of connections (descriptors on the Asio loop) that
// share one device. What the device sends goes to each of them, what they send goes to the device in order of
// arrival. Without a connection the device's bytes wait for the next one. All buffers are bounded.
//
// Threads: send(), on_receive() and ready() are called with the device lock held, by any thread. Everything
// that touches a descriptor happens on the loop thread. Completions that come after close() do nothing, not
// even lock: the lock may be gone by then.
#pragma once

#include "devmodel/backends/char/char_backend.hpp"
#include "devmodel/machine/device_lock.hpp"

#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>

namespace escalus {

/// Bytes in order, at most char_buffer_limit of them: the oldest go when there are more.
class BoundedBytes {
  public:
    void append(std::span<const std::uint8_t> data);
    [[nodiscard]] std::vector<std::uint8_t> take(std::size_t limit);
    [[nodiscard]] bool empty() const { return bytes_.empty(); }

  private:
    std::deque<std::uint8_t> bytes_;
};

class CharHub final : public std::enable_shared_from_this<CharHub> {
  public:
    CharHub(boost::asio::io_context& loop, DeviceLock& device_lock);
    ~CharHub();

    void send(std::span<const std::uint8_t> data);
    void on_receive(CharBackend::Receiver receiver) { receiver_ = std::move(receiver); }
    void ready();

    /// Takes over the descriptors; -1 for a direction that does not exist. One that cannot be waited for (a
    /// regular file, /dev/null) counts as not existing. On the loop thread or before the loop runs.
    void attach(int input, int output);
    [[nodiscard]] std::size_t connection_count() const { return connections_.size(); }
    void close();
    [[nodiscard]] bool closed() const { return closed_; }
    [[nodiscard]] DeviceLock& lock() { return lock_; }

  private:
    class Connection;
    void arrived(std::span<const std::uint8_t> data);
    void deliver();
    void ended(const std::shared_ptr<Connection>& connection);

    boost::asio::io_context& loop_;
    DeviceLock& lock_;
    CharBackend::Receiver receiver_;
    std::vector<std::shared_ptr<Connection>> connections_;
    BoundedBytes backlog_;            // from the device, while nobody is connected
    std::vector<std::uint8_t> inbox_; // for the device, until it has room
    bool deliver_posted_ = false;
    bool closed_ = false;
};

/// A backend that is a hub with something that attaches connections to it.
class HubBackend : public CharBackend {
  public:
    HubBackend(boost::asio::io_context& loop, DeviceLock& device_lock, std::string description)
        : hub_{std::make_shared<CharHub>(loop, device_lock)}, description_{std::move(description)} {}
    ~HubBackend() override { hub_->close(); }
    HubBackend(const HubBackend&) = delete;
    HubBackend& operator=(const HubBackend&) = delete;

    void send(std::span<const std::uint8_t> data) override { hub_->send(data); }
    void on_receive(Receiver receiver) override { hub_->on_receive(std::move(receiver)); }
    void ready() override { hub_->ready(); }
    [[nodiscard]] std::string description() const override { return description_; }

  protected:
    [[nodiscard]] const std::shared_ptr<CharHub>& hub() const { return hub_; }
    void describe(std::string description) { description_ = std::move(description); }

  private:
    std::shared_ptr<CharHub> hub_;
    std::string description_;
};

} // namespace escalus
