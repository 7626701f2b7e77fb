// SPDX-License-Identifier: GPL-2.0-or-later
// The requests that a disk controller runs against its image, any number at once up to a limit: what
// virtio-blk and NVMe have in common once a command has been read.
//
// Large transfers move in chunks, so that what a guest can make this process allocate is bounded. Data goes
// straight from the image into guest memory where the image has it at hand. State: the requests under way.
#pragma once

#include "devmodel/backends/block/block_backend.hpp"
#include "devmodel/machine/guest_buffers.hpp"

#include <deque>
#include <functional>
#include <memory>

namespace escalus {

struct DiskRequest {
    enum class Work : std::uint8_t { Read, Write, Compare, Flush, Discard, Zero };
    enum class Outcome : std::uint8_t {
        Good,
        BadMemory, ///< part of `data` is not memory
        Differs,   ///< what Compare found
        BadImage,  ///< `error` says why
    };
    struct Range {
        std::uint64_t offset, bytes;
        bool unmap;
    };

    Work work = Work::Read;
    bool flush_first = false, flush_after = false;
    std::uint64_t offset = 0;  ///< in the image
    GuestBuffers data;         ///< to or from the guest
    std::vector<Range> ranges; ///< of Discard and Zero
    /// Called once, perhaps within DiskRequests::start(); never after DiskRequests::abandon().
    std::function<void(DiskRequest&, Outcome)> done;

    std::uint64_t moved = 0; ///< bytes of data so far; ranges of Discard and Zero
    std::error_code error;

  private:
    friend class DiskRequests;
    GuestMemory* memory = nullptr;
    std::size_t filled = 0; // bytes of the buffer that are the guest's next
    std::vector<std::uint8_t> buffer;
    bool waiting = false;  // for the image
    bool stepping = false; // a completion need not go on by itself
};

class DiskRequests {
  public:
    static constexpr unsigned most_under_way = 32; ///< with a buffer of a chunk each

    /// `progressed` is called after completions that came by themselves: there may be room, and there may be
    /// something to tell the driver.
    DiskRequests(BlockBackend& image, std::function<void()> progressed)
        : image_{image}, progressed_{std::move(progressed)} {}
    ~DiskRequests();
    DiskRequests(const DiskRequests&) = delete;
    DiskRequests& operator=(const DiskRequests&) = delete;

    /// Whether `most` requests are there, those counted that were abandoned while the image works on them: a
    /// guest that resets its disk all the time gets no more memory than another.
    [[nodiscard]] bool full(unsigned most = most_under_way) const {
        return under_way_ >= most || shared_->in_image >= most;
    }
    void start(GuestMemory& memory, std::shared_ptr<DiskRequest> request);
    /// Forgets all; their completions are ignored.
    void abandon();
    /// Until resume(), nothing new reaches the image, and no request ends.
    void pause() { paused_ = true; }
    void resume();

  private:
    using RequestPtr = std::shared_ptr<DiskRequest>;
    using Outcome = std::optional<DiskRequest::Outcome>; // nothing: there is more to do

    void advance(const RequestPtr& request);
    Outcome step(const RequestPtr& request);
    Outcome step_read(const RequestPtr& request);
    Outcome step_write(const RequestPtr& request);
    Outcome step_compare(const RequestPtr& request);
    Outcome step_trim(const RequestPtr& request);
    Outcome end(const RequestPtr& request);
    [[nodiscard]] BlockBackend::Completion completion(const RequestPtr& request);

    BlockBackend& image_;
    std::function<void()> progressed_;
    struct Shared { // with completions, which may outlive this
        std::uint64_t generation = 0;
        unsigned in_image = 0;
        bool gone = false;
    };
    std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
    std::deque<RequestPtr> stalled_; // their completion came during a pause
    std::vector<std::span<std::uint8_t>> pieces_;
    unsigned under_way_ = 0;
    bool paused_ = false;
};

} // namespace escalus
