// SPDX-License-Identifier: GPL-2.0-or-later
// The checks that VM entry makes: Intel SDM 3C, sections 26.2 (controls and host state) and 26.3 (guest
// state). When an entry fails the CPU says little more than which of the two it was; this says which rule is
// broken. Pure code over a copy of the fields.
#pragma once

#include "vmm/vmx/capabilities.hpp"

namespace escalus::vmm::vmx {

struct VmcsSegment {
    std::uint16_t selector = 0;
    std::uint32_t access = 0, limit = 0;
    std::uint64_t base = 0;
};
enum VmcsSegmentIndex : unsigned {
    seg_es,
    seg_cs,
    seg_ss,
    seg_ds,
    seg_fs,
    seg_gs,
    seg_ldtr,
    seg_tr,
    seg_count
};

/// The fields that the checks look at.
struct VmcsState {
    // controls
    std::uint32_t pin = 0, primary = 0, secondary = 0, exit = 0, entry = 0;
    std::uint32_t cr3_targets = 0, tpr_threshold = 0;
    std::uint32_t entry_event = 0, entry_error_code = 0, entry_instruction_length = 0;
    std::uint32_t exit_store_count = 0, exit_load_count = 0, entry_load_count = 0;
    std::uint16_t vpid = 0;
    std::uint64_t io_bitmap_a = 0, io_bitmap_b = 0, msr_bitmap = 0, virtual_apic = 0, apic_access = 0,
                  ept_pointer = 0;
    std::uint64_t tsc_multiplier = 0;
    std::uint64_t exit_store = 0, exit_load = 0, entry_load = 0;
    std::uint32_t virtual_tpr = 0; ///< bits 7:0 of the register in the virtual-APIC page
    // host
    std::uint64_t host_cr0 = 0, host_cr3 = 0, host_cr4 = 0, host_efer = 0, host_pat = 0;
    std::uint16_t host_cs = 0, host_ss = 0, host_ds = 0, host_es = 0, host_fs = 0, host_gs = 0, host_tr = 0;
    std::uint64_t host_fs_base = 0, host_gs_base = 0, host_tr_base = 0, host_gdtr_base = 0,
                  host_idtr_base = 0;
    std::uint64_t host_sysenter_esp = 0, host_sysenter_eip = 0, host_rip = 0;
    // guest
    std::uint64_t cr0 = 0, cr3 = 0, cr4 = 0, dr7 = 0, efer = 0, pat = 0, debug_control = 0;
    std::uint64_t sysenter_esp = 0, sysenter_eip = 0;
    VmcsSegment segment[seg_count];
    std::uint64_t gdtr_base = 0, idtr_base = 0;
    std::uint32_t gdtr_limit = 0, idtr_limit = 0;
    std::uint64_t rip = 0, rflags = 0, pending_debug = 0, link_pointer = ~0ull;
    std::uint32_t activity = 0, interruptibility = 0;
    std::uint32_t link_revision = 0; ///< first word of what link_pointer points to
    std::uint64_t pdpte[4] = {};
};

/// The first rule that is broken; null when none is.
[[nodiscard]] const char* find_violation(const VmcsState& state, const Capabilities& capabilities);

/// For the current VMCS, after a failed entry. Never null.
[[nodiscard]] const char* find_violation_in_current();

} // namespace escalus::vmm::vmx
