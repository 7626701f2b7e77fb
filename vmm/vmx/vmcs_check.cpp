// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/vmx/vmcs_check.hpp"

#include "vmm/abi/types.hpp"
#include "vmm/cpu/instructions.hpp"
#include "vmm/vmx/vmcs.hpp"

#include <initializer_list>

namespace escalus::vmm::vmx {

namespace {

using Verdict = const char*; // null: nothing is wrong

bool canonical(std::uint64_t address) {
    const auto sign = static_cast<std::int64_t>(address) >> 47;
    return sign == 0 || sign == -1;
}

bool fits(std::uint32_t value, std::uint64_t capability) {
    const auto must = static_cast<std::uint32_t>(capability),
               may = static_cast<std::uint32_t>(capability >> 32);
    return (value & must) == must && (value & ~may) == 0;
}

bool is_pat(std::uint64_t value) {
    for (unsigned i = 0; i < 8; ++i, value >>= 8)
        if ((value & 0xff) > 7 || (value & 0xff) == 2 || (value & 0xff) == 3)
            return false;
    return true;
}

class Checker {
  public:
    Checker(const VmcsState& state, const Capabilities& has) : s_{state}, has_{has} {}

    Verdict check() const {
        using Step = Verdict (Checker::*)() const;
        constexpr Step steps[] = {&Checker::controls,           &Checker::control_addresses,
                                  &Checker::exit_and_entry,     &Checker::entry_event,
                                  &Checker::host_registers,     &Checker::host_segments,
                                  &Checker::guest_registers,    &Checker::guest_selectors,
                                  &Checker::guest_bases,        &Checker::guest_access_rights,
                                  &Checker::guest_tables,       &Checker::guest_rip_rflags,
                                  &Checker::guest_non_register, &Checker::guest_pdptes};
        for (const auto step : steps)
            if (Verdict broken = (this->*step)())
                return broken;
        return nullptr;
    }

  private:
    [[nodiscard]] bool pin(std::uint32_t bits) const { return (s_.pin & bits) != 0; }
    [[nodiscard]] bool first(std::uint32_t bits) const { return (s_.primary & bits) != 0; }
    [[nodiscard]] bool second(std::uint32_t bits) const {
        return first(primary::secondary) && (s_.secondary & bits) != 0;
    }
    [[nodiscard]] bool entry(std::uint32_t bits) const { return (s_.entry & bits) != 0; }
    [[nodiscard]] bool exit(std::uint32_t bits) const { return (s_.exit & bits) != 0; }
    [[nodiscard]] bool physical(std::uint64_t address) const { return address >> has_.physical_bits == 0; }
    [[nodiscard]] bool page(std::uint64_t address) const {
        return (address & page_mask) == 0 && physical(address);
    }
    [[nodiscard]] bool long_mode() const { return entry(entry_control::long_mode); }
    [[nodiscard]] bool unrestricted() const { return second(secondary::unrestricted); }
    [[nodiscard]] bool v8086() const { return (s_.rflags & rflags::vm) != 0; }
    [[nodiscard]] static bool usable(const VmcsSegment& segment) {
        return (segment.access & rights::unusable) == 0;
    }

