// SPDX-License-Identifier: GPL-2.0-or-later
// Between a disk and its image: tells the user of the image's first error, and holds back discard where it is
// not wanted. The guest is told of every error by its disk controller; the user hears once, not each time the
// guest tries again.
#pragma once

#include "devmodel/backends/block/block_backend.hpp"

#include <memory>

namespace escalus {

class ReportingBackend final : public BlockBackend {
  public:
    using Log = std::function<void(const std::string&)>;

    /// `name` is how the user calls the disk.
    ReportingBackend(std::unique_ptr<BlockBackend> image, std::string name, bool trim, Log log);
    ~ReportingBackend() override;

    [[nodiscard]] std::uint64_t size() const override { return image_->size(); }
    [[nodiscard]] bool read_only() const override { return image_->read_only(); }
    [[nodiscard]] std::string description() const override { return image_->description(); }
    void read(std::uint64_t offset, std::span<std::uint8_t> data, Completion done) override;
    void write(std::uint64_t offset, std::span<const std::uint8_t> data, Completion done) override;
    void flush(Completion done) override;
    [[nodiscard]] bool can_trim() const override { return trim_ && image_->can_trim(); }
    void discard(std::uint64_t offset, std::uint64_t bytes, Completion done) override;
    void write_zeroes(std::uint64_t offset, std::uint64_t bytes, bool unmap, Completion done) override;
    bool try_read(std::uint64_t offset, std::span<const std::span<std::uint8_t>> pieces) override {
        return image_->try_read(offset, pieces);
    }
    [[nodiscard]] std::size_t most_write_pieces() const override { return image_->most_write_pieces(); }
    void write_pieces(std::uint64_t offset, std::span<const std::span<std::uint8_t>> pieces,
                      Completion done) override;

  private:
    [[nodiscard]] Completion watched(const char* what, std::uint64_t offset, Completion done);
    void report(const char* what, std::uint64_t offset, std::error_code error);

    std::string name_;
    bool trim_;
    Log log_;
    bool reported_ = false;
    std::unique_ptr<BlockBackend> image_; // last: its completions come here
};

} // namespace escalus
