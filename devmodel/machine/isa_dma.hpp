// SPDX-License-Identifier: GPL-2.0-or-later
// A channel of the ISA bus's DMA controller, as the device that is wired to it sees it: DREQ, the bytes that
// move, TC. The device does not know which channel it has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <utility>

namespace escalus {

/// What bytes went, and whether the channel's count ran out with the last of them (TC).
struct DmaMoved {
    std::size_t bytes = 0;
    bool terminal_count = false;
};

/// The controller's side.
class IsaDma {
  public:
    virtual ~IsaDma() = default;
    /// DREQ of a channel. Calls nobody back.
    virtual void request(unsigned channel, bool level) = 0;
    /// The request is granted: the channel is neither masked nor switched off.
    [[nodiscard]] virtual bool granted(unsigned channel) const = 0;
    /// From the device into memory; and the reverse. They stop at terminal count, and move nothing while the
    /// request is not granted.
    virtual DmaMoved to_memory(unsigned channel, std::span<const std::uint8_t> data) = 0;
    virtual DmaMoved from_memory(unsigned channel, std::span<std::uint8_t> data) = 0;
    /// `granted` is called when a request that stands is granted because the guest opened the channel.
    virtual void connect(unsigned channel, std::function<void()> granted) = 0;
};

class DmaLine {
  public:
    DmaLine() = default; // wired to nothing: no request is ever granted
    DmaLine(IsaDma& controller, unsigned channel) : controller_{&controller}, channel_{channel} {}

    void connect(std::function<void()> granted) {
        if (controller_ != nullptr)
            controller_->connect(channel_, std::move(granted));
    }
    void request(bool level) {
        if (controller_ != nullptr)
            controller_->request(channel_, level);
    }
    [[nodiscard]] bool granted() const { return controller_ != nullptr && controller_->granted(channel_); }
    DmaMoved to_memory(std::span<const std::uint8_t> data) {
        return controller_ != nullptr ? controller_->to_memory(channel_, data) : DmaMoved{};
    }
    DmaMoved from_memory(std::span<std::uint8_t> data) {
        return controller_ != nullptr ? controller_->from_memory(channel_, data) : DmaMoved{};
    }

  private:
    IsaDma* controller_ = nullptr;
    unsigned channel_ = 0;
};

} // namespace escalus