    // 26.2.1.1
    [[nodiscard]] Verdict controls() const {
        if (!fits(s_.pin, has_.pin))
            return "26.2.1.1: a reserved pin-based control";
        if (!fits(s_.primary, has_.primary))
            return "26.2.1.1: a reserved primary processor-based control";
        if (first(primary::secondary) && !fits(s_.secondary, has_.secondary))
            return "26.2.1.1: a reserved secondary processor-based control";
        if (s_.cr3_targets > (has_.misc >> 16 & 0x1ff))
            return "26.2.1.1: too many CR3 targets";
        if (!pin(pin::nmi) && pin(pin::virtual_nmis))
            return "26.2.1.1: virtual NMIs without NMI exiting";
        if (!pin(pin::virtual_nmis) && first(primary::nmi_window))
            return "26.2.1.1: NMI-window exiting without virtual NMIs";
        if (first(primary::tpr_shadow)) {
            if (!second(secondary::virtual_interrupts) && s_.tpr_threshold >> 4 != 0)
                return "26.2.1.1: the TPR threshold's bits 31:4 are not zero";
            if (!second(secondary::virtual_interrupts) && !second(secondary::apic_accesses) &&
                (s_.tpr_threshold & 15) > (s_.virtual_tpr >> 4 & 15))
                return "26.2.1.1: the TPR threshold is above the virtual TPR";
        } else if (second(secondary::x2apic | secondary::apic_registers | secondary::virtual_interrupts)) {
            return "26.2.1.1: APIC virtualization without a TPR shadow";
        }
        if (second(secondary::x2apic) && second(secondary::apic_accesses))
            return "26.2.1.1: both x2APIC mode and APIC accesses are virtualized";
        if (second(secondary::virtual_interrupts) && !pin(pin::external_interrupts))
            return "26.2.1.1: virtual-interrupt delivery without external-interrupt exiting";
        if (second(secondary::tsc_scaling) && s_.tsc_multiplier == 0)
            return "26.2.1.1: TSC scaling by 0";
        if (second(secondary::vpid) && s_.vpid == 0)
            return "26.2.1.1: VPIDs are enabled and the VPID is 0";
        if (second(secondary::unrestricted) && !second(secondary::ept))
            return "26.2.1.1: unrestricted guest without EPT";
        return nullptr;
    }

    // 26.2.1.1
    [[nodiscard]] Verdict control_addresses() const {
        if (first(primary::port_bitmaps) && (!page(s_.io_bitmap_a) || !page(s_.io_bitmap_b)))
            return "26.2.1.1: the address of an I/O bitmap";
        if (first(primary::msr_bitmaps) && !page(s_.msr_bitmap))
            return "26.2.1.1: the address of the MSR bitmap";
        if (first(primary::tpr_shadow) && !page(s_.virtual_apic))
            return "26.2.1.1: the address of the virtual-APIC page";
        if (second(secondary::apic_accesses) && !page(s_.apic_access))
            return "26.2.1.1: the address of the APIC-access page";
        if (!second(secondary::ept))
            return nullptr;
        const auto type = s_.ept_pointer & 7;
        if (type != 0 && type != 6)
            return "26.2.1.1: the EPT pointer's memory type";
        if ((s_.ept_pointer >> 3 & 7) != 3)
            return "26.2.1.1: the EPT pointer's page-walk length";
        if ((s_.ept_pointer & 64) != 0 && (has_.ept_vpid & ept_capability::accessed_dirty) == 0)
            return "26.2.1.1: EPT accessed and dirty flags, which this CPU lacks";
        if ((s_.ept_pointer & 0xf80) != 0 || !physical(s_.ept_pointer))
            return "26.2.1.1: a reserved bit of the EPT pointer";
        return nullptr;
    }

    // 26.2.1.2 and 26.2.1.3
    [[nodiscard]] Verdict exit_and_entry() const {
        if (!fits(s_.exit, has_.exit))
            return "26.2.1.2: a reserved VM-exit control";
        if (!pin(pin::preemption_timer) && exit(exit_control::save_preemption_timer))
            return "26.2.1.2: the preemption timer is saved, but not active";
        const auto area = [&](std::uint32_t count, std::uint64_t address) {
            return count == 0 || ((address & 15) == 0 && physical(address + count * 16ull - 1));
        };
        if (!area(s_.exit_store_count, s_.exit_store) || !area(s_.exit_load_count, s_.exit_load))
            return "26.2.1.2: the address of a VM-exit MSR area";
        if (!fits(s_.entry, has_.entry))
            return "26.2.1.3: a reserved VM-entry control";
        if (!area(s_.entry_load_count, s_.entry_load))
            return "26.2.1.3: the address of the VM-entry MSR area";
        if (entry(entry_control::to_smm | entry_control::dual_monitor))
            return "26.2.1.3: an entry to SMM from outside of it";
        return nullptr;
    }

