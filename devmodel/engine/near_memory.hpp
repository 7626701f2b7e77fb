// SPDX-License-Identifier: GPL-2.0-or-later
// What every exit of a guest touches lies together, in the program's own pages. After each world switch the
// processor has forgotten its translations, and walks two tables for every page that it comes to.
#pragma once

#include <cstddef>

namespace escalus {

/// A base of classes whose objects are made with `new` and touched at each exit. The first 72 KiB of them
/// that a process has at a time lie next to each other in the order in which they are made; further ones are
/// anywhere.
class NearMemory {
  public:
    static void* operator new(std::size_t size);
    static void operator delete(void* object) noexcept;

  protected:
    NearMemory() = default;
    ~NearMemory() = default;
};

} // namespace escalus
