// SPDX-License-Identifier: GPL-2.0-or-later
// What CPUID promises of AMD-V, against what the CPU does.
#include "test/nested/framework/interrupts.hpp"
#include "test/nested/svm/guest.hpp"

namespace escalus::nested::svm {

namespace {

constexpr Group group{"svm-capabilities", "capability reporting against behaviour", vendor};
constexpr unsigned vector_ud = 6, vector_gp = 13;

CHECK(group, "revision", "APM 3, E.4.9") {
    EXPECT((vmm::cpuid(0x8000000a).eax & 0xff) != 0);
}

CHECK(group, "at-least-two-asids", "APM 2, 15.5.1: ASID 0 is the host's") {
    EXPECT(asid_count() >= 2);
}

CHECK(group, "vmrun-needs-svme", "APM 2, 15.4") {
    const auto with = vmm::read_msr(msr::efer);
    const Guest guest([] {});
    vmm::write_msr(msr::efer, with & ~efer::svme);
    const unsigned fault = fault_of([&] { asm volatile("vmrun %%rax" ::"a"(&guest.vmcb) : "memory"); });
    vmm::write_msr(msr::efer, with);
    EXPECT_EQ(fault, vector_ud);
}

CHECK(group, "host-save-area-must-be-aligned", "APM 2, 15.30.4") {
    EXPECT_EQ(fault_of([] { vmm::write_msr(msr::vm_hsave_pa, 0x1234); }), vector_gp);
}

CHECK(group, "next-rip", "APM 2, 15.7.1") {
    if (!has(feature::next_rip))
        skip("no next-RIP save");
    Guest guest([] { asm volatile("vmmcall"); });
    REQUIRE_EQ(guest.run(), ExitCode::Vmmcall);
    EXPECT_EQ(guest.control.next_rip, guest.save.rip + 3);
}

} // namespace

} // namespace escalus::nested::svm
