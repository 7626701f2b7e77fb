// SPDX-License-Identifier: GPL-2.0-or-later
// A disk in memory, for unit tests: completions at once or when the test says so, errors where it says so.
#pragma once

#include "devmodel/backends/block/block_backend.hpp"

#include <algorithm>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

namespace escalus {

class MemoryBackend final : public BlockBackend {
  public:
    explicit MemoryBackend(std::size_t size, bool read_only = false) : bytes(size), read_only_{read_only} {}

    [[nodiscard]] std::uint64_t size() const override { return bytes.size(); }
    [[nodiscard]] bool read_only() const override { return read_only_; }
    [[nodiscard]] std::string description() const override { return "memory"; }

    void read(std::uint64_t offset, std::span<std::uint8_t> data, Completion done) override {
        ++reads;
        submit(
            [this, offset, data] {
                if (auto error = check(offset, data.size()))
                    return error;
                std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), data.size(), data.begin());
                return std::error_code{};
            },
            std::move(done));
    }
    void write(std::uint64_t offset, std::span<const std::uint8_t> data, Completion done) override {
        ++writes;
        submit(
            [this, offset, data] {
                if (read_only_)
                    return std::make_error_code(std::errc::read_only_file_system);
                if (auto error = check(offset, data.size()))
                    return error;
                std::copy_n(data.begin(), data.size(), bytes.begin() + static_cast<std::ptrdiff_t>(offset));
                return std::error_code{};
            },
            std::move(done));
    }
    void flush(Completion done) override {
        ++flushes;
        submit([this] { return fail_flush ? io_error() : std::error_code{}; }, std::move(done));
    }
    [[nodiscard]] bool can_trim() const override { return !read_only_; }
    void discard(std::uint64_t offset, std::uint64_t size, Completion done) override {
        ++discards;
        write_zeroes(offset, size, true, std::move(done));
    }
    void write_zeroes(std::uint64_t offset, std::uint64_t size, bool, Completion done) override {
        submit(
            [this, offset, size] {
                if (read_only_)
                    return std::make_error_code(std::errc::read_only_file_system);
                if (auto error = check(offset, size))
                    return error;
                std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), size, std::uint8_t{0});
                return std::error_code{};
            },
            std::move(done));
    }
    bool try_read(std::uint64_t offset, std::span<const std::span<std::uint8_t>> pieces) override {
        if (deferred)
            return false;
        std::size_t size = 0;
        for (const auto& piece : pieces)
            size += piece.size();
        if (check(offset, size))
            return false;
        ++straight_reads;
        for (const auto& piece : pieces) {
            std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), piece.size(), piece.begin());
            offset += piece.size();
        }
        return true;
    }

    [[nodiscard]] std::size_t most_write_pieces() const override { return 8; }
    void write_pieces(std::uint64_t offset, std::span<const std::span<std::uint8_t>> pieces,
                      Completion done) override {
        ++straight_writes;
        std::size_t size = 0;
        for (const auto& piece : pieces)
            size += piece.size();
        submit(
            [this, offset, size, all = std::vector(pieces.begin(), pieces.end())] {
                if (read_only_)
                    return std::make_error_code(std::errc::read_only_file_system);
                if (auto error = check(offset, size))
                    return error;
                auto at = bytes.begin() + static_cast<std::ptrdiff_t>(offset);
                for (const auto& piece : all)
                    at = std::copy(piece.begin(), piece.end(), at);
                return std::error_code{};
            },
            std::move(done));
    }

    /// Completes the oldest request that waits; false when none does.
    bool complete_one() {
        if (waiting_.empty())
            return false;
        auto [work, done] = std::move(waiting_.front());
        waiting_.pop_front();
        done(work());
        return true;
    }
    void complete_all() {
        while (complete_one()) {
        }
    }
    [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }

    std::vector<std::uint8_t> bytes;
    std::optional<std::uint64_t> bad_offset; ///< requests that cover this byte fail
    bool fail_flush = false;
    bool deferred = false; ///< requests wait for complete_one()
    unsigned reads = 0, writes = 0, flushes = 0, discards = 0, straight_reads = 0, straight_writes = 0;

  private:
    using Work = std::function<std::error_code()>;

    static std::error_code io_error() { return std::make_error_code(std::errc::io_error); }
    [[nodiscard]] std::error_code check(std::uint64_t offset, std::size_t size) const {
        if (offset > bytes.size() || size > bytes.size() - offset)
            return std::make_error_code(std::errc::invalid_argument);
        if (bad_offset && *bad_offset >= offset && *bad_offset - offset < size)
            return io_error();
        return {};
    }
    void submit(Work work, Completion done) {
        if (deferred)
            waiting_.emplace_back(std::move(work), std::move(done));
        else
            done(work());
    }

    bool read_only_;
    std::deque<std::pair<Work, Completion>> waiting_;
};

} // namespace escalus
