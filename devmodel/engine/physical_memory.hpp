// SPDX-License-Identifier: GPL-2.0-or-later
// Host-physical memory by mmap of /dev/mem. Without O_SYNC the kernel maps reserved RAM write-back, which is
// what guest memory needs. (Unit tests put a memfd in the place of /dev/mem.)
#pragma once

#include "vmm/abi/types.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace escalus {

/// A piece of the process's address space, given back when it goes.
class Mapping {
  public:
    Mapping() = default;
    Mapping(void* address, std::uint64_t size) : address_{address}, size_{size} {}
    Mapping(Mapping&& other) noexcept
        : address_{std::exchange(other.address_, nullptr)}, size_{std::exchange(other.size_, 0)} {}
    Mapping& operator=(Mapping&& other) noexcept {
        std::swap(address_, other.address_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~Mapping();

    [[nodiscard]] std::span<std::uint8_t> bytes() const {
        return {static_cast<std::uint8_t*>(address_), size_};
    }
    template <typename T>
    [[nodiscard]] T* at(std::uint64_t offset = 0) const {
        return static_cast<T*>(static_cast<void*>(bytes().subspan(offset, sizeof(T)).data()));
    }
    /// Address space that holds nothing yet; aligned to 2 MiB.
    static Mapping reserve(std::uint64_t size);

  private:
    void* address_ = nullptr;
    std::uint64_t size_ = 0;
};

class PhysicalMemory {
  public:
    /// Opens /dev/mem. Throws EngineError that says who refuses and what to do.
    PhysicalMemory();
    /// Takes over a descriptor that stands for physical memory.
    explicit PhysicalMemory(int fd) : fd_{fd} {}
    PhysicalMemory(const PhysicalMemory&) = delete;
    PhysicalMemory& operator=(const PhysicalMemory&) = delete;
    ~PhysicalMemory() { close(); }

    /// Any alignment: the mapping holds the pages around the range.
    [[nodiscard]] Mapping map(HostPhys address, std::uint64_t size, bool writable) const;
    /// Puts the range into a reservation; address and size are multiples of the page size.
    void map_into(const Mapping& reservation, std::uint64_t offset, HostPhys address,
                  std::uint64_t size) const;
    /// From here on nothing more can be mapped; what is mapped stays.
    void close();

  private:
    int fd_ = -1;
};

} // namespace escalus
