// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/block/overlay_backend.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace escalus {

OverlayBackend::OverlayBackend(std::unique_ptr<BlockBackend> image, std::unique_ptr<BlockBackend> layer)
    : layer_{std::move(layer)}, image_{std::move(image)} {
    if (layer_->read_only() || layer_->size() < image_->size())
        throw std::invalid_argument{"the layer over an image must be writable and as large"};
}

OverlayBackend::~OverlayBackend() = default;

std::string OverlayBackend::description() const {
    return image_->description() + ", its snapshot in " + layer_->description();
}

bool OverlayBackend::in_layer(std::uint64_t sector) const {
    const auto leaf = leaves_.find(sector / leaf_sectors);
    const auto bit = sector % leaf_sectors;
    return leaf != leaves_.end() && ((*leaf->second)[bit / 64] >> bit % 64 & 1) != 0;
}

void OverlayBackend::mark(std::uint64_t offset, std::uint64_t bytes) {
    for (auto sector = offset / sector_bytes; sector < (offset + bytes) / sector_bytes; ++sector) {
        auto& leaf = leaves_[sector / leaf_sectors];
        if (!leaf)
            leaf = std::make_unique<Leaf>();
        const auto bit = sector % leaf_sectors;
        (*leaf)[bit / 64] |= std::uint64_t{1} << bit % 64;
    }
}

OverlayBackend::Run OverlayBackend::run_at(std::uint64_t offset, std::uint64_t bytes) const {
    const auto first = offset / sector_bytes;
    const bool from_layer = in_layer(first);
    auto end = (first + 1) * sector_bytes;
    while (end < offset + bytes && in_layer(end / sector_bytes) == from_layer)
        end += sector_bytes;
    return {std::min(end - offset, bytes), from_layer};
}

std::error_code OverlayBackend::check(std::uint64_t offset, std::uint64_t bytes) const {
    const bool good = offset <= size() && bytes <= size() - offset;
    return good ? std::error_code{} : std::make_error_code(std::errc::invalid_argument);
}

BlockBackend::Completion OverlayBackend::marking(std::uint64_t offset, std::uint64_t bytes, Completion done) {
    return [this, offset, bytes, done = std::move(done)](std::error_code error) {
        if (!error)
            mark(offset, bytes);
        done(error);
    };
}

void OverlayBackend::read(std::uint64_t offset, std::span<std::uint8_t> data, Completion done) {
    if (const auto error = check(offset, data.size())) {
        done(error);
        return;
    }
    if (data.empty()) {
        done({});
        return;
    }
    // All runs at once; the last to end tells.
    struct Progress {
        std::size_t runs = 1; // this call's own hold on it
        std::error_code error;
        Completion done;
        void end(std::error_code with) {
            if (with)
                error = with;
            if (--runs == 0)
                done(error);
        }
    };
    auto progress = std::make_shared<Progress>();
    progress->done = std::move(done);
    while (!data.empty()) {
        const auto run = run_at(offset, data.size());
        const auto part = data.first(static_cast<std::size_t>(run.bytes));
        ++progress->runs;
        (run.in_layer ? layer_ : image_)->read(offset, part, [progress](std::error_code error) {
            progress->end(error);
        });
        data = data.subspan(part.size());
        offset += run.bytes;
    }
    progress->end({});
}

bool OverlayBackend::try_read(std::uint64_t offset, std::span<const std::span<std::uint8_t>> pieces) {
    std::uint64_t bytes = 0;
    for (const auto& piece : pieces)
        bytes += piece.size();
    if (bytes == 0 || check(offset, bytes))
        return false;
    const auto run = run_at(offset, bytes);
    return run.bytes == bytes && (run.in_layer ? layer_ : image_)->try_read(offset, pieces);
}

void OverlayBackend::write(std::uint64_t offset, std::span<const std::uint8_t> data, Completion done) {
    if (check(offset, data.size()) || offset % sector_bytes != 0 || data.size() % sector_bytes != 0)
        done(std::make_error_code(std::errc::invalid_argument));
    else
        layer_->write(offset, data, marking(offset, data.size(), std::move(done)));
}

/// What is in the layer gives its space back and reads zero; what is in the image stays as it is.
void OverlayBackend::discard(std::uint64_t offset, std::uint64_t bytes, Completion done) {
    if (const auto error = check(offset, bytes))
        done(error);
    else
        layer_->discard(offset, bytes, std::move(done));
}

void OverlayBackend::write_zeroes(std::uint64_t offset, std::uint64_t bytes, bool /*unmap*/,
                                  Completion done) {
    if (check(offset, bytes) || offset % sector_bytes != 0 || bytes % sector_bytes != 0)
        done(std::make_error_code(std::errc::invalid_argument));
    else
        layer_->write_zeroes(offset, bytes, true, marking(offset, bytes, std::move(done)));
}

} // namespace escalus
