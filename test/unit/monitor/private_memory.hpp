// SPDX-License-Identifier: GPL-2.0-or-later
// Private memory for the monitor's page allocator in a unit test: addresses are the process's own.
#pragma once

#include "vmm/memory/page_allocator.hpp"

#include <cstdlib>

namespace escalus::vmm {

class PrivateMemory {
  public:
    static constexpr std::uint64_t pages = 512;
    PrivateMemory() : memory_{std::aligned_alloc(page_size, pages * page_size)} {
        start_page_allocator(HostPhys{reinterpret_cast<std::uint64_t>(memory_)}, pages * page_size);
    }
    ~PrivateMemory() { std::free(memory_); }
    PrivateMemory(const PrivateMemory&) = delete;
    PrivateMemory& operator=(const PrivateMemory&) = delete;

  private:
    void* memory_;
};

} // namespace escalus::vmm
