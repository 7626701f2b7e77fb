// SPDX-License-Identifier: GPL-2.0-or-later
// Arithmetic, logic, shifts and bit instructions.
#include "devmodel/emulator/executor.hpp"

#include <bit>

namespace escalus::emulation {

void Executor::alu_operation(Alu operation) {
    const auto& to = in_.operand[0];
    const unsigned bytes = to.bytes;
    const bool writes = operation != Alu::Cmp && operation != Alu::Test;
    // A memory source is read first: it is the only memory operand then.
    const std::uint64_t b = get(in_.operand[1]);
    const Target into = writes ? target(to, true) : Target{.operand = to, .old = get(to)};
    const std::uint64_t a = into.old;
    std::uint64_t flags = page_.rflags;
    const bool carry = (flags & flag::cf) != 0;
    std::uint64_t result = 0;
    switch (operation) {
    case Alu::Add:
        result = alu::add(bytes, a, b, false, flags);
        break;
    case Alu::Adc:
        result = alu::add(bytes, a, b, carry, flags);
        break;
    case Alu::Sub:
    case Alu::Cmp:
        result = alu::subtract(bytes, a, b, false, flags);
        break;
    case Alu::Sbb:
        result = alu::subtract(bytes, a, b, carry, flags);
        break;
    case Alu::Or:
        result = alu::logic(bytes, a | b, flags);
        break;
    case Alu::Xor:
        result = alu::logic(bytes, a ^ b, flags);
        break;
    case Alu::And:
    case Alu::Test:
        result = alu::logic(bytes, a & b, flags);
        break;
    }
    if (writes)
        put(into, result);
    page_.rflags = flags;
}

void Executor::unary(Unary operation) {
    const Target into = target(in_.operand[0], true);
    const unsigned bytes = into.operand.bytes;
    std::uint64_t flags = page_.rflags;
    std::uint64_t result = 0;
    switch (operation) {
    case Unary::Inc:
        result = alu::increment(bytes, into.old, flags);
        break;
    case Unary::Dec:
        result = alu::decrement(bytes, into.old, flags);
        break;
    case Unary::Neg:
        result = alu::subtract(bytes, 0, into.old, false, flags);
        break;
    case Unary::Not:
        result = ~into.old;
        break;
    }
    put(into, result);
    page_.rflags = flags;
}

void Executor::shift(alu::Shift kind) {
    const Target into = target(in_.operand[0], true);
    std::uint64_t flags = page_.rflags;
    const auto count = static_cast<unsigned>(get(in_.operand[1]) & 0xff);
    put(into, alu::shift(kind, into.operand.bytes, into.old, count, flags));
    page_.rflags = flags;
}

void Executor::double_shift(bool left) {
    const Target into = target(in_.operand[0], true);
    std::uint64_t flags = page_.rflags;
    const auto count = static_cast<unsigned>(get(in_.operand[2]) & 0xff);
    put(into, alu::double_shift(left, into.operand.bytes, into.old, get(in_.operand[1]), count, flags));
    page_.rflags = flags;
}

void Executor::multiply(bool is_signed) {
    const auto& first = in_.operand[0];
    std::uint64_t flags = page_.rflags;
    // IMUL r, r/m and IMUL r, r/m, imm have their destination first; the one-operand forms hide RDX:RAX
    // behind their source.
    const bool three = in_.operand[2].kind == Operand::Kind::Immediate;
    const bool one = in_.visible_operands == 1;
    if (!one) {
        const unsigned bytes = first.bytes;
        const std::uint64_t a = get(in_.operand[1]);
        const std::uint64_t b = get(in_.operand[three ? 2 : 0]);
        set_register(page_, first.index, bytes, alu::multiply(bytes, a, b, true, flags).low);
        page_.rflags = flags;
        return;
    }
    const unsigned bytes = first.bytes;
    const auto product = alu::multiply(bytes, accumulator(bytes), get(first), is_signed, flags);
    if (bytes == 1) {
        set_register(page_, abi::rax, 2, product.high << 8 | product.low);
    } else {
        set_register(page_, abi::rax, bytes, product.low);
        set_register(page_, abi::rdx, bytes, product.high);
    }
    page_.rflags = flags;
}

void Executor::divide(bool is_signed) {
    const unsigned bytes = in_.operand[0].bytes;
    alu::Wide dividend{accumulator(bytes), page_.gpr[abi::rdx] & mask_of(bytes)};
    if (bytes == 1)
        dividend.high = page_.gpr[abi::rax] >> 8 & 0xff;
    const auto result = alu::divide(bytes, dividend, get(in_.operand[0]), is_signed);
    if (!result.ok)
        throw GuestFault{.vector = vector::de};
    if (bytes == 1) {
        set_register(page_, abi::rax, 2, result.remainder << 8 | result.quotient);
    } else {
        set_register(page_, abi::rax, bytes, result.quotient);
        set_register(page_, abi::rdx, bytes, result.remainder);
    }
}

void Executor::bit_operation(Bit operation) {
    Operand to = in_.operand[0];
    const unsigned bytes = to.bytes;
    std::uint64_t bit = get(in_.operand[1]);
    if (to.kind == Operand::Kind::Memory && in_.operand[1].kind == Operand::Kind::Register) {
        // A bit string: the register is a signed bit offset from the operand's address.
        const auto offset = static_cast<std::int64_t>(sign_extend(bit, bytes));
        to.value += (offset >> std::countr_zero(8 * bytes)) * static_cast<std::int64_t>(bytes);
    }
    bit &= 8 * bytes - 1;
    const bool writes = operation != Bit::Test;
    const Target into = writes ? target(to, true) : Target{.operand = to, .old = get(to)};
    const std::uint64_t mask = std::uint64_t{1} << bit;
    switch (operation) {
    case Bit::Test:
        break;
    case Bit::Set:
        put(into, into.old | mask);
        break;
    case Bit::Reset:
        put(into, into.old & ~mask);
        break;
    case Bit::Complement:
        put(into, into.old ^ mask);
        break;
    }
    page_.rflags = (page_.rflags & ~flag::cf) | ((into.old & mask) != 0 ? flag::cf : 0);
}

void Executor::bit_scan(bool reverse) {
    const auto& to = in_.operand[0];
    const std::uint64_t value = get(in_.operand[1]) & mask_of(to.bytes);
    if (value == 0) { // the destination is left alone, as CPUs do and AMD documents
        page_.rflags |= flag::zf;
        return;
    }
    page_.rflags &= ~flag::zf;
    set_register(page_, to.index, to.bytes,
                 static_cast<unsigned>(reverse ? std::bit_width(value) - 1 : std::countr_zero(value)));
}

void Executor::bit_count(Count what) {
    const auto& to = in_.operand[0];
    const unsigned bits = 8u * to.bytes;
    const std::uint64_t value = get(in_.operand[1]) & mask_of(to.bytes);
    unsigned result = 0;
    std::uint64_t flags = page_.rflags & ~(flag::cf | flag::zf);
    if (what == Count::Population) {
        result = static_cast<unsigned>(std::popcount(value));
        flags &= ~flag::arithmetic;
        flags |= value == 0 ? flag::zf : 0;
    } else {
        if (value == 0)
            result = bits;
        else
            result = what == Count::Leading ? bits - static_cast<unsigned>(std::bit_width(value))
                                            : static_cast<unsigned>(std::countr_zero(value));
        flags |= (value == 0 ? flag::cf : 0) | (result == 0 ? flag::zf : 0);
    }
    set_register(page_, to.index, to.bytes, result);
    page_.rflags = flags;
}

} // namespace escalus::emulation
