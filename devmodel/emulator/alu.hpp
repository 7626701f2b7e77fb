// SPDX-License-Identifier: GPL-2.0-or-later
// Integer arithmetic with the flags an x86 CPU gives (Intel SDM volume 1, chapter 3.4.3 and volume 2).
//
// Pure functions. Operands are the low `bytes` (1, 2, 4, 8) of 64-bit values, and so are results. `flags` is
// RFLAGS: only arithmetic flags change. Flags that the manual leaves undefined get what common CPUs give.
#pragma once

#include <cstdint>

namespace escalus::emulation::alu {

std::uint64_t add(unsigned bytes, std::uint64_t a, std::uint64_t b, bool carry, std::uint64_t& flags);
/// a - b - borrow
std::uint64_t subtract(unsigned bytes, std::uint64_t a, std::uint64_t b, bool borrow, std::uint64_t& flags);
/// Sets the flags of AND, OR, XOR, TEST for their result, and returns it.
std::uint64_t logic(unsigned bytes, std::uint64_t result, std::uint64_t& flags);
/// INC and DEC leave CF alone.
std::uint64_t increment(unsigned bytes, std::uint64_t a, std::uint64_t& flags);
std::uint64_t decrement(unsigned bytes, std::uint64_t a, std::uint64_t& flags);

enum class Shift { Shl, Shr, Sar, Rol, Ror, Rcl, Rcr };
std::uint64_t shift(Shift kind, unsigned bytes, std::uint64_t value, unsigned count, std::uint64_t& flags);
/// SHLD (left) and SHRD: bits come in from `filler`. `bytes` is 2, 4 or 8.
std::uint64_t double_shift(bool left, unsigned bytes, std::uint64_t value, std::uint64_t filler,
                           unsigned count, std::uint64_t& flags);

struct Wide {
    std::uint64_t low = 0, high = 0;
};
Wide multiply(unsigned bytes, std::uint64_t a, std::uint64_t b, bool is_signed, std::uint64_t& flags);

struct Quotient {
    bool ok = false; ///< false: #DE
    std::uint64_t quotient = 0, remainder = 0;
};
Quotient divide(unsigned bytes, Wide dividend, std::uint64_t divisor, bool is_signed);

/// Condition code 0..15 (the low nibble of Jcc, SETcc, CMOVcc opcodes).
bool condition(unsigned code, std::uint64_t flags);

} // namespace escalus::emulation::alu
