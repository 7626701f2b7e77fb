// SPDX-License-Identifier: GPL-2.0-or-later
// The current VMCS as the entry checker wants it.
#include "vmm/abi/types.hpp"
#include "vmm/vmx/vmcs.hpp"
#include "vmm/vmx/vmcs_check.hpp"

namespace escalus::vmm::vmx {

namespace {

template <typename T>
void get(T& to, Field from) {
    to = static_cast<T>(read(from));
}

/// Whether an address from the VMCS is that of a page that exists, so that it can be looked into.
bool is_page(std::uint64_t address) {
    return (address & page_mask) == 0 && address >> capabilities.physical_bits == 0;
}

void get_controls(VmcsState& s) {
    get(s.pin, Field::PinControls);
    get(s.primary, Field::PrimaryControls);
    get(s.secondary, Field::SecondaryControls);
    get(s.exit, Field::ExitControls);
    get(s.entry, Field::EntryControls);
    get(s.cr3_targets, Field::Cr3TargetCount);
    get(s.tpr_threshold, Field::TprThreshold);
    get(s.entry_event, Field::EntryEvent);
    get(s.entry_error_code, Field::EntryErrorCode);
    get(s.entry_instruction_length, Field::EntryInstructionLength);
    get(s.exit_store_count, Field::ExitMsrStoreCount);
    get(s.exit_load_count, Field::ExitMsrLoadCount);
    get(s.entry_load_count, Field::EntryMsrLoadCount);
    get(s.vpid, Field::Vpid);
    get(s.io_bitmap_a, Field::IoBitmapA);
    get(s.io_bitmap_b, Field::IoBitmapB);
    get(s.msr_bitmap, Field::MsrBitmap);
    get(s.virtual_apic, Field::VirtualApicPage);
    get(s.ept_pointer, Field::EptPointer);
    if ((s.primary & primary::secondary) != 0 && (s.secondary & secondary::tsc_scaling) != 0)
        get(s.tsc_multiplier, Field::TscMultiplier);
    get(s.exit_store, Field::ExitMsrStore);
    get(s.exit_load, Field::ExitMsrLoad);
    get(s.entry_load, Field::EntryMsrLoad);
    get(s.apic_access, Field::ApicAccessPage);
    if ((s.primary & primary::tpr_shadow) != 0 && is_page(s.virtual_apic))
        s.virtual_tpr = *reinterpret_cast<const std::uint32_t*>(s.virtual_apic + 0x80);
}

void get_host(VmcsState& s) {
    get(s.host_cr0, Field::HostCr0);
    get(s.host_cr3, Field::HostCr3);
    get(s.host_cr4, Field::HostCr4);
    get(s.host_efer, Field::HostEfer);
    get(s.host_pat, Field::HostPat);
    get(s.host_cs, Field::HostCs);
    get(s.host_ss, Field::HostSs);
    get(s.host_ds, Field::HostDs);
    get(s.host_es, Field::HostEs);
    get(s.host_fs, Field::HostFs);
    get(s.host_gs, Field::HostGs);
    get(s.host_tr, Field::HostTr);
    get(s.host_fs_base, Field::HostFsBase);
    get(s.host_gs_base, Field::HostGsBase);
    get(s.host_tr_base, Field::HostTrBase);
    get(s.host_gdtr_base, Field::HostGdtrBase);
    get(s.host_idtr_base, Field::HostIdtrBase);
    get(s.host_sysenter_esp, Field::HostSysenterEsp);
    get(s.host_sysenter_eip, Field::HostSysenterEip);
    get(s.host_rip, Field::HostRip);
}

void get_guest(VmcsState& s) {
    get(s.cr0, Field::GuestCr0);
    get(s.cr3, Field::GuestCr3);
    get(s.cr4, Field::GuestCr4);
    get(s.dr7, Field::GuestDr7);
    get(s.efer, Field::GuestEfer);
    get(s.pat, Field::GuestPat);
    get(s.debug_control, Field::GuestDebugControl);
    get(s.sysenter_esp, Field::GuestSysenterEsp);
    get(s.sysenter_eip, Field::GuestSysenterEip);
    for (unsigned i = 0; i < seg_count; ++i) {
        get(s.segment[i].selector, nth(Field::GuestEs, i));
        get(s.segment[i].access, nth(Field::GuestEsRights, i));
        get(s.segment[i].limit, nth(Field::GuestEsLimit, i));
        get(s.segment[i].base, nth(Field::GuestEsBase, i));
    }
    get(s.gdtr_base, Field::GuestGdtrBase);
    get(s.idtr_base, Field::GuestIdtrBase);
    get(s.gdtr_limit, Field::GuestGdtrLimit);
    get(s.idtr_limit, Field::GuestIdtrLimit);
    get(s.rip, Field::GuestRip);
    get(s.rflags, Field::GuestRflags);
    get(s.pending_debug, Field::GuestPendingDebug);
    get(s.link_pointer, Field::LinkPointer);
    if (is_page(s.link_pointer))
        s.link_revision = *reinterpret_cast<const std::uint32_t*>(s.link_pointer);
    get(s.activity, Field::GuestActivity);
    get(s.interruptibility, Field::GuestInterruptibility);
    for (unsigned i = 0; i < 4; ++i)
        get(s.pdpte[i], nth(Field::GuestPdpte0, i));
}

} // namespace

const char* find_violation_in_current() {
    VmcsState state;
    get_controls(state);
    get_host(state);
    get_guest(state);
    const char* violation = find_violation(state, capabilities);
    return violation != nullptr ? violation : "the state is refused for a reason that is not known";
}

} // namespace escalus::vmm::vmx
