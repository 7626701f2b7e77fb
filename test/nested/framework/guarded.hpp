// SPDX-License-Identifier: GPL-2.0-or-later
// Calls that can be left from anywhere below: how a check is ended by a failed requirement, by an exception
// in root mode, or by the timer.
#pragma once

#include <cstdint>
#include <type_traits>

namespace escalus::nested {

/// How a guarded call came back.
enum class Outcome : std::uint32_t { Returned, Failed, Skipped, TimedOut, Fault };

struct Guard {
    std::uint64_t stack;
    Guard* outer;
};

extern "C" {
/// The innermost guarded call.
extern Guard* nested_guard;
/// Calls `body(argument)`; the outcome is Returned, or what leave_guarded() was given.
Outcome call_guarded(void (*body)(void*), void* argument);
/// Leaves the innermost guarded call.
[[noreturn]] void leave_guarded(Outcome outcome);
}

/// Leaves all guarded calls up to the check itself (check.cpp).
[[noreturn]] void leave_check(Outcome outcome);

template <typename Body>
Outcome guarded(Body&& body) {
    return call_guarded([](void* b) { (*static_cast<std::remove_reference_t<Body>*>(b))(); }, &body);
}

} // namespace escalus::nested
