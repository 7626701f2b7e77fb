// SPDX-License-Identifier: GPL-2.0-or-later
// Moves, exchanges, and moves of vector registers.
#include "devmodel/emulator/executor.hpp"

#include <algorithm>
#include <cstring>

namespace escalus::emulation {

void Executor::move() {
    const auto& to = in_.operand[0];
    if (to.kind == Operand::Kind::Segment) {
        check_segment_load();
        load_segment(to.index, static_cast<std::uint16_t>(get(in_.operand[1])));
        return;
    }
    if (to.kind == Operand::Kind::Memory) { // the source is a register or an immediate
        const std::uint64_t value = get(in_.operand[1]);
        access_.store(resolve(to, Use::Write), value);
        return;
    }
    const std::uint64_t value = get(in_.operand[1]);
    put(target(to, false), value);
}

void Executor::move_extended(bool is_signed) {
    const auto& from = in_.operand[1];
    const std::uint64_t value = get(from) & mask_of(from.bytes);
    put(target(in_.operand[0], false), is_signed ? sign_extend(value, from.bytes) : value);
}

void Executor::move_swapped() {
    const unsigned bytes = in_.operand[0].bytes;
    const std::uint64_t value = __builtin_bswap64(get(in_.operand[1])) >> (64 - 8 * bytes);
    put(target(in_.operand[0], false), value);
}

void Executor::exchange() {
    // Either order of operands is the same instruction; memory may be in one of them and is locked.
    const bool memory_second = in_.operand[1].kind == Operand::Kind::Memory;
    const Target first = target(in_.operand[memory_second ? 1 : 0], true);
    const Target second = target(in_.operand[memory_second ? 0 : 1], true);
    put_locked(first, second.old);
    put(second, first.old);
}

void Executor::exchange_add() {
    const Target into = target(in_.operand[0], true);
    const Target from = target(in_.operand[1], true);
    std::uint64_t flags = page_.rflags;
    const std::uint64_t sum = alu::add(into.operand.bytes, into.old, from.old, false, flags);
    if (into.operand.kind == Operand::Kind::Memory) {
        put(into, sum); // first, as it may ask for a retry
        put(from, into.old);
    } else {
        put(from, into.old);
        put(into, sum); // last, as both may be one register
    }
    page_.rflags = flags;
}

void Executor::compare_exchange() {
    const Target into = target(in_.operand[0], true);
    const unsigned bytes = into.operand.bytes;
    const std::uint64_t replacement = get(in_.operand[1]);
    std::uint64_t flags = page_.rflags;
    alu::subtract(bytes, accumulator(bytes), into.old, false, flags);
    const bool equal = (flags & flag::zf) != 0;
    put(into, equal ? replacement : into.old); // the bus sees a write either way
    if (!equal)
        set_register(page_, abi::rax, bytes, into.old);
    page_.rflags = flags;
}

void Executor::compare_exchange_pair(unsigned half_bytes) {
    const auto& to = in_.operand[0];
    const unsigned bytes = 2 * half_bytes;
    const Place place = access_.resolve_vector(to.segment, address(to), bytes, Use::Write, half_bytes == 8);
    std::uint8_t data[16] = {};
    access_.read(place, std::span{data}.first(bytes));
    std::uint64_t low = 0, high = 0;
    std::memcpy(&low, data, half_bytes);
    std::memcpy(&high, data + half_bytes, half_bytes);

    const std::uint64_t mask = mask_of(half_bytes);
    auto& gpr = page_.gpr;
    const bool equal = low == (gpr[abi::rax] & mask) && high == (gpr[abi::rdx] & mask);
    const std::uint64_t new_low = equal ? gpr[abi::rbx] & mask : low;
    const std::uint64_t new_high = equal ? gpr[abi::rcx] & mask : high;
    if (half_bytes == 4) {
        const std::uint64_t seen = high << 32 | low;
        if (in_.lock)
            access_.store_locked(place, seen, new_high << 32 | new_low);
        else
            access_.store(place, new_high << 32 | new_low);
    } else {
        std::memcpy(data, &new_low, 8);
        std::memcpy(data + 8, &new_high, 8);
        access_.write(place, data);
    }
    if (equal) {
        page_.rflags |= flag::zf;
    } else {
        page_.rflags &= ~flag::zf;
        set_register(page_, abi::rax, half_bytes, low);
        set_register(page_, abi::rdx, half_bytes, high);
    }
}

void Executor::translate_byte() {
    for (const auto& operand : in_.operand) {
        if (operand.kind != Operand::Kind::Memory)
            continue;
        const std::uint64_t offset =
            (page_.gpr[abi::rbx] + (page_.gpr[abi::rax] & 0xff)) & mask_of(in_.address_bytes);
        set_register(page_, abi::rax, 1,
                     access_.load(access_.resolve(operand.segment, offset, 1, Use::Read)));
        return;
    }
    throw NotEmulated{};
}

/// CLFLUSH and its kin: devices have no cache lines, but the address must be one that may be read.
void Executor::cache_line() {
    const auto& line = in_.operand[0];
    (void)access_.resolve(line.segment, address(line), 1, Use::Read);
}

void Executor::check_vector_enabled() const {
    if (in_.vex) {
        if ((page_.cr4 & control::cr4_osxsave) == 0 || (page_.xcr0 & 6) != 6)
            raise_ud();
    } else if ((page_.cr0 & control::cr0_em) != 0 || (page_.cr4 & control::cr4_osfxsr) == 0) {
        raise_ud();
    }
    if ((page_.cr0 & control::cr0_ts) != 0)
        throw GuestFault{.vector = vector::nm};
}

void Executor::vector_move(bool aligned) {
    const auto& to = in_.operand[0];
    const auto& from = in_.operand[1];
    std::uint8_t data[32] = {};
    if (to.kind == Operand::Kind::Memory && from.kind == Operand::Kind::Vector && to.bytes <= sizeof data) {
        check_vector_enabled();
        const auto value = std::span{data}.first(to.bytes);
        const Place place = access_.resolve_vector(to.segment, address(to), to.bytes, Use::Write, aligned);
        if (vectors_ == nullptr)
            throw NotEmulated{};
        vectors_->read(from.index, value);
        access_.write(place, value);
        return;
    }
    if (to.kind == Operand::Kind::Vector && from.kind == Operand::Kind::Memory && from.bytes <= sizeof data) {
        check_vector_enabled();
        const Place place =
            access_.resolve_vector(from.segment, address(from), from.bytes, Use::Read, aligned);
        if (vectors_ == nullptr)
            throw NotEmulated{};
        access_.read(place, std::span{data}.first(from.bytes));
        // Narrow loads clear the rest of the XMM register.
        vectors_->write(to.index, std::span{data}.first(std::max<unsigned>(from.bytes, 16)), in_.vex);
        return;
    }
    throw NotEmulated{};
}

/// MOVLPS, MOVHPS and the double forms: eight bytes of the register, the others stay.
void Executor::vector_half(bool high) {
    const auto& to = in_.operand[0];
    const bool store = to.kind == Operand::Kind::Memory;
    const auto& memory = store ? to : in_.operand[1];
    const auto& reg = store ? in_.operand[1] : to;
    if (memory.kind != Operand::Kind::Memory || reg.kind != Operand::Kind::Vector || memory.bytes != 8)
        throw NotEmulated{};
    check_vector_enabled();
    const Place place =
        access_.resolve_vector(memory.segment, address(memory), 8, store ? Use::Write : Use::Read, false);
    if (vectors_ == nullptr)
        throw NotEmulated{};
    std::uint8_t data[16] = {};
    const auto half = std::span{data}.subspan(high ? 8 : 0, 8);
    vectors_->read(reg.index, data);
    if (store) {
        access_.write(place, half);
    } else {
        access_.read(place, half);
        vectors_->write(reg.index, data, false);
    }
}

} // namespace escalus::emulation
