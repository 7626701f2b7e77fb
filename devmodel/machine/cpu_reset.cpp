// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/cpu_reset.hpp"

#include <algorithm>
#include <iterator>

namespace escalus {

namespace {
constexpr std::uint16_t code_present = 0x9b, data_present = 0x93, ldt_present = 0x82, busy_tss = 0x8b;
constexpr std::uint16_t flat = 0xc00; // 32-bit, limit in pages
} // namespace

void reset_registers(abi::VcpuPage& page, CpuReset kind, std::uint32_t signature) {
    std::ranges::fill(page.gpr, 0);
    page.gpr[abi::rdx] = signature;
    page.rip = 0xfff0;
    page.rflags = 2;
    page.interrupt_shadow = 0;
    for (auto& segment : page.segment)
        segment = {0, data_present, 0xffff, 0};
    page.segment[abi::seg_cs] = {0xf000, code_present, 0xffff, 0xffff0000};
    page.segment[abi::seg_ldtr] = {0, ldt_present, 0xffff, 0};
    page.segment[abi::seg_tr] = {0, busy_tss, 0xffff, 0};
    page.gdtr = page.idtr = {0, 0xffff};
    // INIT leaves CD and NW as they are.
    page.cr0 = 0x10 | (kind == CpuReset::Init ? page.cr0 & 0x60000000 : 0x60000000);
    page.cr2 = page.cr3 = page.cr4 = page.cr8 = page.efer = 0;
    std::ranges::fill(page.dr, 0);
    page.dr6 = 0xffff0ff0;
    page.dr7 = 0x400;
    page.event = {};
    page.dirty |= abi::group_general | abi::group_segments | abi::group_control;
    if (kind == CpuReset::Init)
        return;
    page.xcr0 = 1;
    const auto before = page.msrs;
    page.msrs = {};
    page.msrs.pat = 0x0007040600070406;
    page.msrs.tsc_offset = before.tsc_offset;
    page.msrs.tsc_ratio = before.tsc_ratio;
    page.dirty |= abi::group_msrs | abi::group_fpu_reset;
}

void start_at_vector(abi::VcpuPage& page, std::uint8_t vector) {
    const auto base = std::uint64_t{vector} << 12;
    page.segment[abi::seg_cs] = {static_cast<std::uint16_t>(base >> 4), code_present, 0xffff, base};
    page.rip = 0;
    page.dirty |= abi::group_general | abi::group_segments;
}

void enter_flat_protected_mode(abi::VcpuPage& page, std::uint32_t entry, std::uint16_t code_selector,
                               std::uint16_t data_selector) {
    page.segment[abi::seg_cs] = {code_selector, code_present | flat, 0xffffffff, 0};
    for (const auto s : {abi::seg_ds, abi::seg_es, abi::seg_fs, abi::seg_gs, abi::seg_ss})
        page.segment[s] = {data_selector, data_present | flat, 0xffffffff, 0};
    page.cr0 = 0x11; // PE, ET: caches on, no paging
    page.rip = entry;
    page.gpr[abi::rdx] = 0;
    page.dirty |= abi::group_general | abi::group_segments | abi::group_control;
}

} // namespace escalus
