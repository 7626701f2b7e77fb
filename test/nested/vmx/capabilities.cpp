// SPDX-License-Identifier: GPL-2.0-or-later
// What CPUID and the VMX capability MSRs promise, against what the CPU does.
#include "test/nested/framework/interrupts.hpp"
#include "test/nested/vmx/guest.hpp"
#include "vmm/vmx/vmcs_check.hpp"

#include <cstring>

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

CHECK(group, "revision-has-31-bits", "SDM 3D, A.1") {
    EXPECT_EQ(capabilities.basic >> 31 & 1, 0);
}
CHECK(group, "vmcs-size", "SDM 3D, A.1: at most 4096 bytes") {
    const auto bytes = capabilities.basic >> 32 & 0x1fff;
    EXPECT(bytes > 0);
    EXPECT(bytes <= page_size);
}
CHECK(group, "vmcs-memory-type", "SDM 3D, A.1: uncacheable or write-back") {
    const auto type = capabilities.basic >> 50 & 15;
    EXPECT(type == 0 || type == 6);
}
CHECK(group, "cr0-fixed-bits", "SDM 3D, A.7: what must be 1 may be 1; PE, NE and PG are") {
    EXPECT_EQ(capabilities.cr0_fixed0 & ~capabilities.cr0_fixed1, 0);
    EXPECT_EQ(capabilities.cr0_fixed0 & (cr0::pe | cr0::ne | cr0::pg), cr0::pe | cr0::ne | cr0::pg);
}
CHECK(group, "cr4-fixed-bits", "SDM 3D, A.8: what must be 1 may be 1; VMXE is") {
    EXPECT_EQ(capabilities.cr4_fixed0 & ~capabilities.cr4_fixed1, 0);
    EXPECT_EQ(capabilities.cr4_fixed0 & cr4::vmxe, cr4::vmxe);
}
CHECK(group, "capability-msrs-are-read-only", "SDM 3D, A: WRMSR raises #GP") {
    EXPECT_EQ(fault_of([] { vmm::write_msr(0x480, 0); }), vector_gp);
    EXPECT_EQ(fault_of([] { vmm::write_msr(0x485, 0); }), vector_gp);
}
CHECK(group, "highest-field", "SDM 3D, A.9: no index above the one reported") {
    const Guest guest([] {});
    const auto highest = vmm::read_msr(0x48a) >> 1 & 0x1ff;
    std::uint64_t value = 0;
    for (const std::uint64_t group_of_fields :
         {0x0000, 0x0800, 0x0c00, 0x2000, 0x2400, 0x2800, 0x2c00, 0x4000, 0x4400, 0x4800, 0x4c00, 0x6000,
          0x6400, 0x6800, 0x6c00})
        for (std::uint64_t index = highest + 1; index < 0x200; index += 37)
            EXPECT_EQ(vmread(group_of_fields | index << 1, value), Said::FailValid);
}

/// The fields of controls: what is promised of each bit holds.
struct Control {
    Field field;
    std::uint64_t Capabilities::*capability;
    bool (*there)();
};
bool always() {
    return true;
}
bool has_second() {
    return has_primary(primary::secondary);
}
constexpr Control pin_field{Field::PinControls, &Capabilities::pin, always};
constexpr Control primary_field{Field::PrimaryControls, &Capabilities::primary, always};
constexpr Control secondary_field{Field::SecondaryControls, &Capabilities::secondary, has_second};
constexpr Control exit_field{Field::ExitControls, &Capabilities::exit, always};
constexpr Control entry_field{Field::EntryControls, &Capabilities::entry, always};

struct Bit {
    NumberedName name;
    unsigned bit;
};
struct Bits {
    Bit rows[32]{};
    constexpr Bits() {
        for (unsigned i = 0; i < 32; ++i)
            rows[i] = {{"bit-", i}, i};
    }
};
constexpr Bits table;
constexpr const auto& bits = table.rows;

GUEST_CODE(leave, 64, "vmcall");

/// A bit that is fixed is refused when it is the other way (error 7); one that is not is taken either way,
/// unless the monitor's checker names another rule that the change breaks.
void check_bit(const Control& control, unsigned bit) {
    if (!control.there())
        skip("this CPU has no such field");
    const auto capability = capabilities.*control.capability;
    const auto must = capability >> bit & 1, may = capability >> (32 + bit) & 1;
    EXPECT(may >= must);
    for (const std::uint64_t value : {0, 1}) {
        Guest guest(leave);
        write(control.field, (read(control.field) & ~(1ull << bit)) | value << bit);
        const bool fixed = value == 0 ? must == 1 : may == 0;
        const char* violation = find_violation_in_current();
        const bool valid = std::strlen(violation) > 2 && violation[0] != '2';
        EXPECT(!(fixed && valid));
        if (!fixed && !valid)
            continue; // vmx-invalid-state is about the other rules
        const Entered entered = guest.enter();
        asm volatile("sti");
        if (fixed)
            EXPECT_EQ(entered.error, 7);
        else
            EXPECT(entered.error == 0 && (entered.reason & entry_failed) == 0);
    }
}
FAMILY(group, "pin-", bits, "SDM 3C, 26.2.1.1; 3D, A.3.1") {
    check_bit(pin_field, row.bit);
}
FAMILY(group, "primary-", bits, "SDM 3C, 26.2.1.1; 3D, A.3.2") {
    check_bit(primary_field, row.bit);
}
FAMILY(group, "secondary-", bits, "SDM 3C, 26.2.1.1; 3D, A.3.3") {
    check_bit(secondary_field, row.bit);
}
FAMILY(group, "exit-", bits, "SDM 3C, 26.2.1.2; 3D, A.4") {
    check_bit(exit_field, row.bit);
}
FAMILY(group, "entry-", bits, "SDM 3C, 26.2.1.3; 3D, A.5") {
    check_bit(entry_field, row.bit);
}

} // namespace

} // namespace escalus::nested::vmx
