// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/cpu/instructions.hpp"
#include "vmm/svm/vmcb.hpp"

namespace escalus::vmm::svm {

namespace {

constexpr std::uint64_t iopm_bytes = 3 * page_size, msrpm_bytes = 2 * page_size;

/// Bits that no processor has: APM 2, 3.1.3 (CR4) and 3.1.7 (EFER). Bits that some processors have are not
/// judged here.
constexpr std::uint64_t cr4_never = ~0xff'ffffull;                     // 23: CET
constexpr std::uint64_t efer_never = ~std::uint64_t{0} << 22 | 1 << 9; // 21: automatic IBRS
constexpr std::uint64_t cr3_never = 0xfff0'0000'0000'0000;

bool in_long_paging(const VmcbSave& s) {
    return (s.efer & efer::lme) != 0 && (s.cr0 & cr0::pg) != 0;
}

bool is_beyond(std::uint64_t base, std::uint64_t bytes, unsigned physical_bits) {
    return ((base & ~page_mask) + bytes - 1) >> physical_bits != 0;
}

/// APM 2, 7.8.1: uncacheable, write-combining, write-through, write-protect, write-back, UC-.
bool is_memory_type(std::uint64_t type) {
    return type <= 7 && type != 2 && type != 3;
}

const char* find_register_violation(const VmcbSave& s, unsigned physical_bits) {
    if ((s.efer & efer::svme) == 0)
        return "EFER.SVME is clear";
    if ((s.cr0 & cr0::cd) == 0 && (s.cr0 & cr0::nw) != 0)
        return "CR0.CD is clear and CR0.NW is set";
    if (s.cr0 >> 32 != 0)
        return "CR0[63:32] are not zero";
    if (in_long_paging(s) && ((s.cr3 & cr3_never) != 0 || s.cr3 >> physical_bits != 0))
        return "CR3 has bits beyond the physical address width";
    if (s.cr4 >> 32 != 0)
        return "CR4[63:32] are not zero";
    if ((s.cr4 & cr4_never) != 0)
        return "CR4 has a reserved bit set";
    if (s.dr6 >> 32 != 0)
        return "DR6[63:32] are not zero";
    if (s.dr7 >> 32 != 0)
        return "DR7[63:32] are not zero";
    if ((s.efer & efer_never) != 0)
        return "EFER has a reserved bit set";
    return nullptr;
}

const char* find_mode_violation(const VmcbSave& s) {
    if (!in_long_paging(s))
        return nullptr;
    constexpr std::uint16_t long_code = 1 << 9, default_size = 1 << 10;
    if ((s.cr4 & cr4::pae) == 0)
        return "EFER.LME and CR0.PG are set and CR4.PAE is clear";
    if ((s.cr0 & cr0::pe) == 0)
        return "EFER.LME and CR0.PG are set and CR0.PE is clear";
    if ((s.cs.attributes & long_code) != 0 && (s.cs.attributes & default_size) != 0)
        return "CS.L and CS.D are both set in long mode";
    return nullptr;
}

/// APM 2, section 15.20.
const char* find_event_violation(const Vmcb& vmcb) {
    const auto inject = vmcb.control.inject;
    if ((inject & event::valid) == 0)
        return nullptr;
    const auto type = inject >> event::type_shift & 7;
    const auto vector = inject & event::vector_mask;
    if (type == 1 || type > 4)
        return "EVENTINJ has a reserved type";
    if (type != 3)
        return nullptr;
    if (vector == 2 || vector > 31)
        return "EVENTINJ of type exception has vector 2 or one above 31";
    constexpr std::uint16_t long_code = 1 << 9;
    const bool code64 = in_long_paging(vmcb.save) && (vmcb.save.cs.attributes & long_code) != 0;
    if (code64 && (vector == 4 || vector == 5))
        return "EVENTINJ has an exception that 64-bit mode cannot raise (#OF, #BR)";
    return nullptr;
}

/// APM 2, section 15.25.4.
const char* find_nesting_violation(const Vmcb& vmcb, unsigned physical_bits) {
    if ((vmcb.control.nested_control & 1) == 0)
        return nullptr;
    if ((vmcb.control.nested_cr3 & cr3_never) != 0 || vmcb.control.nested_cr3 >> physical_bits != 0)
        return "nCR3 has bits beyond the physical address width";
    for (unsigned field = 0; field < 64; field += 8)
        if (!is_memory_type(vmcb.save.pat >> field & 0xff))
            return "G_PAT has a reserved memory type";
    return nullptr;
}

} // namespace

const char* find_violation(const Vmcb& vmcb, unsigned physical_bits) {
    const VmcbControl& c = vmcb.control;
    if (const char* text = find_register_violation(vmcb.save, physical_bits))
        return text;
    if (const char* text = find_mode_violation(vmcb.save))
        return text;
    if ((c.intercepts2 & intercept2::vmrun) == 0)
        return "VMRUN is not intercepted";
    if (c.asid == 0)
        return "the ASID is 0";
    if ((c.intercepts1 & intercept1::ioio) != 0 && is_beyond(c.iopm, iopm_bytes, physical_bits))
        return "the I/O permissions map extends beyond the physical address width";
    if ((c.intercepts1 & intercept1::msr) != 0 && is_beyond(c.msrpm, msrpm_bytes, physical_bits))
        return "the MSR permissions map extends beyond the physical address width";
    if (const char* text = find_event_violation(vmcb))
        return text;
    return find_nesting_violation(vmcb, physical_bits);
}

} // namespace escalus::vmm::svm
