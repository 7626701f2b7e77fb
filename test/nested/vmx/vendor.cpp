// SPDX-License-Identifier: GPL-2.0-or-later
// VT-x: whether it is there, and VMXON. Intel SDM 3C, sections 23.6 to 23.8 ("Discovering support", "Enabling
// and entering VMX operation", "Restrictions on VMX operation").
#include "test/nested/vmx/vendor.hpp"

#include "test/nested/framework/interrupts.hpp"
#include "test/nested/framework/memory.hpp"
#include "vmm/cpu/instructions.hpp"
#include "vmm/vmx/capabilities.hpp"

namespace escalus::nested::vmx {

namespace {

constexpr std::uint64_t feature_locked = 1, feature_vmxon_outside_smx = 4;

constinit std::uint64_t region_of_vmxon = 0;
constinit std::uint64_t saved_cr0 = 0, saved_cr3 = 0, saved_cr4 = 0;

/// MSRs that a guest may leave changed; STAR to SFMASK are in no VMCS.
struct SavedMsr {
    std::uint32_t number;
    std::uint64_t value;
};
constinit SavedMsr saved_msrs[] = {
    {vmm::msr::efer, 0},           {vmm::msr::pat, 0},          {vmm::msr::star, 0},
    {vmm::msr::lstar, 0},          {vmm::msr::cstar, 0},        {vmm::msr::sfmask, 0},
    {vmm::msr::kernel_gs_base, 0}, {vmm::msr::fs_base, 0},      {vmm::msr::gs_base, 0},
    {vmm::msr::sysenter_cs, 0},    {vmm::msr::sysenter_esp, 0}, {vmm::msr::sysenter_eip, 0}};

bool present() {
    return (vmm::cpuid(1).ecx & 1 << 5) != 0;
}

const char* missing() {
    const auto control = vmm::read_msr(vmm::msr::feature_control);
    if ((control & feature_locked) != 0 && (control & feature_vmxon_outside_smx) == 0)
        return "VT-x (VMX) is disabled by the firmware (IA32_FEATURE_CONTROL is locked without it); enable "
               "it in the firmware's setup";
    return nullptr;
}

const char* start() {
    const auto control = vmm::read_msr(vmm::msr::feature_control);
    if ((control & feature_locked) == 0)
        vmm::write_msr(vmm::msr::feature_control, control | feature_locked | feature_vmxon_outside_smx);
    vmm::vmx::read_capabilities();
    const auto& has = vmm::vmx::capabilities;
    vmm::write_cr0((vmm::read_cr0() | has.cr0_fixed0) & has.cr0_fixed1);
    vmm::write_cr4((vmm::read_cr4() | vmm::cr4::vmxe | has.cr4_fixed0) & has.cr4_fixed1);
    auto* region = static_cast<std::uint32_t*>(permanent_pages(1));
    *region = static_cast<std::uint32_t>(has.basic) & 0x7fffffff; // revision identifier
    region_of_vmxon = reinterpret_cast<std::uint64_t>(region);
    bool failed = false;
    const unsigned fault = fault_of([&] {
        asm volatile("vmxon %1" : "=@ccbe"(failed) : "m"(region_of_vmxon) : "memory");
    });
    if (fault != no_fault || failed)
        return "VMXON fails although CPUID offers VMX";
    start_guests();
    saved_cr0 = vmm::read_cr0();
    saved_cr3 = vmm::read_cr3();
    saved_cr4 = vmm::read_cr4();
    for (auto& saved : saved_msrs)
        saved.value = vmm::read_msr(saved.number);
    return nullptr;
}

void reset() {
    asm volatile("int $2"); // its IRET ends the blocking of NMIs that a check may have left
    for (const auto& saved : saved_msrs)
        vmm::write_msr(saved.number, saved.value);
    vmm::write_cr0(saved_cr0);
    vmm::write_cr4(saved_cr4);
    vmm::write_cr3(saved_cr3);
    asm volatile("mov %0, %%dr7; mov %1, %%dr6; clts" ::"r"(0x400ull), "r"(0xffff0ff0ull));
}

} // namespace

std::uint64_t vmxon_region() {
    return region_of_vmxon;
}

constinit const Vendor vendor{"VT-x", present, missing, start, reset};

} // namespace escalus::nested::vmx
