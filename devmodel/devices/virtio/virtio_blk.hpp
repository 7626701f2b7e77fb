// SPDX-License-Identifier: GPL-2.0-or-later
// The virtio block device: Virtual I/O Device 1.1, 5.2, with several queues, discard, write zeroes, flush and
// a write cache that can be switched.
//
// State: requests under way, the cache switch. Requests of all queues run at once, up to a limit that bounds
// what a guest can make this process allocate; large ones move in chunks. Data goes straight between image
// and guest memory where the image has it at hand. A driver that has not negotiated flush gets write-through.
// Missing: secure erase, zoned storage, lifetime information (of 1.2; not offered).
#pragma once

#include "devmodel/backends/block/block_backend.hpp"
#include "devmodel/devices/virtio/virtio_device.hpp"
#include "devmodel/machine/clock.hpp"

#include <array>
#include <deque>
#include <memory>

namespace escalus {

class VirtioBlk final : public VirtioDevice {
  public:
    /// `serial`: at most 20 characters, what GET ID tells. `queues`: 1 and more.
    VirtioBlk(Clock& clock, std::unique_ptr<BlockBackend> image, std::string serial, unsigned queues);
    ~VirtioBlk() override;

    [[nodiscard]] std::string_view name() const override { return "virtio-blk"; }
    [[nodiscard]] std::uint16_t type() const override { return 2; }
    [[nodiscard]] std::uint32_t class_code() const override { return 0x010000; }
    [[nodiscard]] unsigned queue_count() const override { return queues_; }
    [[nodiscard]] std::uint16_t queue_entries() const override { return 256; }
    [[nodiscard]] std::uint64_t features() const override;
    void read_config(unsigned offset, std::span<std::uint8_t> data) override;
    void write_config(unsigned offset, std::span<const std::uint8_t> data) override;
    void notified(unsigned queue) override;
    void reset() override;
    void pause() override;
    void resume() override;

  private:
    enum class Status : std::uint8_t { Ok = 0, Error = 1, Unsupported = 2 };
    enum class Work : std::uint8_t { Read, Write, Flush, Discard, Zero };
    struct Range {
        std::uint64_t offset, bytes;
        bool unmap;
    };
    struct Request {
        unsigned queue = 0;
        std::uint16_t head = 0;
        GuestPhys status{}; ///< where its byte goes
        GuestBuffers data;  ///< to or from the guest
        Work work = Work::Read;
        std::uint64_t offset = 0; ///< in the image
        std::uint64_t position = 0;
        std::size_t filled = 0; ///< bytes of the buffer that are the guest's next
        std::vector<std::uint8_t> buffer;
        std::vector<Range> ranges; ///< of Discard and Zero; `position` counts them
        std::uint64_t written = 0; ///< bytes that the guest was given
        std::error_code error;
        bool flushed = false;
        bool waiting = false;  ///< for the image
        bool stepping = false; ///< a completion need not go on by itself
    };
    using RequestPtr = std::shared_ptr<Request>;
    using Outcome = std::optional<Status>; ///< nothing: there is more to do

    [[nodiscard]] bool negotiated(std::uint64_t feature) { return (host().features() & feature) != 0; }
    [[nodiscard]] bool write_through();
    void serve(unsigned queue);
    void serve_all();
    void start(unsigned queue, VirtqueueChain chain);
    Outcome begin(Request& request, VirtqueueChain& chain);
    Outcome begin_trim(Request& request, const GuestBuffers& payload);
    Outcome give_id(Request& request);
    void advance(const RequestPtr& request);
    Outcome step(const RequestPtr& request);
    Outcome step_read(const RequestPtr& request);
    Outcome step_write(const RequestPtr& request);
    Outcome step_flush(const RequestPtr& request);
    Outcome step_trim(const RequestPtr& request);
    void finish(Request& request, Status status);
    [[nodiscard]] BlockBackend::Completion completion(const RequestPtr& request);
    [[nodiscard]] bool in_image(std::uint64_t sector, std::uint64_t bytes) const;

    std::unique_ptr<BlockBackend> image_;
    std::string serial_;
    unsigned queues_;
    std::array<std::uint8_t, 60> config_{};
    Timer later_; ///< more requests came than one call serves
    std::shared_ptr<std::uint64_t> generation_ = std::make_shared<std::uint64_t>(0);
    std::deque<RequestPtr> stalled_; ///< their completion came during a pause
    std::vector<std::span<std::uint8_t>> pieces_;
    unsigned under_way_ = 0;
    bool writeback_ = true, paused_ = false, serving_ = false;
};

} // namespace escalus
