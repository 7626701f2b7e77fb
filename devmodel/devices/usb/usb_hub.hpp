// SPDX-License-Identifier: GPL-2.0-or-later
// A USB hub with eight ports: Universal Serial Bus Specification 1.1, chapter 11 (hub class requests and
// descriptor: 11.15 and 11.16).
//
// Transactions reach whatever device behind an enabled port has the address. State: status and changes of
// each port, with what is plugged in. Missing: power switching (ports have power as soon as they are told
// so), overcurrent, the indicator.
#pragma once

#include "devmodel/devices/usb/usb_device.hpp"

#include <array>
#include <memory>

namespace escalus {

class UsbHub final : public UsbDevice {
  public:
    static constexpr unsigned port_count = 8;

    UsbHub();

    /// Throws std::logic_error when the port is taken, std::out_of_range when there is no such port.
    void attach(unsigned port, std::unique_ptr<UsbDevice> device);
    /// Null when there was none.
    std::unique_ptr<UsbDevice> detach(unsigned port);

    [[nodiscard]] UsbDevice* find(unsigned address) override;
    void bus_reset() override;

  private:
    struct Port {
        std::unique_ptr<UsbDevice> device;
        std::uint16_t status = 0, change = 0;
    };

    std::optional<std::vector<std::uint8_t>> answer_request(const UsbSetup& request) override;
    bool take_request(const UsbSetup& request, std::span<const std::uint8_t> data) override;
    UsbIn give(unsigned endpoint, std::span<std::uint8_t> room) override;
    void configured_anew() override;

    static void power_up(Port& port);
    bool set_port_feature(Port& port, std::uint16_t feature);
    static bool clear_port_feature(Port& port, std::uint16_t feature);
    void child_ready(unsigned port);

    std::array<Port, port_count> ports_;
};

} // namespace escalus
