// SPDX-License-Identifier: GPL-2.0-or-later
// The virtio block device: Virtual I/O Device 1.1, 5.2, with several queues, discard, write zeroes, flush and
// a write cache that can be switched.
//
// State: requests under way (DiskRequests; those of all queues run at once), the cache switch. A driver that
// has not negotiated flush gets write-through.
// Missing: secure erase, zoned storage, lifetime information (of 1.2; not offered).
#pragma once

#include "devmodel/backends/block/block_backend.hpp"
#include "devmodel/devices/storage/disk_requests.hpp"
#include "devmodel/devices/virtio/virtio_device.hpp"
#include "devmodel/machine/clock.hpp"

#include <array>
#include <memory>

namespace escalus {

class VirtioBlk final : public VirtioDevice {
  public:
    /// `serial`: at most 20 characters, what GET ID tells. `queues`: 1 and more.
    VirtioBlk(Clock& clock, std::unique_ptr<BlockBackend> image, std::string serial, unsigned queues);

    [[nodiscard]] std::string_view name() const override { return "virtio-blk"; }
    [[nodiscard]] std::uint16_t type() const override { return 2; }
    [[nodiscard]] std::uint32_t class_code() const override { return 0x010000; }
    [[nodiscard]] unsigned queue_count() const override { return queues_; }
    [[nodiscard]] std::uint16_t queue_entries() const override { return 512; }
    [[nodiscard]] std::uint64_t features() const override;
    void read_config(unsigned offset, std::span<std::uint8_t> data) override;
    void write_config(unsigned offset, std::span<const std::uint8_t> data) override;
    void notified(unsigned queue) override;
    void reset() override;
    void pause() override;
    void resume() override;

  private:
    enum class Status : std::uint8_t { Ok = 0, Error = 1, Unsupported = 2 };
    using Outcome = std::optional<Status>; ///< nothing: the request is to be run

    [[nodiscard]] bool negotiated(std::uint64_t feature) { return (host().features() & feature) != 0; }
    [[nodiscard]] bool write_through();
    [[nodiscard]] std::uint32_t most_segments();
    void serve(unsigned queue);
    void serve_all();
    void start(unsigned queue, VirtqueueChain chain);
    Outcome begin(DiskRequest& request, VirtqueueChain& chain, std::uint64_t& written);
    Outcome begin_trim(DiskRequest& request);
    Outcome give_id(const GuestBuffers& data, std::uint64_t& written);
    void finish(unsigned queue, std::uint16_t head, GuestPhys where, Status status, std::uint64_t written);
    [[nodiscard]] bool in_image(std::uint64_t sector, std::uint64_t bytes) const;

    std::unique_ptr<BlockBackend> image_;
    std::string serial_;
    unsigned queues_;
    std::array<std::uint8_t, 60> config_{};
    Timer later_; ///< more requests came than one call serves
    DiskRequests requests_;
    bool writeback_ = true, paused_ = false, serving_ = false;
};

} // namespace escalus