    // 26.2.1.3: VM-entry interruption information.
    [[nodiscard]] Verdict entry_event() const {
        const auto info = s_.entry_event;
        if ((info & event::valid) == 0)
            return nullptr;
        const auto type = event::type(info), vector = info & event::vector_mask;
        if (type == 1 || (type == event::other && !offers(has_.primary, primary::trap_flag)))
            return "26.2.1.3: the event's type is reserved";
        if (type == event::nmi && vector != 2)
            return "26.2.1.3: an NMI whose vector is not 2";
        if (type == event::hardware_exception && vector > 31)
            return "26.2.1.3: a hardware exception with a vector above 31";
        if (type == event::other && vector != 0)
            return "26.2.1.3: an event of type 7 whose vector is not 0";
        const bool protected_mode = !unrestricted() || (s_.cr0 & cr0::pe) != 0;
        const bool with_code = vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
        const bool expected = protected_mode && type == event::hardware_exception && with_code;
        const bool relaxed =
            (has_.basic >> 56 & 1) != 0 && protected_mode && type == event::hardware_exception;
        if (((info & event::error_valid) != 0) != expected && !relaxed)
            return "26.2.1.3: the event's error code is wanted and missing, or the other way round";
        if ((info & 0x7ffff000) != 0)
            return "26.2.1.3: a reserved bit of the event";
        if ((info & event::error_valid) != 0 && s_.entry_error_code >> 16 != 0)
            return "26.2.1.3: bits 31:16 of the event's error code are not zero";
        const bool software = type == event::software_interrupt || type == event::privileged_exception ||
                              type == event::software_exception;
        const bool length_0 = (has_.misc & 1 << 30) != 0;
        if (software && (s_.entry_instruction_length > 15 || (s_.entry_instruction_length == 0 && !length_0)))
            return "26.2.1.3: the instruction length of a software event";
        return nullptr;
    }

    // 26.2.2
    [[nodiscard]] Verdict host_registers() const {
        if ((s_.host_cr0 & has_.cr0_fixed0) != has_.cr0_fixed0 || (s_.host_cr0 & ~has_.cr0_fixed1) != 0)
            return "26.2.2: the host's CR0 has a bit that VMX operation does not allow";
        if ((s_.host_cr4 & has_.cr4_fixed0) != has_.cr4_fixed0 || (s_.host_cr4 & ~has_.cr4_fixed1) != 0)
            return "26.2.2: the host's CR4 has a bit that VMX operation does not allow";
        if (!physical(s_.host_cr3))
            return "26.2.2: the host's CR3 is beyond the physical address width";
        if (!canonical(s_.host_sysenter_esp) || !canonical(s_.host_sysenter_eip))
            return "26.2.2: a SYSENTER address of the host is not canonical";
        if (exit(exit_control::load_pat) && !is_pat(s_.host_pat))
            return "26.2.2: the host's PAT";
        constexpr std::uint64_t known = efer::sce | efer::lme | efer::lma | efer::nxe;
        const bool host_64 = exit(exit_control::host_64);
        const bool lma = (s_.host_efer & efer::lma) != 0, lme = (s_.host_efer & efer::lme) != 0;
        if (exit(exit_control::load_efer) &&
            ((s_.host_efer & ~known) != 0 || lma != host_64 || lme != host_64))
            return "26.2.2: the host's EFER";
        return nullptr;
    }

