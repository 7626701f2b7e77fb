// SPDX-License-Identifier: GPL-2.0-or-later
// Guest-physical memory as devices see it (for DMA and instruction emulation), and as the machine lays it
// out.
#pragma once

#include "vmm/abi/types.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace escalus {

enum class Access : std::uint8_t { None = 0, Read = 1, Write = 2, Execute = 4, RX = 5, RWX = 7 };

/// DMA view. Addresses come from the guest and may be anything: nothing here throws or faults.
class GuestMemory {
  public:
    virtual ~GuestMemory() = default;

    /// The host's view of [gpa, gpa + size) when all of it is memory that the guest may access this way
    /// (`access` is Read or Write; a ROM may be read) and it is contiguous in the host; else an empty span.
    /// Valid until the memory map changes, so do not keep it across calls.
    [[nodiscard]] virtual std::span<std::uint8_t> at(GuestPhys gpa, std::uint64_t size, Access access) = 0;

    /// Copies; parts that are not memory read as all ones and swallow writes. False when there was such a
    /// part.
    bool read(GuestPhys gpa, std::span<std::uint8_t> data);
    bool write(GuestPhys gpa, std::span<const std::uint8_t> data);
};

/// A piece of memory that can be mapped into a guest: RAM, video memory, a ROM. Page-granular.
class MemoryRegion {
  public:
    virtual ~MemoryRegion() = default;
    [[nodiscard]] virtual std::span<std::uint8_t> bytes() = 0;
};

/// The guest-physical address space. Changing it takes the machine's vCPUs out of guest mode for a moment.
/// All addresses and sizes are multiples of 4096; anything else, or memory beyond the region, throws
/// std::invalid_argument.
class MemoryMap {
  public:
    virtual ~MemoryMap() = default;
    /// Allocates zeroed memory from the VM's share of the pool. Throws std::bad_alloc when it is used up.
    virtual MemoryRegion& allocate(std::string name, std::uint64_t size) = 0;
    /// Maps region bytes [offset, offset + size) at gpa; what was mapped there before is replaced.
    virtual void map(GuestPhys gpa, MemoryRegion& region, std::uint64_t offset, std::uint64_t size,
                     Access access) = 0;
    virtual void unmap(GuestPhys gpa, std::uint64_t size) = 0;
    /// Which pages of [gpa, gpa + size) the guest wrote since the last call: one bit a page in `bitmap`,
    /// which is resized.
    virtual void harvest_dirty(GuestPhys gpa, std::uint64_t size, std::vector<std::uint64_t>& bitmap) = 0;
};

} // namespace escalus
