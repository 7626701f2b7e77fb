// SPDX-License-Identifier: GPL-2.0-or-later
// A bus: which device answers which port or physical address.
//
// One instance is the port space (64 Ki ports), one the memory space. Devices register ranges; an overlap
// is a programming error and throws. An access is one lookup and one virtual call.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <stdexcept>
#include <string>

namespace escalus {

/// What stands on a bus. All calls come with the machine's device lock held, from a vCPU thread or the loop
/// thread. `region` is the tag the device gave when it registered the range, `offset` counts from the range's
/// start, and the span's size is the access width in bytes (1, 2, 4 or 8), little-endian. An access never
/// reaches beyond the range.
class BusDevice {
  public:
    virtual ~BusDevice() = default;
    virtual void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) = 0;
    virtual void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) = 0;

    /// `rep ins`/`rep outs`: data.size() / width accesses of `width` bytes to the same offset. Devices with a
    /// data port (IDE) override these to move whole sectors in one call.
    virtual void read_repeated(unsigned region, std::uint64_t offset, unsigned width,
                               std::span<std::uint8_t> data);
    virtual void write_repeated(unsigned region, std::uint64_t offset, unsigned width,
                                std::span<const std::uint8_t> data);
};

/// Thrown by Bus::add: two devices claim the same address, or the range is empty or beyond the bus.
class BusConflict : public std::logic_error {
    using std::logic_error::logic_error;
};

class Bus {
  public:
    /// `name` is for messages; `limit` is the first address beyond the bus (0x10000 for ports).
    Bus(std::string name, std::uint64_t limit);

    void add(std::uint64_t base, std::uint64_t size, BusDevice& device, unsigned region);
    /// Removes the range that starts at `base`; false when there is none.
    bool remove(std::uint64_t base);
    [[nodiscard]] bool overlaps(std::uint64_t base, std::uint64_t size) const;

    /// Reads of addresses nobody claims give all ones; writes there are dropped, as on hardware. An access
    /// that straddles ranges is split into bytes. The return value says whether any device answered.
    bool read(std::uint64_t address, std::span<std::uint8_t> data);
    bool write(std::uint64_t address, std::span<const std::uint8_t> data);
    bool read_repeated(std::uint64_t address, unsigned width, std::span<std::uint8_t> data);
    bool write_repeated(std::uint64_t address, unsigned width, std::span<const std::uint8_t> data);

  private:
    struct Range {
        std::uint64_t base = 0;
        std::uint64_t size = 0;
        BusDevice* device = nullptr;
        unsigned region = 0;
    };
    const Range* find(std::uint64_t address, std::uint64_t size) const;

    std::string name_;
    std::uint64_t limit_;
    std::map<std::uint64_t, Range> ranges_;
    mutable Range last_; // most accesses hit the range of the one before: a copy, to be at hand
};

} // namespace escalus
