// SPDX-License-Identifier: GPL-2.0-or-later
// What CPUID and the VMX capability MSRs promise, against what the CPU does.
#include "test/nested/framework/interrupts.hpp"
#include "test/nested/vmx/vendor.hpp"
#include "vmm/cpu/instructions.hpp"

namespace escalus::nested::vmx {

namespace {

constexpr Group group{"vmx-capabilities", "capability reporting against behaviour", vendor};
constexpr unsigned vector_gp = 13;

CHECK(group, "vmxe-cannot-be-cleared", "SDM 3C, 23.8") {
    EXPECT_EQ(fault_of([] { vmm::write_cr4(vmm::read_cr4() & ~vmm::cr4::vmxe); }), vector_gp);
    EXPECT((vmm::read_cr4() & vmm::cr4::vmxe) != 0);
}

CHECK(group, "ne-cannot-be-cleared", "SDM 3C, 23.8") {
    EXPECT_EQ(fault_of([] { vmm::write_cr0(vmm::read_cr0() & ~vmm::cr0::ne); }), vector_gp);
}

CHECK(group, "feature-control-is-locked", "SDM 3C, 23.7") {
    EXPECT((vmm::read_msr(vmm::msr::feature_control) & 1) != 0);
    EXPECT_EQ(fault_of([] { vmm::write_msr(vmm::msr::feature_control, 0); }), vector_gp);
}

} // namespace

} // namespace escalus::nested::vmx