    // 26.2.3 and 26.2.4
    [[nodiscard]] Verdict host_segments() const {
        for (const auto selector :
             {s_.host_cs, s_.host_ss, s_.host_ds, s_.host_es, s_.host_fs, s_.host_gs, s_.host_tr})
            if ((selector & 7) != 0)
                return "26.2.3: a host selector has RPL or TI set";
        if (s_.host_cs == 0 || s_.host_tr == 0)
            return "26.2.3: the host's CS or TR is null";
        if (!exit(exit_control::host_64) && s_.host_ss == 0)
            return "26.2.3: the host's SS is null outside of 64-bit mode";
        for (const auto base :
             {s_.host_fs_base, s_.host_gs_base, s_.host_tr_base, s_.host_gdtr_base, s_.host_idtr_base})
            if (!canonical(base))
                return "26.2.3: a segment base of the host is not canonical";
        if (!exit(exit_control::host_64))
            return "26.2.4: this CPU is in IA-32e mode, and the host address-space size is clear";
        if ((s_.host_cr4 & cr4::pae) == 0)
            return "26.2.4: the host's CR4.PAE is clear";
        if (!canonical(s_.host_rip))
            return "26.2.4: the host's RIP is not canonical";
        return nullptr;
    }

    // 26.3.1.1
    [[nodiscard]] Verdict guest_registers() const {
        constexpr std::uint64_t mode_bits = cr0::pe | cr0::pg;
        const auto must = has_.cr0_fixed0 & ~(unrestricted() ? mode_bits : 0);
        if ((s_.cr0 & must) != must || (s_.cr0 & ~has_.cr0_fixed1) != 0)
            return "26.3.1.1: CR0 has a bit that VMX operation does not allow";
        if ((s_.cr0 & cr0::pg) != 0 && (s_.cr0 & cr0::pe) == 0)
            return "26.3.1.1: CR0.PG is set and CR0.PE is clear";
        if ((s_.cr4 & has_.cr4_fixed0) != has_.cr4_fixed0 || (s_.cr4 & ~has_.cr4_fixed1) != 0)
            return "26.3.1.1: CR4 has a bit that VMX operation does not allow";
        if (entry(entry_control::load_debug) && (s_.debug_control & ~0xffc3ull) != 0)
            return "26.3.1.1: a reserved bit of IA32_DEBUGCTL";
        if (long_mode() && ((s_.cr0 & cr0::pg) == 0 || (s_.cr4 & cr4::pae) == 0))
            return "26.3.1.1: IA-32e mode without CR0.PG or CR4.PAE";
        if (!long_mode() && (s_.cr4 & cr4::pcide) != 0)
            return "26.3.1.1: CR4.PCIDE outside of IA-32e mode";
        if (!physical(s_.cr3))
            return "26.3.1.1: CR3 is beyond the physical address width";
        if (entry(entry_control::load_debug) && s_.dr7 >> 32 != 0)
            return "26.3.1.1: DR7[63:32] are not zero";
        if (!canonical(s_.sysenter_esp) || !canonical(s_.sysenter_eip))
            return "26.3.1.1: a SYSENTER address is not canonical";
        if (entry(entry_control::load_pat) && !is_pat(s_.pat))
            return "26.3.1.1: the PAT has a reserved memory type";
        if (!entry(entry_control::load_efer))
            return nullptr;
        if ((s_.efer & ~(efer::sce | efer::lme | efer::lma | efer::nxe)) != 0)
            return "26.3.1.1: a reserved bit of EFER";
        const bool lma = (s_.efer & efer::lma) != 0, lme = (s_.efer & efer::lme) != 0;
        if (lma != long_mode())
            return "26.3.1.1: EFER.LMA differs from the IA-32e mode control";
        if ((s_.cr0 & cr0::pg) != 0 && lma != lme)
            return "26.3.1.1: EFER.LMA differs from EFER.LME though paging is on";
        return nullptr;
    }

    // 26.3.1.2: selectors
    [[nodiscard]] Verdict guest_selectors() const {
        const auto& seg = s_.segment;
        if ((seg[seg_tr].selector & 4) != 0)
            return "26.3.1.2: TR is in the local descriptor table";
        if (usable(seg[seg_ldtr]) && (seg[seg_ldtr].selector & 4) != 0)
            return "26.3.1.2: LDTR is in the local descriptor table";
        if (!v8086() && !unrestricted() && (seg[seg_ss].selector & 3) != (seg[seg_cs].selector & 3))
            return "26.3.1.2: the RPL of SS and CS differ";
        return nullptr;
    }

