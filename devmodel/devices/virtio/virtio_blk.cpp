// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/virtio/virtio_blk.hpp"

#include "devmodel/machine/little_endian.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

namespace {
constexpr std::uint64_t sector_bytes = 512;
constexpr std::uint32_t header_bytes = 16, range_bytes = 16, id_bytes = 20;
constexpr std::uint32_t most_ranges = 32, most_trim_sectors = 1u << 22;

// Features (5.2.3).
constexpr std::uint64_t segment_limit = 1 << 2, has_geometry = 1 << 4, read_only = 1 << 5,
                        has_block_size = 1 << 6, can_flush = 1 << 9, cache_switch = 1 << 11,
                        many_queues = 1 << 12, can_discard = 1 << 13, can_zero = 1 << 14;
// Requests (5.2.6).
enum Type : std::uint32_t { in = 0, out = 1, flush = 4, get_id = 8, discard = 11, write_zeroes = 13 };
constexpr std::uint32_t flag_unmap = 1;

// Configuration (5.2.4).
constexpr unsigned config_capacity = 0, config_segments = 12, config_geometry = 16, config_block_size = 20,
                   config_writeback = 32, config_queues = 34, config_discard = 36, config_alignment = 44,
                   config_zeroes = 48, config_may_unmap = 56;
} // namespace

VirtioBlk::VirtioBlk(Clock& clock, std::unique_ptr<BlockBackend> image, std::string serial, unsigned queues)
    : image_{std::move(image)},
      serial_{std::move(serial)},
      queues_{queues},
      later_{clock, [this] { serve_all(); }},
      requests_{*image_, [this] { serve_all(); }} {
    constexpr std::uint32_t heads = 16, track = 63;
    const auto sectors = image_->size() / sector_bytes;
    store_le<std::uint64_t>(config_, config_capacity, sectors);
    store_le<std::uint16_t>(
        config_, config_geometry,
        static_cast<std::uint16_t>(std::min<std::uint64_t>(sectors / (heads * track), 65535)));
    config_[config_geometry + 2] = heads;
    config_[config_geometry + 3] = track;
    store_le<std::uint32_t>(config_, config_block_size, sector_bytes);
    store_le<std::uint16_t>(config_, config_queues, static_cast<std::uint16_t>(queues_));
    for (const auto at : {config_discard, config_zeroes}) {
        store_le<std::uint32_t>(config_, at, most_trim_sectors);
        store_le<std::uint32_t>(config_, at + 4, most_ranges);
    }
    store_le<std::uint32_t>(config_, config_alignment, 4096 / sector_bytes);
    config_[config_may_unmap] = 1;
}

std::uint64_t VirtioBlk::features() const {
    auto features = segment_limit | has_geometry | has_block_size | can_flush | cache_switch;
    if (queues_ > 1)
        features |= many_queues;
    if (image_->read_only())
        features |= read_only;
    else if (image_->can_trim())
        features |= can_discard | can_zero;
    return features;
}

void VirtioBlk::read_config(unsigned offset, std::span<std::uint8_t> data) {
    config_[config_writeback] = writeback_ ? 1 : 0;
    store_le<std::uint32_t>(config_, config_segments, most_segments());
    for (std::size_t i = 0; i < data.size(); ++i)
        data[i] = offset + i < config_.size() ? config_[offset + i] : std::uint8_t{0};
}

void VirtioBlk::write_config(unsigned offset, std::span<const std::uint8_t> data) {
    // Writes already acknowledged from the cache are flushed with the next write.
    if (offset == config_writeback && data.size() == 1 && negotiated(cache_switch))
        writeback_ = (data[0] & 1) != 0;
}

/// A chain is at most as long as its queue (2.6.5.3.1), and holds a header and a status as well.
std::uint32_t VirtioBlk::most_segments() {
    return (negotiated(virtio::feature_version_1) ? queue_entries() : virtio::legacy_queue_entries) - 2u;
}

[[gnu::hot]] bool VirtioBlk::write_through() { // 5.2.5.2
    return negotiated(cache_switch) ? !writeback_ : !negotiated(can_flush);
}

// --- Life --------------------------------------------------------------------------------------------------

void VirtioBlk::reset() {
    requests_.abandon();
    later_.cancel();
    writeback_ = true;
}

void VirtioBlk::pause() {
    paused_ = true;
    requests_.pause();
}

void VirtioBlk::resume() {
    paused_ = false;
    requests_.resume();
    serve_all();
}

// --- The queues --------------------------------------------------------------------------------------------

[[gnu::hot]] void VirtioBlk::notified(unsigned queue) {
    serve(queue);
}

void VirtioBlk::serve_all() {
    for (unsigned i = 0; i < queues_; ++i)
        serve(i);
}

[[gnu::hot]] void VirtioBlk::serve(unsigned index) {
    if (paused_ || serving_ || !host().live())
        return;
    serving_ = true;
    auto& queue = host().queue(index);
    // A guest that adds requests faster than they are served shall not keep this thread for ever.
    unsigned budget = 4u * queue_entries();
    while (!requests_.full()) {
        if (budget-- == 0) {
            later_.arm(0); // as soon as possible
            break;
        }
        if (auto chain = queue.take())
            start(index, std::move(*chain));
        else if (queue.ask_for_notification())
            break;
    }
    serving_ = false;
    host().queue_changed(index);
}

