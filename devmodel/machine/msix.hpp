// SPDX-License-Identifier: GPL-2.0-or-later
// The MSI-X table and pending bits of a PCI function (PCI Local Bus Specification 3.0, 6.8.2): a page of its
// memory space, the table at its start and the pending bits at `pending_offset`. The capability, with its
// enable and mask bits, stays with the function.
#pragma once

#include "devmodel/machine/pci.hpp"

#include <vector>

namespace escalus {

class MsixTable {
  public:
    static constexpr unsigned page_bytes = 0x1000, pending_offset = 0x800, most_vectors = 128;
    static constexpr std::uint8_t capability_id = 0x11;
    static constexpr std::uint16_t control_enable = 0x8000, control_mask = 0x4000;

    MsixTable(unsigned vectors, MessageSender send);

    void read(std::uint64_t offset, std::span<std::uint8_t> data) const;
    /// Whole registers: other accesses are not defined, and dropped.
    void write(std::uint64_t offset, std::span<const std::uint8_t> data);
    /// The function's message control register was written.
    void set_control(std::uint16_t control);
    [[nodiscard]] bool enabled() const { return (control_ & control_enable) != 0; }
    [[nodiscard]] unsigned vectors() const { return static_cast<unsigned>(entries_.size()); }
    /// Sends the message, or keeps it pending while it is masked.
    void raise(unsigned vector);
    void reset();

  private:
    struct Entry {
        std::uint64_t address = 0;
        std::uint32_t data = 0;
        bool masked = true, pending = false;
    };
    [[nodiscard]] std::uint32_t read_register(unsigned offset) const;
    void write_register(unsigned offset, std::uint32_t value);
    void deliver(Entry& entry);

    std::vector<Entry> entries_;
    MessageSender send_;
    std::uint16_t control_ = 0;
};

} // namespace escalus
