// SPDX-License-Identifier: GPL-2.0-or-later
// A network of the guest's own, 10.0.2.0/24, behind an address translation in this process (libslirp): what
// the guest opens becomes a socket of the control OS, and nothing there has to be set up. The gateway is
// 10.0.2.2 (the control OS itself), the name server 10.0.2.3, and DHCP gives out 10.0.2.15. Connections to
// chosen ports of the control OS are forwarded to the guest; a folder can be served by TFTP, for network
// boot.
//
// libslirp asks to be told which sockets are ready: they are in one epoll set, which the loop waits for. Its
// time is guest time. Frames for a card without room wait here, and while many do, sockets are not read.
// Missing: IPv6.
#pragma once

#include "devmodel/backends/net/net_backend.hpp"
#include "devmodel/config/network_config.hpp"
#include "devmodel/machine/clock.hpp"
#include "devmodel/machine/device_lock.hpp"

#include <memory>

namespace boost::asio {
class io_context;
}

namespace escalus {

class UserNet final : public NetBackend {
  public:
    /// Throws std::runtime_error, for example when a port is taken.
    UserNet(boost::asio::io_context& loop, DeviceLock& device_lock, Clock& clock,
            const UserNetConfig& config);
    ~UserNet() override;
    UserNet(const UserNet&) = delete;
    UserNet& operator=(const UserNet&) = delete;

    [[nodiscard]] std::string description() const override { return "user"; }
    void connect(NetCard* card) override;
    void send(std::span<const std::uint8_t> frame, const NetOffload& offload) override;
    void card_ready() override;

  private:
    struct State;
    std::shared_ptr<State> state_;
};

} // namespace escalus
