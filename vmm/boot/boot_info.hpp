// SPDX-License-Identifier: GPL-2.0-or-later
// What the boot loader told, in one form for Multiboot1 and Multiboot2, copied out of the loader's memory.
#pragma once

#include "vmm/abi/types.hpp"

#include <cstddef>
#include <cstdint>

namespace escalus::vmm {

/// A vector of bounded size; push beyond the bound is refused.
template <typename T, std::size_t N>
class FixedVector {
  public:
    constexpr bool push_back(const T& value) {
        if (size_ == N)
            return false;
        items_[size_++] = value;
        return true;
    }
    constexpr void erase(std::size_t index) {
        for (std::size_t i = index + 1; i < size_; ++i)
            items_[i - 1] = items_[i];
        --size_;
    }
    [[nodiscard]] constexpr std::size_t size() const { return size_; }
    constexpr T& operator[](std::size_t i) { return items_[i]; }
    constexpr const T& operator[](std::size_t i) const { return items_[i]; }
    constexpr T* begin() { return items_; }
    constexpr T* end() { return items_ + size_; }
    constexpr const T* begin() const { return items_; }
    constexpr const T* end() const { return items_ + size_; }

  private:
    T items_[N]{};
    std::size_t size_ = 0;
};

/// ACPI 6.5, table 15.4: address range types, as E820 reports them.
enum class MemoryType : std::uint32_t { Usable = 1, Reserved = 2 };

struct MemoryRange {
    HostPhys base{};
    std::uint64_t bytes = 0;
    MemoryType type = MemoryType::Reserved;
    [[nodiscard]] constexpr HostPhys end() const { return base + bytes; }
};
using MemoryList = FixedVector<MemoryRange, 256>;

struct BootModule {
    HostPhys base{};
    std::uint64_t bytes = 0;
    char string[1024] = {};
};

struct Framebuffer {
    HostPhys base{}; ///< 0: text mode, or unknown
    std::uint32_t pitch = 0, width = 0, height = 0;
    std::uint8_t bits_per_pixel = 0;
    std::uint8_t red_position = 0, red_size = 0, green_position = 0, green_size = 0, blue_position = 0,
                 blue_size = 0;
};

struct EfiInfo {
    HostPhys system_table{}; ///< 0: not booted by 64-bit UEFI
    HostPhys memory_map{};
    std::uint32_t memory_map_bytes = 0, descriptor_bytes = 0, descriptor_version = 0;
};

struct BootInfo {
    char command_line[1024] = {};
    MemoryList memory;
    FixedVector<BootModule, 4> modules;
    HostPhys rsdp{}; ///< 0: not told; search the BIOS area
    Framebuffer framebuffer;
    EfiInfo efi;
};

/// Reads what the loader left. Stops with a message when it is not Multiboot.
void read_multiboot(std::uint32_t magic, HostPhys information, BootInfo& info);

/// The monitor sees all physical memory identity-mapped.
template <typename T>
T* physical(HostPhys address) {
    return reinterpret_cast<T*>(raw(address));
}

} // namespace escalus::vmm
