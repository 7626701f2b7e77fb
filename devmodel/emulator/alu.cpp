// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/emulator/alu.hpp"

#include "devmodel/emulator/cpu_state.hpp"

#include <bit>

namespace escalus::emulation::alu {

namespace {
__extension__ using uint128 = unsigned __int128;
__extension__ using int128 = __int128;

void put(std::uint64_t& flags, std::uint64_t which, bool on) {
    flags = on ? flags | which : flags & ~which;
}
bool negative(unsigned bytes, std::uint64_t value) {
    return (value & sign_bit(bytes)) != 0;
}
void put_result(unsigned bytes, std::uint64_t result, std::uint64_t& flags) {
    put(flags, flag::zf, (result & mask_of(bytes)) == 0);
    put(flags, flag::sf, negative(bytes, result));
    put(flags, flag::pf, std::popcount(result & 0xff) % 2 == 0);
}
} // namespace

std::uint64_t add(unsigned bytes, std::uint64_t a, std::uint64_t b, bool carry, std::uint64_t& flags) {
    const std::uint64_t mask = mask_of(bytes);
    a &= mask;
    b &= mask;
    const std::uint64_t result = (a + b + (carry ? 1 : 0)) & mask;
    put_result(bytes, result, flags);
    put(flags, flag::cf, carry ? result <= a : result < a);
    put(flags, flag::af, ((a ^ b ^ result) & 0x10) != 0);
    put(flags, flag::of, negative(bytes, (a ^ result) & (b ^ result)));
    return result;
}

std::uint64_t subtract(unsigned bytes, std::uint64_t a, std::uint64_t b, bool borrow, std::uint64_t& flags) {
    const std::uint64_t mask = mask_of(bytes);
    a &= mask;
    b &= mask;
    const std::uint64_t result = (a - b - (borrow ? 1 : 0)) & mask;
    put_result(bytes, result, flags);
    put(flags, flag::cf, borrow ? a <= b : a < b);
    put(flags, flag::af, ((a ^ b ^ result) & 0x10) != 0);
    put(flags, flag::of, negative(bytes, (a ^ b) & (a ^ result)));
    return result;
}

std::uint64_t logic(unsigned bytes, std::uint64_t result, std::uint64_t& flags) {
    result &= mask_of(bytes);
    put_result(bytes, result, flags);
    flags &= ~(flag::cf | flag::of | flag::af);
    return result;
}

std::uint64_t increment(unsigned bytes, std::uint64_t a, std::uint64_t& flags) {
    const std::uint64_t carry = flags & flag::cf;
    const std::uint64_t result = add(bytes, a, 1, false, flags);
    flags = (flags & ~flag::cf) | carry;
    return result;
}

std::uint64_t decrement(unsigned bytes, std::uint64_t a, std::uint64_t& flags) {
    const std::uint64_t carry = flags & flag::cf;
    const std::uint64_t result = subtract(bytes, a, 1, false, flags);
    flags = (flags & ~flag::cf) | carry;
    return result;
}

namespace {
/// One place at a time, as the operation is defined; at most 63 steps of a rare instruction.
std::uint64_t rotate_through_carry(bool left, unsigned bytes, std::uint64_t value, unsigned count,
                                   bool& carry) {
    const std::uint64_t top = sign_bit(bytes);
    for (; count != 0; --count) {
        const bool out = (value & (left ? top : 1)) != 0;
        value = left ? value << 1 | (carry ? 1 : 0) : value >> 1 | (carry ? top : 0);
        value &= mask_of(bytes);
        carry = out;
    }
    return value;
}

std::uint64_t rotate(Shift kind, unsigned bytes, std::uint64_t value, unsigned count, std::uint64_t& flags) {
    const unsigned bits = 8 * bytes;
    bool carry = (flags & flag::cf) != 0;
    const bool left = kind == Shift::Rol || kind == Shift::Rcl;
    if (kind == Shift::Rcl || kind == Shift::Rcr) {
        count %= bits + 1;
        if (count == 0)
            return value;
        value = rotate_through_carry(left, bytes, value, count, carry);
    } else {
        count %= bits;
        if (count != 0)
            value =
                left ? value << count | value >> (bits - count) : value >> count | value << (bits - count);
        value &= mask_of(bytes);
        carry = left ? (value & 1) != 0 : negative(bytes, value);
    }
    put(flags, flag::cf, carry);
    put(flags, flag::of, negative(bytes, value) != (left ? carry : negative(bytes, value << 1)));
    return value;
}
} // namespace

std::uint64_t shift(Shift kind, unsigned bytes, std::uint64_t value, unsigned count, std::uint64_t& flags) {
    const unsigned bits = 8 * bytes;
    value &= mask_of(bytes);
    count &= bytes == 8 ? 63 : 31;
    if (count == 0)
        return value;
    if (kind >= Shift::Rol)
        return rotate(kind, bytes, value, count, flags);

    // All but the last place, so that the last one shows the bit that goes to CF.
    const unsigned before = count - 1;
    std::uint64_t last = 0, result = 0;
    bool carry = false, overflow = false;
    switch (kind) {
    case Shift::Shl:
        last = before < bits ? value << before & mask_of(bytes) : 0;
        result = last << 1 & mask_of(bytes);
        carry = negative(bytes, last);
        overflow = negative(bytes, result) != carry;
        break;
    case Shift::Shr:
        last = before < bits ? value >> before : 0;
        result = last >> 1;
        carry = (last & 1) != 0;
        overflow = negative(bytes, last);
        break;
    default: { // Sar
        const auto wide = static_cast<std::int64_t>(sign_extend(value, bytes)) >> before;
        carry = (wide & 1) != 0;
        result = static_cast<std::uint64_t>(wide >> 1) & mask_of(bytes);
        break;
    }
    }
    put_result(bytes, result, flags);
    put(flags, flag::cf, carry);
    put(flags, flag::of, overflow);
    put(flags, flag::af, false);
    return result;
}

std::uint64_t double_shift(bool left, unsigned bytes, std::uint64_t value, std::uint64_t filler,
                           unsigned count, std::uint64_t& flags) {
    const unsigned bits = 8 * bytes;
    const std::uint64_t mask = mask_of(bytes);
    value &= mask;
    filler &= mask;
    count &= bytes == 8 ? 63 : 31;
    if (count == 0)
        return value;
    // With 16-bit operands counts above 16 are undefined; this goes on with the operand itself, as CPUs do.
    uint128 wide = 0;
    std::uint64_t result = 0;
    bool carry = false;
    if (left) {
        wide = (static_cast<uint128>(value) << bits | filler) << bits | (bytes == 2 ? value : 0);
        if (bytes == 8)
            wide = static_cast<uint128>(value) << 64 | filler;
        const unsigned top = bytes == 8 ? 64 : 2 * bits; // where `value` stands
        carry = (wide >> (top + bits - count) & 1) != 0;
        result = static_cast<std::uint64_t>(wide << count >> top) & mask;
    } else {
        wide = static_cast<uint128>(filler) << bits | value;
        if (bytes == 2)
            wide |= static_cast<uint128>(value) << (2 * bits);
        carry = (wide >> (count - 1) & 1) != 0;
        result = static_cast<std::uint64_t>(wide >> count) & mask;
    }
    put_result(bytes, result, flags);
    put(flags, flag::cf, carry);
    put(flags, flag::of, negative(bytes, result ^ value));
    put(flags, flag::af, false);
    return result;
}

Wide multiply(unsigned bytes, std::uint64_t a, std::uint64_t b, bool is_signed, std::uint64_t& flags) {
    const unsigned bits = 8 * bytes;
    const std::uint64_t mask = mask_of(bytes);
    uint128 product = 0;
    bool fits = false;
    if (is_signed) {
        const auto signed_product = static_cast<int128>(static_cast<std::int64_t>(sign_extend(a, bytes))) *
                                    static_cast<std::int64_t>(sign_extend(b, bytes));
        product = static_cast<uint128>(signed_product);
        fits = signed_product ==
               static_cast<std::int64_t>(sign_extend(static_cast<std::uint64_t>(product), bytes));
    } else {
        product = static_cast<uint128>(a & mask) * (b & mask);
        fits = product >> bits == 0;
    }
    const Wide result{static_cast<std::uint64_t>(product) & mask,
                      static_cast<std::uint64_t>(product >> bits) & mask};
    put_result(bytes, result.low, flags);
    put(flags, flag::zf | flag::af, false);
    put(flags, flag::cf | flag::of, !fits);
    return result;
}

Quotient divide(unsigned bytes, Wide dividend, std::uint64_t divisor, bool is_signed) {
    const unsigned bits = 8 * bytes;
    const std::uint64_t mask = mask_of(bytes);
    divisor &= mask;
    if (divisor == 0)
        return {};
    const uint128 wide = static_cast<uint128>(dividend.high & mask) << bits | (dividend.low & mask);
    if (!is_signed) {
        const uint128 quotient = wide / divisor;
        if (quotient > mask)
            return {};
        return {true, static_cast<std::uint64_t>(quotient), static_cast<std::uint64_t>(wide % divisor)};
    }
    // On magnitudes, so that no intermediate overflows.
    const bool minus_dividend = negative(bytes, dividend.high), minus_divisor = negative(bytes, divisor);
    uint128 magnitude = minus_dividend ? -wide : wide;
    if (bytes < 8)
        magnitude &= (static_cast<uint128>(1) << (2 * bits)) - 1;
    const std::uint64_t by = (minus_divisor ? -divisor : divisor) & mask;
    const uint128 quotient = magnitude / by;
    const auto remainder = static_cast<std::uint64_t>(magnitude % by);
    const bool minus = minus_dividend != minus_divisor;
    if (quotient > (minus ? sign_bit(bytes) : sign_bit(bytes) - 1))
        return {};
    const auto low = static_cast<std::uint64_t>(quotient);
    return {true, (minus ? -low : low) & mask, (minus_dividend ? -remainder : remainder) & mask};
}

bool condition(unsigned code, std::uint64_t flags) {
    const auto set = [&](std::uint64_t which) { return (flags & which) != 0; };
    const bool less = set(flag::sf) != set(flag::of);
    bool result = false;
    switch (code >> 1 & 7) {
    case 0:
        result = set(flag::of);
        break;
    case 1:
        result = set(flag::cf);
        break;
    case 2:
        result = set(flag::zf);
        break;
    case 3:
        result = set(flag::cf | flag::zf);
        break;
    case 4:
        result = set(flag::sf);
        break;
    case 5:
        result = set(flag::pf);
        break;
    case 6:
        result = less;
        break;
    default:
        result = less || set(flag::zf);
        break;
    }
    return result != ((code & 1) != 0);
}

} // namespace escalus::emulation::alu
