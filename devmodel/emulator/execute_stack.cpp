// SPDX-License-Identifier: GPL-2.0-or-later
// Pushes, pops, frames and near branches: with the stack, or the operand, in device memory.
#include "devmodel/emulator/executor.hpp"

#include <array>

namespace escalus::emulation {

void Executor::push_value(std::uint64_t value, unsigned bytes) {
    const std::uint64_t sp = stack_pointer(-static_cast<std::int64_t>(bytes));
    access_.store(stack_place(sp, bytes, Use::Write), value);
    set_stack_pointer(sp);
}

void Executor::push() {
    const auto& from = in_.operand[0];
    const unsigned bytes = in_.operand_bytes;
    if (from.kind != Operand::Kind::Memory) {
        push_value(get(from), bytes);
        return;
    }
    const Place source = resolve(from, Use::Read);
    const std::uint64_t sp = stack_pointer(-static_cast<std::int64_t>(bytes));
    const Place top = stack_place(sp, bytes, Use::Write);
    access_.store(top, access_.load(source));
    set_stack_pointer(sp);
}

void Executor::pop() {
    const auto& to = in_.operand[0];
    const unsigned bytes = in_.operand_bytes;
    const Place top = stack_place(stack_pointer(0), bytes, Use::Read);
    const std::uint64_t sp = stack_pointer(bytes);
    if (to.kind == Operand::Kind::Segment) {
        check_segment_load();
        load_segment(to.index, static_cast<std::uint16_t>(access_.load(top)));
        set_stack_pointer(sp);
        return;
    }
    const Target into = target(to, false, bytes); // its address sees the incremented stack pointer
    const std::uint64_t value = access_.load(top);
    set_stack_pointer(sp); // before POP RSP writes it
    put(into, value);
}

void Executor::push_all() {
    const unsigned bytes = in_.operand_bytes;
    std::array<Place, 8> places;
    for (unsigned i = 0; i < places.size(); ++i)
        places[i] =
            stack_place(stack_pointer(-static_cast<std::int64_t>((i + 1) * bytes)), bytes, Use::Write);
    for (unsigned i = 0; i < places.size(); ++i)
        access_.store(places[i], page_.gpr[i]); // AX CX DX BX SP BP SI DI, SP as it was
    set_stack_pointer(stack_pointer(-static_cast<std::int64_t>(places.size() * bytes)));
}

void Executor::pop_all() {
    const unsigned bytes = in_.operand_bytes;
    std::array<Place, 8> places;
    for (unsigned i = 0; i < places.size(); ++i)
        places[i] = stack_place(stack_pointer(i * bytes), bytes, Use::Read);
    const std::uint64_t sp = stack_pointer(static_cast<std::int64_t>(places.size() * bytes));
    for (unsigned i = 0; i < places.size(); ++i) {
        const unsigned reg = 7 - i;
        if (reg != abi::rsp)
            set_register(page_, reg, bytes, access_.load(places[i]));
    }
    set_stack_pointer(sp);
}

void Executor::push_flags() {
    if (mode_.mode == Mode::Virtual8086 && (page_.rflags & flag::iopl) != flag::iopl)
        raise_gp();
    push_value(page_.rflags & ~(flag::vm | flag::rf), in_.operand_bytes);
}

void Executor::pop_flags() {
    if (mode_.mode == Mode::Virtual8086 && (page_.rflags & flag::iopl) != flag::iopl)
        raise_gp();
    const unsigned bytes = in_.operand_bytes;
    const std::uint64_t value = access_.load(stack_place(stack_pointer(0), bytes, Use::Read));
    const std::uint64_t sp = stack_pointer(bytes);
    std::uint64_t changeable = flag::arithmetic | flag::tf | flag::df | flag::nt | flag::ac | flag::id;
    if (mode_.cpl == 0)
        changeable |= flag::iopl;
    if (mode_.cpl <= (page_.rflags & flag::iopl) >> 12)
        changeable |= flag::intr;
    changeable &= mask_of(bytes);
    set_stack_pointer(sp);
    // finish() looks at TF as it was before the instruction.
    const std::uint64_t before = page_.rflags;
    finish(true);
    page_.rflags = ((before & ~changeable) | (value & changeable)) & ~flag::rf;
}

void Executor::enter() {
    const unsigned bytes = in_.operand_bytes;
    const auto size = static_cast<std::int64_t>(get(in_.operand[0]) & 0xffff);
    const auto level = static_cast<unsigned>(get(in_.operand[1]) & 31);
    const std::uint64_t frame = stack_pointer(-static_cast<std::int64_t>(bytes));
    const std::uint64_t stack_mask = mask_of(mode_.stack_bytes);

    std::array<Place, 33> pushed;
    std::array<Place, 32> outer;
    const unsigned pushes = level == 0 ? 1 : level + 1;
    for (unsigned i = 0; i < pushes; ++i)
        pushed[i] =
            stack_place(stack_pointer(-static_cast<std::int64_t>((i + 1) * bytes)), bytes, Use::Write);
    for (unsigned i = 1; i < level; ++i)
        outer[i] =
            stack_place((page_.gpr[abi::rbp] - std::uint64_t{i} * bytes) & stack_mask, bytes, Use::Read);
    const std::uint64_t sp = stack_pointer(-static_cast<std::int64_t>(pushes * bytes) - size);
    (void)stack_place(sp, bytes, Use::Write); // the new top must be writable

    access_.store(pushed[0], page_.gpr[abi::rbp]);
    for (unsigned i = 1; i < level; ++i)
        access_.store(pushed[i], access_.load(outer[i]));
    if (level != 0)
        access_.store(pushed[level], frame);
    set_register(page_, abi::rbp, bytes, frame);
    set_stack_pointer(sp);
}

void Executor::leave() {
    const unsigned bytes = in_.operand_bytes;
    const std::uint64_t sp = page_.gpr[abi::rbp] & mask_of(mode_.stack_bytes);
    const std::uint64_t value = access_.load(stack_place(sp, bytes, Use::Read));
    set_stack_pointer(sp + bytes);
    set_register(page_, abi::rbp, bytes, value);
}

/// The RIP that a near branch goes to, checked.
std::uint64_t Executor::branch_target(std::uint64_t destination) const {
    if (mode_.long64()) {
        if (!is_canonical(destination, page_.cr4))
            raise_gp();
        return destination;
    }
    destination &= mask_of(in_.operand_bytes);
    if (destination > page_.segment[abi::seg_cs].limit)
        raise_gp();
    return destination;
}

void Executor::branch(std::uint64_t destination) {
    next_rip_ = branch_target(destination);
}

std::uint64_t Executor::relative_or_indirect() {
    const auto& to = in_.operand[0];
    if (to.kind == Operand::Kind::Immediate)
        return next_rip_ + static_cast<std::uint64_t>(to.value);
    if (to.bytes != (mode_.long64() ? 8 : in_.operand_bytes)) // far pointers
        throw NotEmulated{};
    return get(to);
}

void Executor::call() {
    const unsigned bytes = mode_.long64() ? 8 : in_.operand_bytes;
    if (in_.operand[0].kind == Operand::Kind::Other)
        throw NotEmulated{}; // far
    const std::uint64_t sp = stack_pointer(-static_cast<std::int64_t>(bytes));
    const Place top = stack_place(sp, bytes, Use::Write);
    const std::uint64_t destination = branch_target(relative_or_indirect());
    access_.store(top, next_rip_);
    set_stack_pointer(sp);
    next_rip_ = destination;
}

void Executor::near_return() {
    if (in_.far_branch)
        throw NotEmulated{};
    const unsigned bytes = mode_.long64() ? 8 : in_.operand_bytes;
    const auto& extra = in_.operand[0];
    const std::int64_t released = extra.kind == Operand::Kind::Immediate ? extra.value & 0xffff : 0;
    const std::uint64_t destination =
        branch_target(access_.load(stack_place(stack_pointer(0), bytes, Use::Read)));
    set_stack_pointer(stack_pointer(static_cast<std::int64_t>(bytes) + released));
    next_rip_ = destination;
}

} // namespace escalus::emulation
