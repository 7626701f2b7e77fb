// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/emulator/quick_moves.hpp"

#include <bit>
#include <cstring>

namespace escalus::emulation {

namespace {
constexpr std::uint16_t type_down = 4, type_code = 8;

std::uint64_t load_64(const std::uint8_t* from) {
    std::uint64_t value = 0;
    std::memcpy(&value, from, sizeof value);
    return value;
}
/// An entry of the guest's page tables, which another CPU may change at any time; it is aligned.
std::uint64_t load_entry(const std::uint8_t* from, unsigned bytes) {
    return bytes == 8 ? __atomic_load_n(reinterpret_cast<const std::uint64_t*>(from), __ATOMIC_RELAXED)
                      : __atomic_load_n(reinterpret_cast<const std::uint32_t*>(from), __ATOMIC_RELAXED);
}
bool is_width(unsigned bytes) {
    return bytes <= 8 && std::has_single_bit(bytes);
}
} // namespace

inline QuickMoves::Context QuickMoves::Context::of(const abi::VcpuPage& page) {
    const auto& code = page.segment[abi::seg_cs];
    return {.code_rights_and_limit = std::uint64_t{code.limit} << 32 | code.attributes,
            .code_base = code.base,
            .cr0 = page.cr0,
            .cr3 = page.cr3,
            .cr4 = page.cr4,
            .efer = page.efer,
            .level = (page.rflags & flag::vm) | page.segment[abi::seg_ss].attributes};
}
inline bool QuickMoves::Context::same(const Context& other) const {
    return ((code_rights_and_limit ^ other.code_rights_and_limit) | (code_base ^ other.code_base) |
            (cr0 ^ other.cr0) | (cr3 ^ other.cr3) | (cr4 ^ other.cr4) | (efer ^ other.efer) |
            (level ^ other.level)) == 0;
}

bool QuickMoves::describe(const Instruction& in, Move& move) {
    const auto& to = in.operand[0];
    const auto& from = in.operand[1];
    const bool plain = in.mnemonic == ZYDIS_MNEMONIC_MOV;
    const bool sign = in.mnemonic == ZYDIS_MNEMONIC_MOVSX || in.mnemonic == ZYDIS_MNEMONIC_MOVSXD;
    if ((!plain && !sign && in.mnemonic != ZYDIS_MNEMONIC_MOVZX) || in.lock || in.vex || !in.legacy_or_vex ||
        in.memory_operands != 1)
        return false;
    const bool load = from.kind == Operand::Kind::Memory && to.kind == Operand::Kind::Register;
    if (load)
        move.kind = Kind::Load;
    else if (plain && to.kind == Operand::Kind::Memory && from.kind == Operand::Kind::Register)
        move.kind = Kind::StoreRegister;
    else if (plain && to.kind == Operand::Kind::Memory && from.kind == Operand::Kind::Immediate)
        move.kind = Kind::StoreImmediate;
    else
        return false;
    const auto& memory = load ? from : to;
    const auto& other = load ? to : from;
    move.is_signed = sign;
    move.width = memory.bytes;
    move.register_bytes = other.bytes;
    move.reg = other.index;
    move.immediate = static_cast<std::uint64_t>(other.value);
    move.length = in.length;
    move.segment = memory.segment;
    move.base = memory.base;
    move.index = memory.index;
    move.scale = memory.scale != 0 ? memory.scale : std::uint8_t{1};
    move.displacement = static_cast<std::uint64_t>(memory.value);
    move.address_mask = mask_of(in.address_bytes);
    return is_width(move.width) && in.length <= sizeof(Entry::bytes) && memory.segment < abi::main_segments &&
           (move.kind == Kind::StoreImmediate || other.index < 16);
}

bool QuickMoves::remember_code(Entry& entry, const abi::VcpuPage& page, const CpuMode& mode) const {
    auto linear = page.rip;
    if (!mode.long64()) {
        linear = (linear + page.segment[abi::seg_cs].base) & 0xffffffff;
        if (page.rip > page.segment[abi::seg_cs].limit || page.segment[abi::seg_cs].limit - page.rip < 15)
            return false;
    }
    constexpr std::uint64_t read_at_once = sizeof entry.bytes;
    if ((linear & page_mask) > page_size - read_at_once)
        return false;
    const PageWalker walker{around_.memory, around_.options};
    const auto found = walker.walk(page, linear, {.fetch = true, .user = mode.cpl == 3}, 0, &entry.walk);
    const auto code =
        found.ok ? around_.memory.at(found.gpa, read_at_once, Access::Read) : std::span<std::uint8_t>{};
    if (code.size() != read_at_once)
        return false;
    for (unsigned i = 0; i < entry.walk.count; ++i) {
        const auto where = around_.memory.at(entry.walk.step[i].at, entry.walk.entry_bytes, Access::Read);
        if (where.size() != entry.walk.entry_bytes)
            return false;
        entry.walked[i] = where.data();
    }
    entry.code = code.data();
    std::array<std::uint8_t, read_at_once> mask{};
    std::memset(mask.data(), 0xff, entry.move.length);
    for (unsigned i = 0; i < entry.bytes.size(); ++i) {
        entry.bytes_mask[i] = load_64(mask.data() + 8 * i);
        entry.bytes[i] = load_64(entry.code + 8 * i) & entry.bytes_mask[i];
    }
    return true;
}

void QuickMoves::learn(const abi::VcpuPage& page, const CpuMode& mode, const Instruction& instruction) {
    const auto& exit = page.exit.memory;
    if (exit.fetch != 0 || exit.page_walk != 0)
        return;
    Move move;
    if (!describe(instruction, move))
        return;
    const auto& segment = page.segment[move.segment];
    if (!mode.long64() && (segment.attributes & (type_down | type_code)) != 0)
        return; // expand-down, or code
    move.segment_attributes = segment.attributes;
    move.long64 = mode.long64();
    Entry& entry = entry_of(page.rip);
    entry.move.kind = Kind::None; // until it is whole
    Entry fresh;
    fresh.rip = page.rip;
    fresh.move = move;
    fresh.context = Context::of(page);
    fresh.generation = generation();
    fresh.operand_page = exit.gpa & ~page_mask;
    if (around_.memory.at(GuestPhys{fresh.operand_page}, 1, Access::Read).empty() &&
        remember_code(fresh, page, mode))
        entry = fresh;
}

/// Whether the instruction's bytes are fetched from where they were, and are what they were.
[[gnu::hot]] bool QuickMoves::same_code(const Entry& entry) {
    for (unsigned i = 0; i < entry.walk.count; ++i)
        if (load_entry(entry.walked[i], entry.walk.entry_bytes) != entry.walk.step[i].value)
            return false;
    return (((load_64(entry.code) & entry.bytes_mask[0]) ^ entry.bytes[0]) |
            ((load_64(entry.code + 8) & entry.bytes_mask[1]) ^ entry.bytes[1])) == 0;
}

/// Whether the address in the operand is the one that exited.
[[gnu::hot]] bool QuickMoves::finds_operand(const Entry& entry, const abi::VcpuPage& page) {
    const Move& move = entry.move;
    std::uint64_t offset = move.displacement;
    if (move.base == Operand::rip)
        offset += page.rip + move.length;
    else if (move.base != Operand::no_register)
        offset += page.gpr[move.base];
    if (move.index != Operand::no_register)
        offset += page.gpr[move.index] * move.scale;
    offset &= move.address_mask;
    const auto& segment = page.segment[move.segment];
    if (!move.long64) {
        offset &= 0xffffffff;
        if (segment.attributes != move.segment_attributes || offset + (move.width - 1u) > segment.limit)
            return false;
        offset += segment.base;
    }
    const auto gpa = page.exit.memory.gpa;
    return ((offset ^ gpa) & page_mask) == 0 && (gpa & page_mask) + move.width <= page_size &&
           (gpa & ~page_mask) == entry.operand_page;
}

[[gnu::hot]] bool QuickMoves::run(abi::VcpuPage& page) {
    const Entry& entry = entry_of(page.rip);
    const Move& move = entry.move;
    const abi::MemoryExit& exit = page.exit.memory;
    if (entry.rip != page.rip || move.kind == Kind::None || (exit.write != 0) != (move.kind != Kind::Load) ||
        (exit.fetch | exit.page_walk) != 0 || (page.rflags & (flag::tf | flag::ac)) != 0 ||
        entry.generation != generation() || !Context::of(page).same(entry.context) || !same_code(entry) ||
        !finds_operand(entry, page))
        return false;

    std::uint64_t value = 0;
    std::array<std::uint8_t, 8> data{};
    if (move.kind == Kind::Load) {
        around_.memory_bus.read(exit.gpa, std::span{data}.first(move.width));
        std::memcpy(&value, data.data(), sizeof value);
        if (move.is_signed)
            value = sign_extend(value, move.width);
        set_register(page, move.reg, move.register_bytes, value);
    } else {
        value = move.kind == Kind::StoreRegister ? page.gpr[move.reg] : move.immediate;
        std::memcpy(data.data(), &value, sizeof value);
        around_.memory_bus.write(exit.gpa, std::span<const std::uint8_t>{data}.first(move.width));
    }
    const auto next = page.rip + move.length;
    page.rip = move.long64 ? next : next & 0xffffffff;
    page.rflags &= ~flag::rf;
    page.interrupt_shadow = 0;
    page.dirty |= abi::group_general;
    return true;
}

} // namespace escalus::emulation
