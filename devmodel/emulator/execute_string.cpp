// SPDX-License-Identifier: GPL-2.0-or-later
// String instructions, many repetitions a call.
//
// Iterations run in groups whose addresses stay within one page and one segment limit, so that translation
// is done once a group; INS and OUTS hand a whole group to the device.
#include "devmodel/emulator/executor.hpp"

#include <algorithm>
#include <cstring>

namespace escalus::emulation {

void Executor::string(String what, unsigned width) {
    if (!in_.string)
        throw NotEmulated{};
    outs_segment_ = source_segment();
    string_loop(what, width);
}

unsigned Executor::source_segment() const {
    for (const auto& operand : in_.operand)
        if (operand.kind == Operand::Kind::Memory && operand.base == abi::rsi)
            return operand.segment;
    return abi::seg_ds;
}

/// How many of the `wanted` next elements lie in one page, within the segment's limit, without the address
/// register wrapping. At least 1: that one may fault.
std::uint64_t Executor::run_length(const Pointer& pointer, unsigned width, std::uint64_t wanted) const {
    const auto& s = page_.segment[pointer.segment];
    const std::uint64_t mask = mask_of(in_.address_bytes);
    const std::uint64_t offset = page_.gpr[pointer.reg] & mask;
    if ((page_.rflags & flag::df) != 0)
        return 1;
    std::uint64_t linear = offset;
    std::uint64_t n = wanted;
    if (mode_.long64()) {
        if (pointer.segment == abi::seg_fs || pointer.segment == abi::seg_gs)
            linear += s.base;
    } else {
        linear = (linear + s.base) & 0xffffffff;
        const bool expand_down = !mode_.real_like() && (s.attributes & 0xc) == 4;
        if (expand_down || offset > s.limit)
            return 1;
        n = std::min(n, (s.limit - offset + 1) / width);
    }
    n = std::min(n, (page_size - (linear & page_mask)) / width);
    if (in_.address_bytes < 8)
        n = std::min(n, (mask - offset + 1) / width);
    return std::max<std::uint64_t>(n, 1);
}

Place Executor::element(const Pointer& pointer, unsigned width) {
    return access_.resolve(pointer.segment, page_.gpr[pointer.reg] & mask_of(in_.address_bytes), width,
                           pointer.use);
}

void Executor::step(const Pointer& pointer, unsigned width, std::uint64_t elements) {
    const std::uint64_t distance = width * elements;
    const auto& gpr = page_.gpr[pointer.reg];
    set_register(page_, pointer.reg, in_.address_bytes,
                 (page_.rflags & flag::df) != 0 ? gpr - distance : gpr + distance);
}

/// Moves up to `wanted` elements between a port and memory; returns how many. Faults come before the port is
/// touched.
std::uint64_t Executor::transfer(bool in, unsigned width, std::uint64_t wanted) {
    const Pointer pointer =
        in ? Pointer{abi::rdi, abi::seg_es, Use::Write} : Pointer{abi::rsi, outs_segment_, Use::Read};
    const std::uint64_t n = run_length(pointer, width, wanted);
    const Place place = element(pointer, width);
    const std::uint64_t port = page_.gpr[abi::rdx] & 0xffff;
    auto& ports = around_.port_bus;

    if (place.first_size == width) {
        if (const auto ram = around_.memory.at(place.first, n * width, in ? Access::Write : Access::Read);
            ram.size() == n * width) {
            if (in)
                ports.read_repeated(port, width, ram);
            else
                ports.write_repeated(port, width, ram);
            step(pointer, width, n);
            return n;
        }
    }
    std::uint8_t data[4] = {};
    const auto element_data = std::span{data}.first(width);
    if (in) {
        ports.read(port, element_data);
        access_.write(place, element_data);
    } else {
        access_.read(place, element_data);
        ports.write(port, element_data);
    }
    step(pointer, width, 1);
    return 1;
}

/// Sets the flags of one CMPS or SCAS iteration and steps.
void Executor::compare_element(String what, unsigned width) {
    const Pointer destination{abi::rdi, abi::seg_es, Use::Read};
    const Pointer source{abi::rsi, outs_segment_, Use::Read};
    const Place right = element(destination, width);
    std::uint64_t left_value = accumulator(width);
    if (what == String::Cmps)
        left_value = access_.load(element(source, width));
    alu::subtract(width, left_value, access_.load(right), false, page_.rflags);
    step(destination, width, 1);
    if (what == String::Cmps)
        step(source, width, 1);
}

/// Does up to `wanted` iterations, at least one; returns how many.
std::uint64_t Executor::iterate(String what, unsigned width, std::uint64_t wanted) {
    const Pointer destination{abi::rdi, abi::seg_es, Use::Write};
    const Pointer source{abi::rsi, outs_segment_, Use::Read};
    const bool reads = what != String::Stos, writes = what != String::Lods;
    std::uint64_t n = wanted;
    if (reads)
        n = std::min(n, run_length(source, width, n));
    if (writes)
        n = std::min(n, run_length(destination, width, n));
    Place from, to;
    if (reads)
        from = element(source, width);
    if (writes)
        to = element(destination, width);

    std::uint8_t data[8] = {};
    const auto value = std::span{data}.first(width);
    if (!reads)
        std::memcpy(data, &page_.gpr[abi::rax], sizeof data);
    for (std::uint64_t i = 0; i < n; ++i) {
        if (reads)
            access_.read(from, value);
        if (writes)
            access_.write(to, value);
        from.first += width;
        to.first += width;
    }
    if (!writes) {
        std::uint64_t loaded = 0;
        std::memcpy(&loaded, data, width);
        set_register(page_, abi::rax, width, loaded);
    }
    if (reads)
        step(source, width, n);
    if (writes)
        step(destination, width, n);
    return n;
}

void Executor::string_loop(String what, unsigned width) {
    const bool repeated = in_.repeat || in_.repeat_while_not_equal;
    const bool compares = what == String::Cmps || what == String::Scas;
    auto remaining = [&] { return repeated ? page_.gpr[abi::rcx] & mask_of(in_.address_bytes) : 0; };
    const std::uint64_t flags_before = page_.rflags;
    bool stopped = false;

    // With TF set the trap comes after each iteration.
    std::uint64_t budget = (page_.rflags & flag::tf) != 0 ? 1 : Emulator::batch;
    if (repeated && remaining() == 0)
        return finish(true);
    while (budget != 0 && !stopped) {
        const std::uint64_t wanted = repeated ? std::min(budget, remaining()) : 1;
        std::uint64_t done = 1;
        try {
            if (compares)
                compare_element(what, width);
            else if (what == String::Ins || what == String::Outs)
                done = transfer(what == String::Ins, width, wanted);
            else
                done = iterate(what, width, wanted);
        } catch (...) {
            page_.rflags = flags_before; // as if the iterations before had been interrupted
            page_.dirty |= abi::group_general;
            throw;
        }
        budget -= done;
        if (!repeated)
            break;
        set_register(page_, abi::rcx, in_.address_bytes, page_.gpr[abi::rcx] - done);
        stopped = remaining() == 0;
        if (compares)
            stopped |= ((page_.rflags & flag::zf) != 0) == in_.repeat_while_not_equal;
    }
    finish(!repeated || stopped);
}

} // namespace escalus::emulation
