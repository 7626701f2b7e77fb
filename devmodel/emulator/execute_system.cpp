// SPDX-License-Identifier: GPL-2.0-or-later
// Segment registers, descriptor-table registers and the machine status word, from and to device memory.
#include "devmodel/emulator/executor.hpp"

#include <cstring>

namespace escalus::emulation {

/// In protected mode a segment load reads a descriptor, and no system keeps selectors in devices.
void Executor::check_segment_load() const {
    if (!mode_.real_like())
        throw NotEmulated{};
}

void Executor::load_segment(unsigned segment, std::uint16_t selector) {
    auto& s = page_.segment[segment];
    s.selector = selector;
    s.base = std::uint64_t{selector} << 4; // the limit stays: "big real" mode depends on it
    page_.dirty |= abi::group_segments;
    shadow_ = segment == abi::seg_ss;
}

void Executor::load_far_pointer(unsigned segment) {
    check_segment_load();
    const auto& from = in_.operand[1];
    const unsigned bytes = in_.operand[0].bytes;
    if (from.kind != Operand::Kind::Memory || bytes > 4)
        throw NotEmulated{};
    const std::uint64_t offset = address(from);
    const std::uint64_t mask = mask_of(in_.address_bytes);
    const Place offset_place = access_.resolve(from.segment, offset, bytes, Use::Read);
    const Place selector_place = access_.resolve(from.segment, (offset + bytes) & mask, 2, Use::Read);
    const std::uint64_t value = access_.load(offset_place);
    load_segment(segment, static_cast<std::uint16_t>(access_.load(selector_place)));
    shadow_ = false; // LSS has none
    set_register(page_, in_.operand[0].index, bytes, value);
}

void Executor::store_table(const abi::TableRegister& table) {
    if ((page_.cr4 & control::cr4_umip) != 0 && mode_.cpl != 0)
        raise_gp();
    const auto& to = in_.operand[0];
    const unsigned base_bytes = mode_.long64() ? 8 : 4;
    const unsigned bytes = 2 + base_bytes;
    const std::uint64_t linear = access_.linear(to.segment, address(to), bytes, Use::Write, 0);
    std::uint8_t data[10];
    std::memcpy(data, &table.limit, 2);
    std::memcpy(data + 2, &table.base, base_bytes);
    access_.write(access_.resolve_linear(linear, bytes, Use::Write), std::span{data}.first(bytes));
}

void Executor::load_table(abi::TableRegister& table) {
    if (mode_.cpl != 0)
        raise_gp();
    const auto& from = in_.operand[0];
    const unsigned base_bytes = mode_.long64() ? 8 : 4;
    const unsigned bytes = 2 + base_bytes;
    const std::uint64_t linear = access_.linear(from.segment, address(from), bytes, Use::Read, 0);
    std::uint8_t data[10] = {};
    access_.read(access_.resolve_linear(linear, bytes, Use::Read), std::span{data}.first(bytes));
    std::uint16_t limit = 0;
    std::uint64_t base = 0;
    std::memcpy(&limit, data, 2);
    std::memcpy(&base, data + 2, base_bytes);
    if (!mode_.long64() && in_.operand_bytes == 2)
        base &= 0xffffff;
    if (mode_.long64() && !is_canonical(base, page_.cr4))
        raise_gp();
    table = {.base = base, .limit = limit};
    page_.dirty |= abi::group_segments;
}

void Executor::store_machine_status() {
    if ((page_.cr4 & control::cr4_umip) != 0 && mode_.cpl != 0)
        raise_gp();
    put(target(in_.operand[0], false), page_.cr0);
}

void Executor::load_machine_status() {
    if (mode_.cpl != 0)
        raise_gp();
    const std::uint64_t value = get(in_.operand[0]) & 0xf;
    page_.cr0 = (page_.cr0 & ~std::uint64_t{0xe}) | value; // PE can be set, not cleared
    page_.dirty |= abi::group_control;
}

} // namespace escalus::emulation
