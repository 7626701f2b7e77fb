// SPDX-License-Identifier: GPL-2.0-or-later
// A split virtqueue (Virtual I/O Device 1.1, 2.6), device side: takes chains of buffers that the driver made
// available, and gives them back used.
//
// State: where the three parts are, how far the device has read and written, negotiated options, and whether
// the driver broke the rules: then nothing more is taken until a reset. Everything in the ring is the guest's
// word, read once and checked: indices, lengths, loops, indirect tables, addresses. A table of descriptors
// lies in one piece of memory. Missing: packed virtqueues (not offered).
#pragma once

#include "devmodel/machine/guest_buffers.hpp"

#include <optional>

namespace escalus {

struct VirtqueueChain {
    std::uint16_t head = 0;
    GuestBuffers readable; ///< by the device
    GuestBuffers writable;
};

class Virtqueue {
  public:
    explicit Virtqueue(GuestMemory& memory, std::uint16_t most_entries)
        : most_entries_{most_entries}, memory_{memory} {
        reset();
    }
    void reset();

    // The transport's side.
    [[nodiscard]] std::uint16_t most_entries() const { return most_entries_; }
    [[nodiscard]] std::uint16_t entries() const { return entries_; }
    /// A power of two up to most_entries(); else false.
    bool set_entries(std::uint16_t entries);
    std::uint64_t descriptors = 0, available = 0, used = 0; ///< addresses
    void enable(bool event_index);
    [[nodiscard]] bool enabled() const { return enabled_; }

    // The device's side.
    /// The next chain; nothing when there is none or the queue is broken.
    std::optional<VirtqueueChain> take();
    /// `written`: bytes of the writable buffers that now hold something.
    void give_back(std::uint16_t head, std::uint32_t written);
    /// The device has taken all and wants to hear of the next. False: there is more already.
    bool ask_for_notification();
    /// The device looks by itself until it asks again.
    void mute_notifications();
    /// Whether the driver wants an interrupt for what was given back since the last call.
    bool wants_interrupt();
    [[nodiscard]] bool broken() const { return broken_; }

  private:
    struct Descriptor {
        std::uint64_t address;
        std::uint32_t bytes;
        std::uint16_t flags, next;
    };
    [[nodiscard]] std::optional<std::uint16_t> load16(std::uint64_t address);
    void store16(std::uint64_t address, std::uint16_t value);
    static constexpr std::size_t descriptor_bytes = 16;
    [[nodiscard]] static Descriptor descriptor_at(std::span<const std::uint8_t, descriptor_bytes> bytes);
    bool collect(std::uint16_t head, VirtqueueChain& chain);
    [[nodiscard]] std::uint64_t used_event() const { return available + 4 + 2ull * entries_; }
    [[nodiscard]] std::uint64_t available_event() const { return used + 4 + 8ull * entries_; }

    std::uint16_t most_entries_;
    GuestMemory& memory_;
    std::uint16_t entries_ = 0;
    std::uint16_t taken_ = 0, given_ = 0, told_ = 0; // free-running, as the ring's indices
    bool enabled_ = false, event_index_ = false, broken_ = false, muted_ = false;
};

} // namespace escalus
