// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/cpu/instructions.hpp"
#include "vmm/svm/vmcb.hpp"

namespace escalus::vmm::svm {

const char* find_violation(const Vmcb& vmcb, unsigned physical_bits) {
    const VmcbSave& s = vmcb.save;
    const VmcbControl& c = vmcb.control;
    const bool long_paging = (s.efer & efer::lme) != 0 && (s.cr0 & cr0::pg) != 0;
    const std::uint16_t long_code = 1 << 9, default_size = 1 << 10;
    if ((s.efer & efer::svme) == 0)
        return "EFER.SVME is clear";
    if ((s.cr0 & cr0::cd) == 0 && (s.cr0 & cr0::nw) != 0)
        return "CR0.CD is clear and CR0.NW is set";
    if (s.cr0 >> 32 != 0)
        return "CR0[63:32] are not zero";
    if (long_paging && s.cr3 >> physical_bits != 0)
        return "CR3 has bits beyond the physical address width";
    if (s.cr4 >> 32 != 0)
        return "CR4[63:32] are not zero";
    if (s.dr6 >> 32 != 0)
        return "DR6[63:32] are not zero";
    if (s.dr7 >> 32 != 0)
        return "DR7[63:32] are not zero";
    if (long_paging && (s.cr4 & cr4::pae) == 0)
        return "EFER.LME and CR0.PG are set and CR4.PAE is clear";
    if (long_paging && (s.cr0 & cr0::pe) == 0)
        return "EFER.LME and CR0.PG are set and CR0.PE is clear";
    if (long_paging && (s.cs.attributes & long_code) != 0 && (s.cs.attributes & default_size) != 0)
        return "CS.L and CS.D are both set in long mode";
    if ((c.intercepts2 & intercept2::vmrun) == 0)
        return "VMRUN is not intercepted";
    if (c.asid == 0)
        return "the ASID is 0";
    if ((c.inject & event::valid) != 0) {
        const auto type = c.inject >> event::type_shift & 7;
        if (type == 1 || type > 4)
            return "EVENTINJ has a reserved type";
        if (type == 3 && ((c.inject & event::vector_mask) == 2 || (c.inject & event::vector_mask) > 31))
            return "EVENTINJ of type exception has vector 2 or one above 31";
    }
    return nullptr;
}

} // namespace escalus::vmm::svm
