// SPDX-License-Identifier: GPL-2.0-or-later
// What a guest writes, beside the image instead of into it: a copy-on-write layer over an image that stays as
// it is.
//
// State: which sectors are in the layer, a bit each, in leaves that exist only where something was written;
// the sectors themselves are in a second backend of the same size (a sparse file). Sectors are written whole,
// so nothing is ever copied up. A sector counts as written once its write has succeeded.
#pragma once

#include "devmodel/backends/block/block_backend.hpp"

#include <array>
#include <memory>
#include <unordered_map>

namespace escalus {

class OverlayBackend final : public BlockBackend {
  public:
    /// `layer` must be writable, at least as large as `image`, and read zero where nothing was written.
    OverlayBackend(std::unique_ptr<BlockBackend> image, std::unique_ptr<BlockBackend> layer);
    ~OverlayBackend() override;

    [[nodiscard]] std::uint64_t size() const override { return image_->size(); }
    [[nodiscard]] bool read_only() const override { return false; }
    /// Names both: when a write fails, what is full is where the layer is.
    [[nodiscard]] std::string description() const override;
    void read(std::uint64_t offset, std::span<std::uint8_t> data, Completion done) override;
    void write(std::uint64_t offset, std::span<const std::uint8_t> data, Completion done) override;
    /// The layer does not outlive the guest: there is nothing to keep.
    void flush(Completion done) override { std::move(done)({}); }
    [[nodiscard]] bool can_trim() const override { return layer_->can_trim(); }
    void discard(std::uint64_t offset, std::uint64_t bytes, Completion done) override;
    void write_zeroes(std::uint64_t offset, std::uint64_t bytes, bool unmap, Completion done) override;
    bool try_read(std::uint64_t offset, std::span<const std::span<std::uint8_t>> pieces) override;

  private:
    static constexpr std::uint64_t sector_bytes = 512, leaf_sectors = 32768;
    using Leaf = std::array<std::uint64_t, leaf_sectors / 64>;
    struct Run {
        std::uint64_t bytes;
        bool in_layer;
    };

    [[nodiscard]] bool in_layer(std::uint64_t sector) const;
    /// How far what is at `offset` comes from one place.
    [[nodiscard]] Run run_at(std::uint64_t offset, std::uint64_t bytes) const;
    [[nodiscard]] std::error_code check(std::uint64_t offset, std::uint64_t bytes) const;
    void mark(std::uint64_t offset, std::uint64_t bytes);
    [[nodiscard]] Completion marking(std::uint64_t offset, std::uint64_t bytes, Completion done);

    std::unordered_map<std::uint64_t, std::unique_ptr<Leaf>> leaves_; // by sector / leaf_sectors
    std::unique_ptr<BlockBackend> layer_, image_;                     // last: their completions come here
};

} // namespace escalus