    // 26.3.1.2: bases and, in virtual-8086 mode, limits
    [[nodiscard]] Verdict guest_bases() const {
        for (unsigned i = 0; i <= seg_gs; ++i) {
            const VmcsSegment& segment = s_.segment[i];
            if (v8086() && segment.base != std::uint64_t{segment.selector} << 4)
                return "26.3.1.2: a base in virtual-8086 mode is not the selector times 16";
            if (v8086() && segment.limit != 0xffff)
                return "26.3.1.2: a limit in virtual-8086 mode is not ffff";
            const bool wide = i == seg_fs || i == seg_gs;
            if (wide && !canonical(segment.base))
                return "26.3.1.2: the base of FS or GS is not canonical";
            if (!wide && (i == seg_cs || usable(segment)) && segment.base >> 32 != 0)
                return "26.3.1.2: the base of CS, SS, DS or ES is above 4 GiB";
        }
        if (!canonical(s_.segment[seg_tr].base) ||
            (usable(s_.segment[seg_ldtr]) && !canonical(s_.segment[seg_ldtr].base)))
            return "26.3.1.2: the base of TR or LDTR is not canonical";
        return nullptr;
    }

    [[nodiscard]] static bool granularity_fits(const VmcsSegment& segment) {
        const bool pages = (segment.access & rights::pages) != 0;
        return pages ? (segment.limit & 0xfff) == 0xfff : segment.limit >> 20 == 0;
    }

    [[nodiscard]] Verdict data_rights(unsigned index) const {
        const VmcsSegment& segment = s_.segment[index];
        const auto type = segment.access & 15, dpl = segment.access >> rights::dpl_shift & 3;
        const auto cs_type = s_.segment[seg_cs].access & 15;
        if (index == seg_ss) {
            if (usable(segment) && type != 3 && type != 7)
                return "26.3.1.2: the type of SS is neither 3 nor 7";
            if (!unrestricted() && dpl != (segment.selector & 3u))
                return "26.3.1.2: the DPL of SS is not its RPL";
            if (dpl != 0 && (cs_type == 3 || (s_.cr0 & cr0::pe) == 0))
                return "26.3.1.2: the DPL of SS is not 0 in real mode";
        } else if (usable(segment)) {
            if ((type & 1) == 0)
                return "26.3.1.2: the type of DS, ES, FS or GS is not accessed";
            if ((type & 8) != 0 && (type & 2) == 0)
                return "26.3.1.2: DS, ES, FS or GS is code that cannot be read";
            if (!unrestricted() && type <= 11 && dpl < (segment.selector & 3u))
                return "26.3.1.2: the DPL of DS, ES, FS or GS is below its RPL";
        }
        if (!usable(segment))
            return nullptr;
        if ((segment.access & rights::code_or_data) == 0)
            return "26.3.1.2: S is clear in SS, DS, ES, FS or GS";
        if ((segment.access & rights::present) == 0)
            return "26.3.1.2: P is clear in SS, DS, ES, FS or GS";
        if ((segment.access & 0xfffe0f00) != 0)
            return "26.3.1.2: a reserved access right of SS, DS, ES, FS or GS";
        if (!granularity_fits(segment))
            return "26.3.1.2: the limit of SS, DS, ES, FS or GS does not fit its granularity";
        return nullptr;
    }

