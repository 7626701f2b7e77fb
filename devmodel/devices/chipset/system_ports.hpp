// SPDX-License-Identifier: GPL-2.0-or-later
// The few ports of an AT-compatible board that belong to no larger part: system control port A (0x92: fast
// A20 and fast reset; IBM PS/2 Hardware Interface Technical Reference), the POST code port 0x80 and the delay
// port 0xed, which take any write and read back the last one.
//
// State: one byte each. Missing: the security lock and drive lights of port 0x92.
#pragma once

#include "devmodel/devices/chipset/a20_gate.hpp"
#include "devmodel/machine/bus.hpp"
#include "devmodel/machine/device.hpp"

#include <cstdint>
#include <functional>

namespace escalus {

class SystemPorts final : public Device, public BusDevice {
  public:
    /// `reset` as in Piix3.
    SystemPorts(Bus& ports, A20Gate& a20, std::function<void()> reset);
    ~SystemPorts() override;

    [[nodiscard]] std::uint8_t post_code() const { return post_code_; }

    [[nodiscard]] std::string_view name() const override { return "system-ports"; }
    void reset(ResetKind kind) override;
    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override;
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override;

  private:
    Bus& ports_;
    A20Gate& a20_;
    std::function<void()> request_reset_;
    std::uint8_t control_ = 0; // port 0x92 without the A20 bit
    std::uint8_t post_code_ = 0;
    std::uint8_t delay_ = 0;
};

} // namespace escalus
