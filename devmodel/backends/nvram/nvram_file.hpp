// SPDX-License-Identifier: GPL-2.0-or-later
// A small non-volatile memory in a file: the bare bytes, as other hypervisors and tools for OVMF's variables
// have them.
//
// Changes are written by a worker thread, and never torn: a record of the changed pages goes behind the
// image first, then they go to their places, then the record is cut off; each step is on stable storage
// before the next begins. Whoever opens the file and finds a whole record finishes the work; a record that is
// not whole is dropped, and the image is what it was before. What changes while a record is written goes
// into the next one, so that any number of changes costs a few.
#pragma once

#include "devmodel/backends/nvram/nvram_backend.hpp"
#include "devmodel/machine/device_lock.hpp"

#include <memory>
#include <string>

namespace boost::asio {
class io_context;
}

namespace escalus {

class NvramFile final : public NvramBackend {
  public:
    /// Opens `path`, or makes it from `initial`, whose size the file must have. Folders that are missing are
    /// made. The file is locked: no other machine may use it. `device_lock` is taken for what a completion
    /// does on the loop thread. Throws std::runtime_error for the user.
    static std::unique_ptr<NvramFile> open(const std::string& path, std::span<const std::uint8_t> initial,
                                           boost::asio::io_context& loop, DeviceLock& device_lock);
    /// Waits until all that was written is on stable storage.
    ~NvramFile() override;
    NvramFile(const NvramFile&) = delete;
    NvramFile& operator=(const NvramFile&) = delete;

    [[nodiscard]] std::span<const std::uint8_t> contents() const override;
    void write(std::uint64_t offset, std::span<const std::uint8_t> data) override;
    void commit() override;
    [[nodiscard]] bool healthy() const override;

  private:
    struct State;
    explicit NvramFile(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

} // namespace escalus