    [[nodiscard]] Verdict code_rights() const {
        const VmcsSegment &segment = s_.segment[seg_cs], &stack = s_.segment[seg_ss];
        const auto type = segment.access & 15, dpl = segment.access >> rights::dpl_shift & 3;
        const auto stack_dpl = stack.access >> rights::dpl_shift & 3;
        if (type != 9 && type != 11 && type != 13 && type != 15 && !(type == 3 && unrestricted()))
            return "26.3.1.2: the type of CS is not accessed code";
        if ((segment.access & rights::code_or_data) == 0)
            return "26.3.1.2: S is clear in CS";
        if ((segment.access & rights::present) == 0)
            return "26.3.1.2: P is clear in CS";
        if (type == 3 && dpl != 0)
            return "26.3.1.2: CS is a data segment and its DPL is not 0";
        if ((type == 9 || type == 11) && dpl != stack_dpl)
            return "26.3.1.2: the DPL of CS and SS differ";
        if ((type == 13 || type == 15) && dpl > stack_dpl)
            return "26.3.1.2: the DPL of conforming CS is above that of SS";
        if ((segment.access & 0xfffe0f00) != 0 || !usable(segment))
            return "26.3.1.2: a reserved access right of CS";
        if (long_mode() && (segment.access & rights::long_mode) != 0 &&
            (segment.access & rights::size_32) != 0)
            return "26.3.1.2: CS.L and CS.D are both set";
        if (!granularity_fits(segment))
            return "26.3.1.2: the limit of CS does not fit its granularity";
        return nullptr;
    }

    [[nodiscard]] Verdict guest_access_rights() const {
        if (v8086()) {
            for (unsigned i = 0; i <= seg_gs; ++i)
                if (s_.segment[i].access != 0xf3)
                    return "26.3.1.2: access rights in virtual-8086 mode are not f3";
        } else {
            if (Verdict broken = code_rights())
                return broken;
            for (const unsigned i : {seg_ss, seg_ds, seg_es, seg_fs, seg_gs})
                if (Verdict broken = data_rights(i))
                    return broken;
        }
        const VmcsSegment& task = s_.segment[seg_tr];
        const auto type = task.access & 15;
        if (!usable(task) || (type != 11 && (type != 3 || long_mode())))
            return "26.3.1.2: TR is not a busy task";
        if ((task.access & (rights::code_or_data | 0xfffe0f00)) != 0 ||
            (task.access & rights::present) == 0 || !granularity_fits(task))
            return "26.3.1.2: the access rights of TR";
        const VmcsSegment& local = s_.segment[seg_ldtr];
        if (usable(local) &&
            ((local.access & 15) != 2 || (local.access & (rights::code_or_data | 0xfffe0f00)) != 0 ||
             (local.access & rights::present) == 0 || !granularity_fits(local)))
            return "26.3.1.2: the access rights of LDTR";
        return nullptr;
    }

    // 26.3.1.3
    [[nodiscard]] Verdict guest_tables() const {
        if (!canonical(s_.gdtr_base) || !canonical(s_.idtr_base))
            return "26.3.1.3: the base of GDTR or IDTR is not canonical";
        if (s_.gdtr_limit >> 16 != 0 || s_.idtr_limit >> 16 != 0)
            return "26.3.1.3: the limit of GDTR or IDTR is above ffff";
        return nullptr;
    }

    // 26.3.1.4
    [[nodiscard]] Verdict guest_rip_rflags() const {
        const bool long_code = long_mode() && (s_.segment[seg_cs].access & rights::long_mode) != 0;
        if (!long_code && s_.rip >> 32 != 0)
            return "26.3.1.4: RIP[63:32] are not zero outside of 64-bit mode";
        if (long_code && !canonical(s_.rip))
            return "26.3.1.4: RIP is not canonical";
        if ((s_.rflags & ~0x3f7fd7ull) != 0 || (s_.rflags & rflags::fixed) == 0)
            return "26.3.1.4: a reserved bit of RFLAGS";
        if (v8086() && (long_mode() || (s_.cr0 & cr0::pe) == 0))
            return "26.3.1.4: RFLAGS.VM is set in IA-32e or real mode";
        if ((s_.entry_event & event::valid) != 0 && event::type(s_.entry_event) == event::external &&
            (s_.rflags & rflags::interrupt) == 0)
            return "26.3.1.4: an external interrupt with RFLAGS.IF clear";
        return nullptr;
    }

    // 26.3.1.5: which events an inactive CPU takes
    [[nodiscard]] bool event_allowed_while_inactive() const {
        const auto type = event::type(s_.entry_event), vector = s_.entry_event & event::vector_mask;
        if (s_.activity == activity::hlt)
            return type == event::external || type == event::nmi || (type == event::other && vector == 0) ||
                   (type == event::hardware_exception && (vector == 1 || vector == 18));
        if (s_.activity == activity::shutdown)
            return type == event::nmi || (type == event::hardware_exception && vector == 18);
        return s_.activity == activity::active;
    }

