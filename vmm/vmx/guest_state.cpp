// SPDX-License-Identifier: GPL-2.0-or-later
// The state of a vCPU between its VMCS, which is the current one, and the page shared with the device model.
// Any value the device model writes is let through to the VMCS, as VM entry itself checks what could harm
// (SDM 3C, section 26.3), but for the few bits that belong to the monitor.
#include "vmm/guest/loaded_state.hpp"
#include "vmm/vmx/vmx.hpp"

#include <cstring>

namespace escalus::vmm::vmx {

namespace {

// Between table 24-2 and the ABI's form, which has no gap; what is not present there is unusable here.
constexpr std::uint32_t to_rights(const abi::Segment& segment) {
    const std::uint32_t low = segment.attributes & 0xff, high = segment.attributes >> 8 & 15;
    const auto access = low | high << 12;
    return (access & rights::present) != 0 ? access : access | rights::unusable;
}
constexpr std::uint16_t to_attributes(std::uint32_t access) {
    const std::uint32_t value = (access & 0xff) | (access >> 12 & 15) << 8;
    return static_cast<std::uint16_t>((access & rights::unusable) != 0 ? value & ~rights::present : value);
}

// What a segment register of real hardware always holds, and the device model may not: its type is accessed,
// and the granularity fits the limit.
std::uint32_t normal_rights(unsigned index, std::uint32_t access, std::uint32_t limit) {
    if ((access & rights::unusable) != 0)
        return access;
    if (index <= abi::seg_gs)
        access |= 1;
    return limit >> 20 != 0           ? access | rights::pages
           : (limit & 0xfff) != 0xfff ? access & ~rights::pages
                                      : access;
}

[[gnu::hot]] void import_general(Vcpu& vcpu) {
    const abi::VcpuPage& page = *vcpu.page;
    std::memcpy(vcpu.gprs.r, page.gpr, sizeof vcpu.gprs.r);
    const auto flags = page.rflags;
    write(Field::GuestRsp, page.gpr[abi::rsp]);
    write(Field::GuestRip, page.rip);
    write(Field::GuestRflags, flags);
    *state_of(vcpu).task_priority = static_cast<std::uint32_t>(page.cr8 & 15) << 4;
    const auto before = read(Field::GuestInterruptibility);
    auto after = before & ~std::uint64_t{blocking::shadow};
    if ((page.interrupt_shadow & 1) != 0) {
        after |= (flags & rflags::interrupt) != 0 ? blocking::sti : blocking::mov_ss;
        write(Field::GuestPendingDebug, (flags & rflags::tf) != 0 ? pending_debug::single_step : 0);
    }
    if (after != before)
        write(Field::GuestInterruptibility, after);
}

void import_segments(const abi::VcpuPage& page, unsigned first, unsigned end) {
    for (unsigned i = first; i < end; ++i) {
        const abi::Segment segment = page.segment[i];
        write(nth(Field::GuestEs, i), segment.selector);
        write(nth(Field::GuestEsLimit, i), segment.limit);
        write(nth(Field::GuestEsBase, i), segment.base);
        write(nth(Field::GuestEsRights, i), normal_rights(i, to_rights(segment), segment.limit));
    }
}

void import_other(Vcpu& vcpu) {
    const abi::VcpuPage& page = *vcpu.page;
    import_segments(page, abi::main_segments, abi::seg_count);
    write(Field::GuestGdtrBase, page.gdtr.base);
    write(Field::GuestGdtrLimit, page.gdtr.limit & 0xffff);
    write(Field::GuestIdtrBase, page.idtr.base);
    write(Field::GuestIdtrLimit, page.idtr.limit & 0xffff);
    std::memcpy(vcpu.dr, page.dr, sizeof vcpu.dr);
    state_of(vcpu).dr6 = page.dr6 & 0xffff'ffff;
    write(Field::GuestDr7, page.dr7);
}

// The CPU tags translations by VPID and looks at none of these: they are stale when one changes.
bool changes_paging(std::uint64_t cr0_value, std::uint64_t cr3, std::uint64_t cr4_value,
                    std::uint64_t efer_value) {
    return read(Field::GuestCr3) != cr3 || read(Field::GuestCr0) != cr0_value ||
           read(Field::GuestCr4) != cr4_value || read(Field::GuestEfer) != efer_value;
}

void import_control(Vcpu& vcpu) {
    const abi::VcpuPage& page = *vcpu.page;
    GuestState& state = state_of(vcpu);
    const std::uint64_t seen_cr0 = page.cr0, seen_cr4 = page.cr4 & ~cr4::vmxe, cr3 = page.cr3;
    const auto real_cr0 = (seen_cr0 & ~guest_cr0_mask) | (capabilities.cr0_fixed0 & guest_cr0_mask);
    const auto real_cr4 = seen_cr4 | cr4::vmxe;
    const auto real_efer = page.efer & (efer::sce | efer::lme | efer::lma | efer::nxe);
    if (changes_paging(real_cr0, cr3, real_cr4, real_efer)) {
        vcpu.flush = true;
        write(Field::GuestCr0, real_cr0);
        write(Field::GuestCr3, cr3);
        write(Field::GuestCr4, real_cr4);
        write(Field::GuestEfer, real_efer);
        if ((real_efer & efer::lma) != 0)
            set_bits(Field::EntryControls, entry_control::long_mode);
        else
            clear_bits(Field::EntryControls, entry_control::long_mode);
        load_pae_pointers(&vcpu.vm->tables);
    }
    write(Field::Cr0Shadow, seen_cr0);
    write(Field::Cr4Shadow, seen_cr4);
    state.cr2 = page.cr2;
    vcpu.xcr0 = (page.xcr0 & fpu_components()) | 1;
}

std::uint64_t to_canonical(std::uint64_t address) {
    const unsigned unused = 64 - capabilities.linear_bits;
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(address << unused) >> unused);
}

void import_msrs(Vcpu& vcpu) {
    const abi::Msrs m = vcpu.page->msrs;
    state_of(vcpu).msrs = {m.star, to_canonical(m.lstar), to_canonical(m.cstar), m.sfmask & 0xffff'ffff,
                           to_canonical(m.kernel_gs_base)};
    write(Field::GuestSysenterCs, m.sysenter_cs);
    write(Field::GuestSysenterEsp, m.sysenter_esp);
    write(Field::GuestSysenterEip, m.sysenter_eip);
    write(Field::GuestPat, m.pat);
    vcpu.tsc_aux = sane_tsc_aux(m.tsc_aux);
    vcpu.tsc_ratio = sane_tsc_ratio(m.tsc_ratio, features.tsc_scaling);
    if (features.tsc_scaling)
        write(Field::TscMultiplier, vcpu.tsc_ratio);
    write(Field::TscOffset, m.tsc_offset);
}

} // namespace

