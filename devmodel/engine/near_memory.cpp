// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/engine/near_memory.hpp"

#include <array>
#include <mutex>
#include <new>

namespace escalus {

namespace {

// Address Sanitizer watches over the heap, not over pieces of an array.
#ifdef __SANITIZE_ADDRESS__
constexpr std::size_t capacity = 64;
#else
constexpr std::size_t capacity = std::size_t{72} << 10;
#endif
constexpr std::size_t line = 64; // of the cache

alignas(4096) constinit std::array<std::byte, capacity> storage{};
constinit std::size_t used = 0, objects = 0;
constinit std::mutex lock;

} // namespace

void* NearMemory::operator new(std::size_t size) {
    const auto whole = (size + line - 1) / line * line;
    {
        const std::scoped_lock guard{lock};
        if (whole <= capacity - used) {
            auto* const object = storage.data() + used;
            used += whole;
            ++objects;
            return object;
        }
    }
    return ::operator new(size);
}

void NearMemory::operator delete(void* object) noexcept {
    const auto* const at = static_cast<std::byte*>(object);
    if (at < storage.data() || at >= storage.data() + capacity)
        return ::operator delete(object);
    const std::scoped_lock guard{lock};
    if (--objects == 0)
        used = 0;
}

} // namespace escalus
