// SPDX-License-Identifier: GPL-2.0-or-later
// A disk's bytes behind a network block device server, by libnbd: a server somewhere, or one that we started
// for an image in a format of its own (NbdServer).
//
// State: the connection, requests under way. libnbd's asynchronous calls are driven from the Asio loop by the
// connection's descriptor. When the connection is gone, every request fails, and stays failed: the sandbox
// lets nobody connect again. A write that the server has acknowledged is the server's to keep; flush() makes
// it do so.
#pragma once

#include "devmodel/backends/block/block_backend.hpp"
#include "devmodel/backends/block/nbd_server.hpp"
#include "devmodel/machine/device_lock.hpp"

#include <memory>

namespace boost::asio {
class io_context;
}

namespace escalus {

class NbdBackend final : public BlockBackend {
  public:
    /// Connects and waits for the server's greeting. Throws std::runtime_error with a message for the user.
    static std::unique_ptr<NbdBackend> connect(const std::string& uri, bool read_only,
                                               boost::asio::io_context& loop, DeviceLock& device_lock);
    /// The same with a server of our own, which lives until the connection is closed.
    static std::unique_ptr<NbdBackend> connect(std::unique_ptr<NbdServer> server, bool read_only,
                                               boost::asio::io_context& loop, DeviceLock& device_lock);
    /// Takes leave of the server; completions that have not been delivered never will be.
    ~NbdBackend() override;
    NbdBackend(const NbdBackend&) = delete;
    NbdBackend& operator=(const NbdBackend&) = delete;

    [[nodiscard]] std::uint64_t size() const override;
    [[nodiscard]] bool read_only() const override;
    [[nodiscard]] std::string description() const override;
    void read(std::uint64_t offset, std::span<std::uint8_t> data, Completion done) override;
    void write(std::uint64_t offset, std::span<const std::uint8_t> data, Completion done) override;
    void flush(Completion done) override;
    [[nodiscard]] bool can_trim() const override;
    void discard(std::uint64_t offset, std::uint64_t bytes, Completion done) override;
    void write_zeroes(std::uint64_t offset, std::uint64_t bytes, bool unmap, Completion done) override;

  private:
    struct State;
    explicit NbdBackend(std::shared_ptr<State> state);
    static std::unique_ptr<NbdBackend> ready(std::shared_ptr<State> state, bool read_only);
    std::shared_ptr<State> state_;
};

} // namespace escalus