[[gnu::hot]] void import_state(Vcpu& vcpu, std::uint32_t groups) {
    if ((groups & abi::group_general) != 0)
        import_general(vcpu);
    if ((groups & abi::group_main_segments) != 0)
        import_segments(*vcpu.page, 0, abi::main_segments);
    if ((groups & abi::group_other) != 0)
        import_other(vcpu);
    if ((groups & abi::group_control) != 0)
        import_control(vcpu);
    if ((groups & abi::group_msrs) != 0)
        import_msrs(vcpu);
    if ((groups & abi::group_fpu_reset) != 0)
        reset_fpu_area(vcpu.fpu());
}

namespace {

void export_general(Vcpu& vcpu) {
    abi::VcpuPage& page = *vcpu.page;
    std::memcpy(page.gpr, vcpu.gprs.r, sizeof page.gpr);
    page.gpr[abi::rsp] = read(Field::GuestRsp);
    page.rip = read(Field::GuestRip);
    page.rflags = read(Field::GuestRflags);
    const auto interruptibility = read(Field::GuestInterruptibility);
    page.interrupt_shadow = (interruptibility & blocking::shadow) != 0;
    page.nmi_blocked = (interruptibility & (blocking::nmi | blocking::shadow)) != 0;
    page.cr8 = *state_of(vcpu).task_priority >> 4 & 15;
}

template <unsigned first, unsigned end>
[[gnu::hot]] void export_segments(abi::VcpuPage& page) {
#pragma GCC unroll 4
    for (unsigned i = first; i < end; ++i)
        page.segment[i] = {static_cast<std::uint16_t>(read(nth(Field::GuestEs, i))),
                           to_attributes(static_cast<std::uint32_t>(read(nth(Field::GuestEsRights, i)))),
                           static_cast<std::uint32_t>(read(nth(Field::GuestEsLimit, i))),
                           read(nth(Field::GuestEsBase, i))};
}

void export_other(Vcpu& vcpu) {
    abi::VcpuPage& page = *vcpu.page;
    export_segments<abi::main_segments, abi::seg_count>(page);
    page.gdtr = {read(Field::GuestGdtrBase), read(Field::GuestGdtrLimit)};
    page.idtr = {read(Field::GuestIdtrBase), read(Field::GuestIdtrLimit)};
    std::memcpy(page.dr, vcpu.dr, sizeof page.dr);
    page.dr6 = state_of(vcpu).dr6;
    page.dr7 = read(Field::GuestDr7);
}

void export_control(Vcpu& vcpu) {
    abi::VcpuPage& page = *vcpu.page;
    page.cr0 = (read(Field::GuestCr0) & ~guest_cr0_mask) | (read(Field::Cr0Shadow) & guest_cr0_mask);
    page.cr2 = state_of(vcpu).cr2;
    page.cr3 = read(Field::GuestCr3);
    page.cr4 = read(Field::GuestCr4) & ~cr4::vmxe;
    page.efer = read(Field::GuestEfer);
    page.xcr0 = vcpu.xcr0;
}

void export_msrs(Vcpu& vcpu) {
    const SystemMsrs& m = state_of(vcpu).msrs;
    vcpu.page->msrs = {m.star,
                       m.lstar,
                       m.cstar,
                       m.sfmask,
                       m.kernel_gs_base,
                       read(Field::GuestSysenterCs),
                       read(Field::GuestSysenterEsp),
                       read(Field::GuestSysenterEip),
                       read(Field::GuestPat),
                       vcpu.tsc_aux,
                       read(Field::TscOffset),
                       vcpu.tsc_ratio};
}

} // namespace

[[gnu::hot]] void export_current(Vcpu& vcpu, std::uint32_t groups) {
    if ((groups & abi::group_general) != 0)
        export_general(vcpu);
    if ((groups & abi::group_main_segments) != 0)
        export_segments<0, abi::main_segments>(*vcpu.page);
    if ((groups & abi::group_other) != 0)
        export_other(vcpu);
    if ((groups & abi::group_control) != 0)
        export_control(vcpu);
    if ((groups & abi::group_msrs) != 0)
        export_msrs(vcpu);
}

} // namespace escalus::vmm::vmx
