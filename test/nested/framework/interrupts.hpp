// SPDX-License-Identifier: GPL-2.0-or-later
// Exceptions and interrupts in root mode. An exception ends the check, unless it is asked for by fault_of().
// NMIs and interrupts are counted and return. The timer ends a check that hangs.
#pragma once

#include "test/nested/framework/guarded.hpp"

#include <cstdint>

namespace escalus::nested {

struct InterruptFrame {
    std::uint64_t vector, error_code, rip, cs, rflags, rsp, ss;
};

inline constexpr std::uint8_t timer_vector = 0xef, spurious_vector = 0xff;
inline constexpr unsigned no_fault = 256;

/// How often each vector was taken in root mode since forget_interrupts().
extern volatile unsigned interrupts_taken[256];
/// The last exception that fault_of() caught.
extern InterruptFrame last_fault;

void start_interrupts();
void forget_interrupts();

/// The vector of the exception that `body` raises in root mode; no_fault when it raises none.
template <typename Body>
unsigned fault_of(Body&& body);

void expect_fault(bool expected);

template <typename Body>
unsigned fault_of(Body&& body) {
    expect_fault(true);
    const Outcome outcome = guarded(body);
    expect_fault(false);
    return outcome == Outcome::Fault ? static_cast<unsigned>(last_fault.vector) : no_fault;
}

} // namespace escalus::nested
