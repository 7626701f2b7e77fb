// SPDX-License-Identifier: GPL-2.0-or-later
// The state of a vCPU between its VMCB and the page shared with the device model. Any value the device model
// writes is let through to the VMCB, as VMRUN itself checks what could harm (APM 2, section 15.5.1), but for
// the few fields that belong to the monitor.
#include "vmm/guest/loaded_state.hpp"
#include "vmm/svm/svm.hpp"

#include <cstring>

namespace escalus::vmm::svm {

namespace {

abi::Segment VmcbSave::*const segments[abi::seg_count] = {&VmcbSave::es,   &VmcbSave::cs, &VmcbSave::ss,
                                                          &VmcbSave::ds,   &VmcbSave::fs, &VmcbSave::gs,
                                                          &VmcbSave::ldtr, &VmcbSave::tr};

/// State components that may be enabled in XCR0; x87 always is.
std::uint64_t sane_xcr0(std::uint64_t value) {
    return (value & fpu_components()) | 1;
}

} // namespace

[[gnu::hot]] void import_state(Vcpu& vcpu, std::uint32_t groups) {
    Vmcb& vmcb = vmcb_of(vcpu);
    VmcbSave& s = vmcb.save;
    const abi::VcpuPage& page = *vcpu.page;
    if ((groups & abi::group_general) != 0) {
        std::memcpy(vcpu.gprs.r, page.gpr, sizeof vcpu.gprs.r);
        s.rax = page.gpr[abi::rax];
        s.rsp = page.gpr[abi::rsp];
        s.rip = page.rip;
        s.rflags = page.rflags;
        vmcb.control.interrupt_state = page.interrupt_shadow & 1;
        vmcb.control.interrupt_control =
            (vmcb.control.interrupt_control & ~interrupt_control::tpr_mask) | (page.cr8 & 15);
    }
    if ((groups & abi::group_main_segments) != 0) {
        for (unsigned i = 0; i < abi::main_segments; ++i)
            s.*segments[i] = page.segment[i];
        s.cpl = static_cast<std::uint8_t>(s.ss.attributes >> 5 & 3);
    }
    if ((groups & abi::group_other) != 0) {
        for (unsigned i = abi::main_segments; i < abi::seg_count; ++i)
            s.*segments[i] = page.segment[i];
        s.gdtr = {0, 0, static_cast<std::uint32_t>(page.gdtr.limit), page.gdtr.base};
        s.idtr = {0, 0, static_cast<std::uint32_t>(page.idtr.limit), page.idtr.base};
        std::memcpy(vcpu.dr, page.dr, sizeof vcpu.dr);
        s.dr6 = page.dr6;
        s.dr7 = page.dr7;
    }
    if ((groups & abi::group_control) != 0) {
        s.cr0 = page.cr0;
        s.cr2 = page.cr2;
        s.cr3 = page.cr3;
        s.cr4 = page.cr4 & ~cr4::vmxe;
        s.efer = (page.efer & features.efer_mask) | efer::svme;
        vcpu.xcr0 = sane_xcr0(page.xcr0);
    }
    if ((groups & abi::group_msrs) != 0) {
        const abi::Msrs m = page.msrs;
        s.star = m.star;
        s.lstar = m.lstar;
        s.cstar = m.cstar;
        s.sfmask = m.sfmask;
        s.kernel_gs_base = m.kernel_gs_base;
        s.sysenter_cs = m.sysenter_cs;
        s.sysenter_esp = m.sysenter_esp;
        s.sysenter_eip = m.sysenter_eip;
        s.pat = m.pat;
        vcpu.tsc_aux = sane_tsc_aux(m.tsc_aux);
        vcpu.tsc_ratio = sane_tsc_ratio(m.tsc_ratio, features.tsc_ratio);
        vmcb.control.tsc_offset = m.tsc_offset;
    }
    if ((groups & abi::group_fpu_reset) != 0)
        reset_fpu_area(vcpu.fpu());
    if ((groups & ~std::uint32_t{abi::group_general}) != 0)
        vmcb.control.clean = 0;
}

[[gnu::hot]] void export_state(Vcpu& vcpu, std::uint32_t groups) {
    const Vmcb& vmcb = vmcb_of(vcpu);
    const VmcbSave& s = vmcb.save;
    abi::VcpuPage& page = *vcpu.page;
    if ((groups & abi::group_general) != 0) {
        std::memcpy(page.gpr, vcpu.gprs.r, sizeof page.gpr);
        page.gpr[abi::rax] = s.rax;
        page.gpr[abi::rsp] = s.rsp;
        page.rip = s.rip;
        page.rflags = s.rflags;
        page.interrupt_shadow = vmcb.control.interrupt_state & 1;
        page.cr8 = vmcb.control.interrupt_control & 15;
    }
    if ((groups & abi::group_main_segments) != 0) {
        for (unsigned i = 0; i < abi::main_segments; ++i)
            page.segment[i] = s.*segments[i];
        // SS.DPL is the CPL, which the save area keeps apart (APM 2, section 15.5.1).
        page.segment[abi::seg_ss].attributes =
            static_cast<std::uint16_t>((page.segment[abi::seg_ss].attributes & ~0x60) | (s.cpl & 3) << 5);
    }
    if ((groups & abi::group_other) != 0) {
        for (unsigned i = abi::main_segments; i < abi::seg_count; ++i)
            page.segment[i] = s.*segments[i];
        page.gdtr = {s.gdtr.base, s.gdtr.limit};
        page.idtr = {s.idtr.base, s.idtr.limit};
        std::memcpy(page.dr, vcpu.dr, sizeof page.dr);
        page.dr6 = s.dr6;
        page.dr7 = s.dr7;
    }
    if ((groups & abi::group_control) != 0) {
        page.cr0 = s.cr0;
        page.cr2 = s.cr2;
        page.cr3 = s.cr3;
        page.cr4 = s.cr4;
        page.efer = s.efer & ~efer::svme;
        page.xcr0 = vcpu.xcr0;
    }
    if ((groups & abi::group_msrs) != 0)
        page.msrs = {
            s.star,         s.lstar,        s.cstar, s.sfmask,     s.kernel_gs_base,        s.sysenter_cs,
            s.sysenter_esp, s.sysenter_eip, s.pat,   vcpu.tsc_aux, vmcb.control.tsc_offset, vcpu.tsc_ratio};
}

} // namespace escalus::vmm::svm
