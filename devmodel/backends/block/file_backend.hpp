// SPDX-License-Identifier: GPL-2.0-or-later
// A raw image file or a block device of the host as a disk's bytes.
//
// Reads that the page cache can answer complete before the call returns (preadv2 with RWF_NOWAIT). All else
// goes, in order, to one worker thread of the backend, so that a later request never overtakes a write. The
// worker completes a request itself, or leaves that to who has the device lock (DeviceLock::run_held).
// Writes are acknowledged once the page cache has them: they survive the death of this process; flush()
// (fdatasync) makes them survive the host's. Once it has failed it always fails: the kernel then may have
// dropped what it could not write, and tells of that only once. Nothing is cached here, so a kill at any
// moment leaves an image that holds exactly the acknowledged writes, and perhaps parts of the one under way,
// as a real disk would.
//
// The image is locked (open file description lock on the whole file): shared for read-only, exclusive for
// read-write, so that two machines never write one image.
#pragma once

#include "devmodel/backends/block/block_backend.hpp"
#include "devmodel/backends/host/descriptor.hpp"
#include "devmodel/machine/device_lock.hpp"

#include <memory>

namespace escalus {

class FileBackend final : public BlockBackend {
  public:
    /// Throws std::runtime_error with a message for the user that names the path and what is wrong: missing,
    /// a directory, unreadable, empty, in use, not a multiple of 512 bytes (a read-only image is padded with
    /// zeros instead).
    static std::unique_ptr<FileBackend> open(const std::string& path, bool read_only,
                                             DeviceLock& device_lock);
    /// A sparse file of no name in $TMPDIR or /var/tmp, of zeros, which is gone when this is. Throws the
    /// same.
    static std::unique_ptr<FileBackend> temporary(std::uint64_t size, DeviceLock& device_lock);
    /// The same of an image that open_image_file() opened, in this process or another; `path` is for
    /// messages.
    static std::unique_ptr<FileBackend> adopt(Descriptor image, const std::string& path,
                                              DeviceLock& device_lock);
    /// Waits for the request under way, if any; completions that have not been delivered never will be.
    ~FileBackend() override;
    FileBackend(const FileBackend&) = delete;
    FileBackend& operator=(const FileBackend&) = delete;

    [[nodiscard]] std::uint64_t size() const override;
    [[nodiscard]] bool read_only() const override;
    [[nodiscard]] std::string description() const override;
    void read(std::uint64_t offset, std::span<std::uint8_t> data, Completion done) override;
    void write(std::uint64_t offset, std::span<const std::uint8_t> data, Completion done) override;
    void flush(Completion done) override;
    [[nodiscard]] bool can_trim() const override { return !read_only(); }
    void discard(std::uint64_t offset, std::uint64_t bytes, Completion done) override;
    void write_zeroes(std::uint64_t offset, std::uint64_t bytes, bool unmap, Completion done) override;
    bool try_read(std::uint64_t offset, std::span<const std::span<std::uint8_t>> pieces) override;
    [[nodiscard]] std::size_t most_write_pieces() const override;
    void write_pieces(std::uint64_t offset, std::span<const std::span<std::uint8_t>> pieces,
                      Completion done) override;

  private:
    template <typename Work>
    void trim(std::uint64_t offset, std::uint64_t bytes, Work work, Completion done);

    struct State;
    explicit FileBackend(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

} // namespace escalus
