// SPDX-License-Identifier: GPL-2.0-or-later
// The virtio network card: Virtual I/O Device 1.1, 5.1, with mergeable receive buffers, checksums and TCP
// segmentation left to others in both directions, receive filters and link status.
//
// State: receive buffers taken from the driver and not yet filled, filters, link. A frame costs the driver no
// notification while the device is at work or has buffers: after it has sent something, it looks for more by
// itself before it asks for the next one. Frames that come together cost one interrupt. Missing: several
// queue pairs, UDP fragmentation offload, hashes (not offered), announcements.
#pragma once

#include "devmodel/backends/net/net_backend.hpp"
#include "devmodel/devices/virtio/virtio_device.hpp"
#include "devmodel/devices/virtio/virtio_net_filter.hpp"
#include "devmodel/machine/clock.hpp"

#include <array>
#include <deque>

namespace escalus {

class VirtioNet final : public VirtioDevice, private NetCard {
  public:
    static constexpr unsigned receive_queue = 0, transmit_queue = 1, control_queue = 2;

    /// `backend` outlives the card.
    VirtioNet(Clock& clock, NetBackend& backend, const MacAddress& mac);
    ~VirtioNet() override;
    VirtioNet(const VirtioNet&) = delete;
    VirtioNet& operator=(const VirtioNet&) = delete;

    [[nodiscard]] std::string_view name() const override { return "virtio-net"; }
    [[nodiscard]] std::uint16_t type() const override { return 1; }
    [[nodiscard]] std::uint32_t class_code() const override { return 0x020000; }
    [[nodiscard]] unsigned queue_count() const override { return 3; }
    [[nodiscard]] std::uint16_t queue_entries() const override { return 1024; }
    [[nodiscard]] std::uint64_t features() const override;
    void read_config(unsigned offset, std::span<std::uint8_t> data) override;
    void write_config(unsigned offset, std::span<const std::uint8_t> data) override;
    void driver_ready() override;
    void notified(unsigned queue) override;
    void reset() override;
    void pause() override;
    void resume() override;

  private:
    // NetCard
    [[nodiscard]] bool can_receive() override;
    void receive(std::span<const std::uint8_t> frame, const NetOffload& offload) override;
    void end_of_frames() override { host().queue_changed(receive_queue); }
    void link_changed(bool up) override;

    [[nodiscard]] bool negotiated(std::uint64_t feature) { return (host().features() & feature) != 0; }
    [[nodiscard]] std::size_t header_bytes();
    [[nodiscard]] bool working() { return !paused_ && host().live(); }
    bool gather(std::uint64_t bytes);
    void apply_offloads(std::uint64_t wanted);
    void transmit();
    void transmit_one(const VirtqueueChain& chain);
    void serve_control();
    [[nodiscard]] bool execute(std::span<const std::uint8_t> command);

    const Clock& clock_;
    NetBackend& backend_;
    VirtioNetFilter filter_;
    std::deque<VirtqueueChain> spare_; ///< receive buffers, in the driver's order
    std::uint64_t spare_bytes_ = 0;
    std::uint64_t longest_ = ethernet_frame_bytes; ///< what may come
    std::vector<std::uint8_t> frame_;
    Timer later_; ///< to look for more to be sent, without a notification
    bool link_up_, paused_ = false;
};

} // namespace escalus
