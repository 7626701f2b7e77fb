// SPDX-License-Identifier: GPL-2.0-or-later
// Address types shared by the monitor and the device model. They do not convert into one another, so a
// guest-physical address can never be used as a host-physical one by accident.
#pragma once

#include <cstdint>

namespace escalus {

/// A byte address in a guest's physical address space.
enum class GuestPhys : std::uint64_t {};
/// A byte address in the machine's physical address space.
enum class HostPhys : std::uint64_t {};
/// A linear (after segmentation, before paging) address of a guest.
enum class GuestLinear : std::uint64_t {};

template <typename A>
concept Address = __is_enum(A) && sizeof(A) == 8;

template <Address A>
constexpr std::uint64_t raw(A a) {
    return static_cast<std::uint64_t>(a);
}
template <Address A>
constexpr A operator+(A a, std::uint64_t bytes) {
    return A{raw(a) + bytes};
}
template <Address A>
constexpr A operator-(A a, std::uint64_t bytes) {
    return A{raw(a) - bytes};
}
template <Address A>
constexpr std::uint64_t operator-(A a, A b) {
    return raw(a) - raw(b);
}
template <Address A>
constexpr A& operator+=(A& a, std::uint64_t bytes) {
    return a = a + bytes;
}

inline constexpr std::uint64_t page_size = 4096;
inline constexpr std::uint64_t page_mask = page_size - 1;
inline constexpr std::uint64_t large_page_size = 2ull << 20;

} // namespace escalus
