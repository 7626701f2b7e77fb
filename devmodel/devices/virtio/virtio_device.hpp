// SPDX-License-Identifier: GPL-2.0-or-later
// A virtio device apart from how it is reached (Virtual I/O Device 1.1, chapter 2), and what its transport
// does for it.
#pragma once

#include "devmodel/devices/virtio/virtqueue.hpp"

#include <string_view>

namespace escalus {

namespace virtio {
// Device independent features (chapter 6).
inline constexpr std::uint64_t feature_any_layout = 1ull << 27, feature_indirect = 1ull << 28,
                               feature_event_index = 1ull << 29, feature_version_1 = 1ull << 32;
/// At most, for a driver of the legacy interface: it cannot choose a smaller queue, and some have room for no
/// larger one.
inline constexpr std::uint16_t legacy_queue_entries = 256;
} // namespace virtio

class VirtioHost {
  public:
    virtual ~VirtioHost() = default;
    [[nodiscard]] virtual Virtqueue& queue(unsigned index) = 0;
    [[nodiscard]] virtual GuestMemory& memory() = 0;
    [[nodiscard]] virtual std::uint64_t features() const = 0; ///< negotiated
    /// The driver has finished its set-up, and DMA is allowed.
    [[nodiscard]] virtual bool live() const = 0;
    /// Interrupts for the queue if its driver wants one now, and tells the driver when it broke the rules.
    virtual void queue_changed(unsigned index) = 0;
    /// Tells the driver that the device's configuration is another now.
    virtual void config_changed() = 0;
};

class VirtioDevice {
  public:
    VirtioDevice() = default;
    virtual ~VirtioDevice() = default;
    VirtioDevice(const VirtioDevice&) = delete;
    VirtioDevice& operator=(const VirtioDevice&) = delete;

    void plug(VirtioHost& host) { host_ = &host; }

    [[nodiscard]] virtual std::string_view name() const = 0;
    [[nodiscard]] virtual std::uint16_t type() const = 0;       ///< chapter 5
    [[nodiscard]] virtual std::uint32_t class_code() const = 0; ///< for PCI
    [[nodiscard]] virtual unsigned queue_count() const = 0;
    [[nodiscard]] virtual std::uint16_t queue_entries() const = 0; ///< at most, for each
    [[nodiscard]] virtual std::uint64_t features() const = 0;      ///< its own, without the transport's

    /// The device's configuration; `data` may reach beyond its end, where there are zeros.
    virtual void read_config(unsigned offset, std::span<std::uint8_t> data) = 0;
    virtual void write_config(unsigned /*offset*/, std::span<const std::uint8_t> /*data*/) {}

    /// The host is live from now on; notified() follows for each queue.
    virtual void driver_ready() {}
    /// The driver made buffers available. Only while the host is live.
    virtual void notified(unsigned queue) = 0;
    /// Forget what is under way; a completion of it that comes later is ignored.
    virtual void reset() = 0;
    virtual void pause() = 0;
    virtual void resume() = 0;

  protected:
    [[nodiscard]] VirtioHost& host() { return *host_; }

  private:
    VirtioHost* host_ = nullptr;
};

} // namespace escalus
