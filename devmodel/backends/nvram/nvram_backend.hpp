// SPDX-License-Identifier: GPL-2.0-or-later
// Where the bytes of a small memory live that keeps its contents without power (a flash chip's). The device
// has them all in memory; the backend is told of each change and keeps what it was told.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace escalus {

class NvramBackend {
  public:
    virtual ~NvramBackend() = default;

    /// What was kept.
    [[nodiscard]] virtual std::span<const std::uint8_t> contents() const = 0;
    /// The bytes from `offset` on, which are all within contents(), are these now. Never waits.
    virtual void write(std::uint64_t offset, std::span<const std::uint8_t> data) = 0;
    /// A good moment to put what was written on stable storage: the guest has finished something.
    virtual void commit() = 0;
    /// False once something could not be kept.
    [[nodiscard]] virtual bool healthy() const = 0;
};

/// In memory only.
class MemoryNvram final : public NvramBackend {
  public:
    explicit MemoryNvram(std::vector<std::uint8_t> bytes) : bytes_{std::move(bytes)} {}
    [[nodiscard]] std::span<const std::uint8_t> contents() const override { return bytes_; }
    void write(std::uint64_t offset, std::span<const std::uint8_t> data) override {
        std::ranges::copy(data, bytes_.begin() + static_cast<std::ptrdiff_t>(offset));
        ++writes;
    }
    void commit() override { ++commits; }
    [[nodiscard]] bool healthy() const override { return !broken; }

    unsigned writes = 0, commits = 0;
    bool broken = false;

  private:
    std::vector<std::uint8_t> bytes_;
};

} // namespace escalus