[[gnu::hot]] void VirtioBlk::start(unsigned queue, VirtqueueChain chain) {
    const auto end = chain.writable.size();
    const auto where = end != 0 ? chain.writable.address_of(end - 1) : std::nullopt;
    if (!where) { // nowhere to say anything
        host().queue(queue).give_back(chain.head, 0);
        return;
    }
    chain.writable.drop_back(1);
    auto request = std::make_shared<DiskRequest>();
    std::uint64_t written = 0;
    if (const auto outcome = begin(*request, chain, written)) {
        finish(queue, chain.head, *where, *outcome, written);
        return;
    }
    request->done = [this, queue, head = chain.head, where = *where](DiskRequest& r,
                                                                     DiskRequest::Outcome outcome) {
        finish(queue, head, where, outcome == DiskRequest::Outcome::Good ? Status::Ok : Status::Error,
               r.work == DiskRequest::Work::Read ? r.moved : 0);
    };
    requests_.start(host().memory(), std::move(request));
}

[[gnu::hot]] bool VirtioBlk::in_image(std::uint64_t sector, std::uint64_t bytes) const {
    const auto sectors = image_->size() / sector_bytes;
    return sector <= sectors && bytes % sector_bytes == 0 && bytes / sector_bytes <= sectors - sector;
}

[[gnu::hot]] VirtioBlk::Outcome VirtioBlk::begin(DiskRequest& request, VirtqueueChain& chain,
                                                 std::uint64_t& written) {
    using Work = DiskRequest::Work;
    std::array<std::uint8_t, header_bytes> header{};
    if (!chain.readable.read(host().memory(), 0, header))
        return Status::Error;
    chain.readable.drop_front(header_bytes);
    const auto type = load_le<std::uint32_t>(header);
    const auto sector = load_le<std::uint64_t>(header, 8);
    const bool to_guest = type == in || type == get_id;
    request.data = std::move(to_guest ? chain.writable : chain.readable);
    request.offset = sector * sector_bytes;
    switch (type) {
    case in:
    case out:
        if (!in_image(sector, request.data.size()) || (type == out && image_->read_only()))
            return Status::Error;
        request.work = type == in ? Work::Read : Work::Write;
        request.flush_after = type == out && write_through();
        return {};
    case flush:
        request.work = Work::Flush;
        request.flush_after = true;
        return {};
    case get_id:
        return give_id(request.data, written);
    case discard:
    case write_zeroes:
        if (!negotiated(type == discard ? can_discard : can_zero))
            return Status::Unsupported;
        request.work = type == discard ? Work::Discard : Work::Zero;
        request.flush_after = write_through();
        return begin_trim(request);
    default:
        return Status::Unsupported;
    }
}

VirtioBlk::Outcome VirtioBlk::give_id(const GuestBuffers& data, std::uint64_t& written) {
    std::array<std::uint8_t, id_bytes> id{};
    std::copy_n(serial_.begin(), std::min<std::size_t>(serial_.size(), id.size()), id.begin());
    const auto n = std::min<std::uint64_t>(data.size(), id.size());
    if (!data.write(host().memory(), 0, std::span{id}.first(n)))
        return Status::Error;
    written = n;
    return Status::Ok;
}

VirtioBlk::Outcome VirtioBlk::begin_trim(DiskRequest& request) {
    const auto payload = std::exchange(request.data, {});
    const auto count = payload.size() / range_bytes;
    if (count == 0 || count > most_ranges || payload.size() % range_bytes != 0)
        return Status::Error;
    for (std::uint64_t i = 0; i < count; ++i) {
        std::array<std::uint8_t, range_bytes> range{};
        if (!payload.read(host().memory(), i * range_bytes, range))
            return Status::Error;
        const auto sector = load_le<std::uint64_t>(range);
        const auto sectors = load_le<std::uint32_t>(range, 8);
        const auto flags = load_le<std::uint32_t>(range, 12);
        if ((flags & ~(request.work == DiskRequest::Work::Zero ? flag_unmap : 0u)) != 0)
            return Status::Unsupported;
        const auto bytes = std::uint64_t{sectors} * sector_bytes;
        if (sectors > most_trim_sectors || !in_image(sector, bytes))
            return Status::Error;
        if (sectors != 0)
            request.ranges.push_back({sector * sector_bytes, bytes, (flags & flag_unmap) != 0});
    }
    return {};
}

[[gnu::hot]] void VirtioBlk::finish(unsigned queue, std::uint16_t head, GuestPhys where, Status status,
                                    std::uint64_t written) {
    const auto byte = static_cast<std::uint8_t>(status);
    host().memory().write(where, {&byte, 1});
    host().queue(queue).give_back(head, static_cast<std::uint32_t>(written + 1));
}

} // namespace escalus
