// SPDX-License-Identifier: GPL-2.0-or-later
// Where a disk's bytes live. Asynchronous: a completion comes on some thread with the device lock held, or
// before the call returns when the data was at hand (the page cache).
//
// Destroyed with the device lock held, or when no other thread runs the machine's devices any more; not by a
// completion.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>

#include <system_error>

namespace escalus {

class BlockBackend {
  public:
    /// An empty error_code means that all bytes were moved (and, for flush, are on stable storage).
    using Completion = std::function<void(std::error_code)>;

    virtual ~BlockBackend() = default;
    [[nodiscard]] virtual std::uint64_t size() const = 0; ///< bytes
    [[nodiscard]] virtual bool read_only() const = 0;
    [[nodiscard]] virtual std::string description() const = 0; ///< for messages: the file's path

    /// The buffer must live until the completion. A range beyond size() completes with
    /// std::errc::invalid_argument, a write to a read-only backend with std::errc::read_only_file_system.
    virtual void read(std::uint64_t offset, std::span<std::uint8_t> data, Completion done) = 0;
    virtual void write(std::uint64_t offset, std::span<const std::uint8_t> data, Completion done) = 0;
    /// All writes that completed before the call are on stable storage when this completes.
    virtual void flush(Completion done) = 0;

    /// Whether discard() and write_zeroes() work.
    [[nodiscard]] virtual bool can_trim() const { return false; }
    /// A hint that the range's contents are not needed: they may be anything afterwards.
    virtual void discard(std::uint64_t /*offset*/, std::uint64_t /*bytes*/, Completion done) {
        not_supported(std::move(done));
    }
    /// `unmap`: the range may give its space back.
    virtual void write_zeroes(std::uint64_t /*offset*/, std::uint64_t /*bytes*/, bool /*unmap*/,
                              Completion done) {
        not_supported(std::move(done));
    }

    /// Reads into several pieces in one go when the data is at hand without waiting. False when it is not (or
    /// the range is wrong): the pieces may then hold anything, and read() is to be used. Lets DMA go straight
    /// into guest memory, which must not be handed to a request that outlives the call.
    virtual bool try_read(std::uint64_t /*offset*/, std::span<const std::span<std::uint8_t>> /*pieces*/) {
        return false;
    }
    /// How many pieces write_pieces() takes; 0: it does not work.
    [[nodiscard]] virtual std::size_t most_write_pieces() const { return 0; }
    /// write() of several pieces in one go. They stay where they are until the completion and for as long as
    /// this lives, as guest memory does; of bytes that change meanwhile, either value is written.
    virtual void write_pieces(std::uint64_t /*offset*/, std::span<const std::span<std::uint8_t>> /*pieces*/,
                              Completion done) {
        not_supported(std::move(done));
    }

  private:
    static void not_supported(Completion&& done) {
        const Completion answer = std::move(done);
        answer(std::make_error_code(std::errc::operation_not_supported));
    }
};

} // namespace escalus