    [[nodiscard]] Verdict guest_non_register() const {
        const auto block = s_.interruptibility;
        const bool injects = (s_.entry_event & event::valid) != 0;
        const auto type = event::type(s_.entry_event);
        if (s_.activity > activity::wait_for_sipi ||
            (s_.activity != activity::active && (has_.misc >> (5 + s_.activity) & 1) == 0))
            return "26.3.1.5: an activity state that this CPU lacks";
        if (s_.activity == activity::hlt && (s_.segment[seg_ss].access >> rights::dpl_shift & 3) != 0)
            return "26.3.1.5: HLT state with a DPL of SS that is not 0";
        if (s_.activity != activity::active && (block & blocking::shadow) != 0)
            return "26.3.1.5: inactive while STI or MOV SS blocks";
        if (injects && !event_allowed_while_inactive())
            return "26.3.1.5: an event that the activity state does not take";
        if ((block & ~0x1fu) != 0)
            return "26.3.1.5: a reserved bit of the interruptibility state";
        if ((block & blocking::shadow) == blocking::shadow)
            return "26.3.1.5: both STI and MOV SS block";
        if ((block & blocking::sti) != 0 && (s_.rflags & rflags::interrupt) == 0)
            return "26.3.1.5: STI blocks though RFLAGS.IF is clear";
        if (injects && type == event::external && (block & blocking::shadow) != 0)
            return "26.3.1.5: an external interrupt while STI or MOV SS blocks";
        if (injects && type == event::nmi && (block & blocking::mov_ss) != 0)
            return "26.3.1.5: an NMI while MOV SS blocks";
        if ((block & blocking::smi) != 0)
            return "26.3.1.5: SMIs are blocked outside of SMM";
        if (pin(pin::virtual_nmis) && injects && type == event::nmi && (block & blocking::nmi) != 0)
            return "26.3.1.5: an NMI while NMIs are blocked";
        return guest_pending_debug();
    }

    [[nodiscard]] Verdict guest_pending_debug() const {
        constexpr std::uint64_t known = 0xf | 1 << 11 | 1 << 12 | 1 << 14 | 1 << 16;
        if ((s_.pending_debug & ~known) != 0)
            return "26.3.1.5: a reserved bit of the pending debug exceptions";
        if ((s_.interruptibility & blocking::shadow) != 0 || s_.activity == activity::hlt) {
            const bool trap = (s_.rflags & rflags::tf) != 0 && (s_.debug_control & 2) == 0;
            if (trap != ((s_.pending_debug & pending_debug::single_step) != 0))
                return "26.3.1.5: the pending single step does not match RFLAGS.TF";
        }
        constexpr std::uint32_t revision = 0x7fffffff;
        const bool other = ((s_.link_revision ^ has_.basic) & revision) != 0;
        if (s_.link_pointer != ~0ull && (!page(s_.link_pointer) || other))
            return "26.3.1.5: the VMCS link pointer";
        return nullptr;
    }

    // 26.3.1.6
    [[nodiscard]] Verdict guest_pdptes() const {
        const bool pae = (s_.cr0 & cr0::pg) != 0 && (s_.cr4 & cr4::pae) != 0 && !long_mode();
        if (!pae || !second(secondary::ept))
            return nullptr;
        for (const auto entry : s_.pdpte)
            if ((entry & 1) != 0 && ((entry & 0x1e6) != 0 || !physical(entry)))
                return "26.3.1.6: a reserved bit of a page-directory-pointer-table entry";
        return nullptr;
    }

    const VmcsState& s_;
    const Capabilities& has_;
};

} // namespace

const char* find_violation(const VmcsState& state, const Capabilities& has) {
    return Checker{state, has}.check();
}

} // namespace escalus::vmm::vmx
