// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/storage/disk_requests.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

namespace {
constexpr std::size_t chunk_bytes = 128 * 1024;
// Of a chunk that needs no buffer. What is not at hand after all has been copied in vain as far as it was.
constexpr std::size_t straight_bytes = 1024 * 1024;

std::size_t next_chunk(const DiskRequest& request, std::size_t most = chunk_bytes) {
    return static_cast<std::size_t>(std::min<std::uint64_t>(most, request.data.size() - request.moved));
}
} // namespace

DiskRequests::~DiskRequests() {
    abandon();
    shared_->gone = true;
}

// NOLINTNEXTLINE(performance-unnecessary-value-param): it is taken over
[[gnu::hot]] void DiskRequests::start(GuestMemory& memory, RequestPtr request) {
    request->memory = &memory;
    ++under_way_;
    advance(request);
}

void DiskRequests::abandon() {
    ++shared_->generation;
    stalled_.clear();
    under_way_ = 0;
}

void DiskRequests::resume() {
    paused_ = false;
    for (const auto& request : std::exchange(stalled_, {}))
        advance(request);
}

[[gnu::hot]] BlockBackend::Completion DiskRequests::completion(const RequestPtr& request) {
    request->waiting = true;
    ++shared_->in_image;
    return [this, request, shared = shared_, generation = shared_->generation](std::error_code error) {
        --shared->in_image;
        if (shared->gone)
            return;
        if (shared->generation != generation) {
            progressed_();
            return;
        }
        request->error = error;
        request->waiting = false;
        if (request->stepping)
            return;
        advance(request);
        progressed_();
    };
}

[[gnu::hot]] void DiskRequests::advance(const RequestPtr& request) {
    Outcome outcome;
    while (!outcome && !request->waiting) {
        if (paused_) {
            stalled_.push_back(request);
            return;
        }
        request->stepping = true;
        outcome = step(request);
        request->stepping = false;
    }
    if (outcome) {
        --under_way_;
        request->done(*request, *outcome);
    }
}

[[gnu::hot]] DiskRequests::Outcome DiskRequests::step(const RequestPtr& request) {
    if (request->error)
        return DiskRequest::Outcome::BadImage;
    if (std::exchange(request->flush_first, false)) {
        image_.flush(completion(request));
        return {};
    }
    switch (request->work) {
    case DiskRequest::Work::Read:
        return step_read(request);
    case DiskRequest::Work::Write:
        return step_write(request);
    case DiskRequest::Work::Compare:
        return step_compare(request);
    case DiskRequest::Work::Discard:
    case DiskRequest::Work::Zero:
        return step_trim(request);
    case DiskRequest::Work::Flush:
        break;
    }
    return end(request);
}

[[gnu::hot]] DiskRequests::Outcome DiskRequests::end(const RequestPtr& request) {
    if (!std::exchange(request->flush_after, false))
        return DiskRequest::Outcome::Good;
    image_.flush(completion(request));
    return {};
}

[[gnu::hot]] DiskRequests::Outcome DiskRequests::step_read(const RequestPtr& request) {
    DiskRequest& r = *request;
    if (const auto n = std::exchange(r.filled, 0); n != 0) {
        if (!r.data.write(*r.memory, r.moved, std::span{r.buffer}.first(n)))
            return DiskRequest::Outcome::BadMemory;
        r.moved += n;
    }
    if (r.moved == r.data.size())
        return DiskRequest::Outcome::Good;
    const auto straight = next_chunk(r, straight_bytes);
    if (r.data.map(*r.memory, r.moved, straight, Access::Write, pieces_) &&
        image_.try_read(r.offset + r.moved, pieces_)) {
        r.moved += straight;
        return {};
    }
    const auto n = next_chunk(r);
    r.buffer.resize(n);
    r.filled = n;
    image_.read(r.offset + r.moved, r.buffer, completion(request));
    return {};
}

[[gnu::hot]] DiskRequests::Outcome DiskRequests::step_write(const RequestPtr& request) {
    DiskRequest& r = *request;
    if (r.moved == r.data.size())
        return end(request);
    const auto straight = next_chunk(r, straight_bytes);
    if (image_.most_write_pieces() != 0 && r.data.map(*r.memory, r.moved, straight, Access::Read, pieces_) &&
        pieces_.size() <= image_.most_write_pieces()) {
        const auto at = r.offset + std::exchange(r.moved, r.moved + straight);
        image_.write_pieces(at, pieces_, completion(request));
        return {};
    }
    const auto n = next_chunk(r);
    r.buffer.resize(n);
    if (!r.data.read(*r.memory, r.moved, r.buffer))
        return DiskRequest::Outcome::BadMemory;
    const auto at = r.offset + std::exchange(r.moved, r.moved + n);
    image_.write(at, r.buffer, completion(request));
    return {};
}

DiskRequests::Outcome DiskRequests::step_compare(const RequestPtr& request) {
    DiskRequest& r = *request;
    if (const auto n = std::exchange(r.filled, 0); n != 0) {
        std::vector<std::uint8_t> wanted(n);
        if (!r.data.read(*r.memory, r.moved, wanted))
            return DiskRequest::Outcome::BadMemory;
        if (wanted != r.buffer)
            return DiskRequest::Outcome::Differs;
        r.moved += n;
    }
    if (r.moved == r.data.size())
        return DiskRequest::Outcome::Good;
    r.filled = next_chunk(r);
    r.buffer.resize(r.filled);
    image_.read(r.offset + r.moved, r.buffer, completion(request));
    return {};
}

DiskRequests::Outcome DiskRequests::step_trim(const RequestPtr& request) {
    DiskRequest& r = *request;
    if (r.moved == r.ranges.size())
        return end(request);
    const auto range = r.ranges[static_cast<std::size_t>(r.moved++)];
    if (r.work == DiskRequest::Work::Discard)
        image_.discard(range.offset, range.bytes, completion(request));
    else
        image_.write_zeroes(range.offset, range.bytes, range.unmap, completion(request));
    return {};
}

} // namespace escalus
