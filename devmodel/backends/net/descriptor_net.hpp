// SPDX-License-Identifier: GPL-2.0-or-later
// A backend whose frames are read from and written to one descriptor, a frame a call: a TAP device, or one
// end of a pair of sockets (SOCK_SEQPACKET) with a test or another program at the other.
//
// Frames are read on the loop, a bounded number at a time, and only while the card has room: they wait in the
// kernel. What a frame still lacks and the card has not asked for is done here: fewer frames pass the kernel
// that way than if it cut them for cards that take none uncut. When the descriptor fails for good (the TAP
// device was removed, the peer closed), the card sees its link go down, and one line is logged.
#pragma once

#include "devmodel/backends/net/net_backend.hpp"
#include "devmodel/machine/device_lock.hpp"

#include <memory>

namespace boost::asio {
class io_context;
}

namespace escalus {

struct DescriptorNetOptions {
    std::string description{};
    /// A virtio_net_hdr of ten bytes goes before each frame (IFF_VNET_HDR): the other side may leave sums and
    /// segmentation to us, and takes what we leave to it. Without it, they are done here.
    bool vnet_header = false;
};

class DescriptorNet final : public NetBackend {
  public:
    /// Takes over `descriptor`.
    DescriptorNet(boost::asio::io_context& loop, DeviceLock& device_lock, int descriptor,
                  DescriptorNetOptions options);
    ~DescriptorNet() override;
    DescriptorNet(const DescriptorNet&) = delete;
    DescriptorNet& operator=(const DescriptorNet&) = delete;

    [[nodiscard]] std::string description() const override;
    void connect(NetCard* card) override;
    [[nodiscard]] bool link_up() const override;
    void send(std::span<const std::uint8_t> frame, const NetOffload& offload) override;
    void card_ready() override;
    void accept_offloads(bool checksum, bool tcp4, bool tcp6) override;

  private:
    struct State;
    std::shared_ptr<State> state_;
};

/// The two ends of a pair of sockets that keep frames apart. Throws std::system_error.
[[nodiscard]] std::pair<int, int> net_socket_pair();

} // namespace escalus
