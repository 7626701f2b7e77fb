// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/virtio/virtqueue.hpp"

#include "devmodel/machine/little_endian.hpp"

#include <array>
#include <atomic>
#include <bit>
#include <utility>

namespace escalus {

// --- The queue ---------------------------------------------------------------------------------------------

namespace {
constexpr std::uint16_t flag_next = 1, flag_write = 2, flag_indirect = 4;
constexpr std::uint16_t no_interrupt = 1, no_notification = 1; // in the available and the used ring
constexpr unsigned longest_chain = 1024;                       // what an indirect table may hold, too
// Offsets in the available and the used ring.
constexpr std::uint64_t ring_flags = 0, ring_index = 2, ring_entries = 4;
} // namespace

void Virtqueue::reset() {
    entries_ = most_entries_;
    descriptors = available = used = 0;
    taken_ = given_ = told_ = 0;
    enabled_ = event_index_ = broken_ = muted_ = false;
}

bool Virtqueue::set_entries(std::uint16_t entries) {
    if (!std::has_single_bit(entries) || entries > most_entries_)
        return false;
    entries_ = entries;
    return true;
}

void Virtqueue::enable(bool event_index) {
    enabled_ = true;
    event_index_ = event_index;
    // Alignments as 2.6 demands; indices are read and written whole.
    broken_ = descriptors % 16 != 0 || available % 2 != 0 || used % 4 != 0;
}

[[gnu::hot]] std::optional<std::uint16_t> Virtqueue::load16(std::uint64_t address) {
    const auto view = memory_.at(GuestPhys{address}, 2, Access::Read);
    if (view.size() != 2) {
        broken_ = true;
        return {};
    }
    // Other processors of the guest write it: one load, and what they wrote before it is seen after it.
    auto& value = *reinterpret_cast<std::uint16_t*>(view.data()); // NOLINT(*-reinterpret-cast)
    return std::atomic_ref{value}.load(std::memory_order_acquire);
}

[[gnu::hot]] void Virtqueue::store16(std::uint64_t address, std::uint16_t new_value) {
    const auto view = memory_.at(GuestPhys{address}, 2, Access::Write);
    if (view.size() != 2) {
        broken_ = true;
        return;
    }
    auto& value = *reinterpret_cast<std::uint16_t*>(view.data()); // NOLINT(*-reinterpret-cast)
    std::atomic_ref{value}.store(new_value, std::memory_order_release);
}

[[gnu::hot]] Virtqueue::Descriptor
Virtqueue::descriptor_at(std::span<const std::uint8_t, descriptor_bytes> bytes) {
    const Descriptor d{load_le<std::uint64_t>(bytes), load_le<std::uint32_t>(bytes, 8),
                       load_le<std::uint16_t>(bytes, 12), load_le<std::uint16_t>(bytes, 14)};
    std::atomic_signal_fence(std::memory_order_seq_cst); // read once: the guest may change it meanwhile
    return d;
}

/// 2.6.5: descriptors linked by `next`, or one that refers to a table of such.
[[gnu::hot]] bool Virtqueue::collect(std::uint16_t head, VirtqueueChain& chain) {
    const auto table_at = [this](std::uint64_t address, std::uint64_t bytes) {
        return memory_.at(GuestPhys{address}, bytes, Access::Read);
    };
    std::span<const std::uint8_t> table = table_at(descriptors, std::uint64_t{entries_} * descriptor_bytes);
    bool indirect = false;
    std::uint16_t index = head;
    for (unsigned count = 0; count < table.size() / descriptor_bytes; ++count) {
        const auto at = std::size_t{index} * descriptor_bytes;
        if (at >= table.size())
            return false;
        const auto d = descriptor_at(table.subspan(at).first<descriptor_bytes>());
        if ((d.flags & flag_indirect) != 0) {
            // Only the last of a chain, and not within a table; its write flag means nothing.
            if (indirect || (d.flags & flag_next) != 0 || d.bytes == 0 || d.bytes % descriptor_bytes != 0 ||
                d.bytes / descriptor_bytes > longest_chain)
                return false;
            indirect = true;
            table = table_at(d.address, d.bytes);
            index = 0;
            count = ~0u; // the table is counted anew
            continue;
        }
        if ((d.flags & flag_write) != 0)
            chain.writable.add(GuestPhys{d.address}, d.bytes);
        else if (chain.writable.size() != 0)
            return false; // readable ones come first
        else
            chain.readable.add(GuestPhys{d.address}, d.bytes);
        if ((d.flags & flag_next) == 0)
            return true;
        index = d.next;
    }
    return false; // it loops, or the table is not in memory
}

[[gnu::hot]] std::optional<VirtqueueChain> Virtqueue::take() {
    if (!enabled_ || broken_)
        return {};
    const auto offered = load16(available + ring_index);
    if (!offered || *offered == taken_)
        return {};
    if (static_cast<std::uint16_t>(*offered - taken_) > entries_) {
        broken_ = true;
        return {};
    }
    const auto head = load16(available + ring_entries + 2ull * (taken_ % entries_));
    VirtqueueChain chain;
    if (!head || !collect(*head, chain)) {
        broken_ = true;
        return {};
    }
    ++taken_;
    chain.head = *head;
    return chain;
}

[[gnu::hot]] void Virtqueue::give_back(std::uint16_t head, std::uint32_t written) {
    if (!enabled_ || broken_)
        return;
    std::array<std::uint8_t, 8> element{};
    store_le<std::uint32_t>(element, 0, head);
    store_le<std::uint32_t>(element, 4, written);
    if (!memory_.write(GuestPhys{used + ring_entries + 8ull * (given_ % entries_)}, element)) {
        broken_ = true;
        return;
    }
    store16(used + ring_index, ++given_);
}

[[gnu::hot]] bool Virtqueue::ask_for_notification() {
    if (!enabled_ || broken_)
        return true;
    if (event_index_)
        store16(available_event(), taken_);
    else if (std::exchange(muted_, false))
        store16(used + ring_flags, 0);
    std::atomic_thread_fence(std::memory_order_seq_cst); // the wish is out before the ring is looked at again
    const auto offered = load16(available + ring_index);
    return !offered || *offered == taken_;
}

[[gnu::hot]] void Virtqueue::mute_notifications() {
    // With the event index it is enough not to move the event: it lies behind.
    if (enabled_ && !broken_ && !event_index_ && !std::exchange(muted_, true))
        store16(used + ring_flags, no_notification);
}

[[gnu::hot]] bool Virtqueue::wants_interrupt() {
    if (!enabled_ || broken_ || told_ == given_)
        return false;
    const auto before = told_;
    told_ = given_;
    std::atomic_thread_fence(std::memory_order_seq_cst); // the used index is out before the wish is read
    if (event_index_) {
        const auto event = load16(used_event());
        return event &&
               static_cast<std::uint16_t>(given_ - *event - 1) < static_cast<std::uint16_t>(given_ - before);
    }
    const auto flags = load16(available + ring_flags);
    return flags && (*flags & no_interrupt) == 0;
}

} // namespace escalus
