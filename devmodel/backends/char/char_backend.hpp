// SPDX-License-Identifier: GPL-2.0-or-later
// Where a serial port's bytes come from and go to.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

namespace escalus {

class CharBackend {
  public:
    virtual ~CharBackend() = default;
    /// Never blocks; what nobody takes is buffered up to a bound and then dropped, oldest first.
    virtual void send(std::span<const std::uint8_t> data) = 0;
    /// Called on the loop thread with the device lock held when bytes arrive. Returns how many were taken;
    /// the backend keeps the others and offers them again after ready().
    using Receiver = std::function<std::size_t(std::span<const std::uint8_t>)>;
    virtual void on_receive(Receiver receiver) = 0;
    /// The device has room again.
    virtual void ready() = 0;
    [[nodiscard]] virtual std::string description() const = 0;
};

} // namespace escalus
