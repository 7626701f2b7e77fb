// SPDX-License-Identifier: GPL-2.0-or-later
// Each consistency check of VMRUN, one violation at a time: refused with VMEXIT_INVALID, and for the reason
// that the monitor's own checker (vmm/svm/vmcb_check.cpp) names.
#include "test/nested/svm/guest.hpp"

namespace escalus::nested::svm {

namespace {

constexpr Group group{"svm-invalid-state", "VMRUN refuses each invalid state", vendor};

void do_nothing() {}

bool begins_with(const char* text, const char* start) {
    while (*start != 0)
        if (*text++ != *start++)
            return false;
    return true;
}

void expect_refused(Guest& guest, const char* reason) {
    const char* violation = find_violation(guest.vmcb, physical_bits());
    if (violation == nullptr)
        fail("the checker finds the state valid");
    if (!begins_with(violation, reason))
        fail("the checker says: ", violation);
    EXPECT_EQ(guest.run(), ExitCode::Invalid);
}

CHECK(group, "valid-state-runs", "APM 2, 15.5.1") {
    Guest guest(do_nothing);
    EXPECT(find_violation(guest.vmcb, physical_bits()) == nullptr);
    guest.run_to_end();
}

struct Mistake {
    const char* name;
    const char* reason;
    void (*make)(Guest&);
    const char* manual;
};
constexpr Mistake mistakes[] = {
    {"efer-svme-clear", "EFER.SVME", [](Guest& g) { g.save.efer &= ~efer::svme; }, nullptr},
    {"cr0-nw-without-cd", "CR0.CD", [](Guest& g) { g.save.cr0 |= cr0::nw; }, nullptr},
    {"long-mode-without-pae", "EFER.LME and CR0.PG are set and CR4.PAE",
     [](Guest& g) { g.save.cr4 &= ~cr4::pae; }, nullptr},
    {"long-mode-without-pe", "EFER.LME and CR0.PG are set and CR0.PE",
     [](Guest& g) { g.save.cr0 &= ~cr0::pe; }, nullptr},
    {"cs-l-and-d", "CS.L", [](Guest& g) { g.save.cs.attributes |= 1 << 10; }, nullptr},
    {"vmrun-not-intercepted", "VMRUN", [](Guest& g) { g.control.intercepts2 &= ~intercept2::vmrun; },
     nullptr},
    {"asid-0", "the ASID", [](Guest& g) { g.control.asid = 0; }, nullptr},
    {"iopm-beyond-memory", "the I/O permissions map",
     [](Guest& g) {
         g.control.intercepts1 |= intercept1::ioio;
         g.control.iopm = 1ull << physical_bits();
     },
     "APM 2, 15.5.1, 15.10.1"},
    {"iopm-end-beyond-memory", "the I/O permissions map",
     [](Guest& g) {
         g.control.intercepts1 |= intercept1::ioio;
         g.control.iopm = (1ull << physical_bits()) - 2 * page_size;
     },
     "APM 2, 15.5.1, 15.10.1"},
    {"msrpm-beyond-memory", "the MSR permissions map",
     [](Guest& g) {
         g.control.intercepts1 |= intercept1::msr;
         g.control.msrpm = 1ull << physical_bits();
     },
     "APM 2, 15.5.1, 15.11"},
    {"msrpm-end-beyond-memory", "the MSR permissions map",
     [](Guest& g) {
         g.control.intercepts1 |= intercept1::msr;
         g.control.msrpm = (1ull << physical_bits()) - page_size;
     },
     "APM 2, 15.5.1, 15.11"},
};

FAMILY(group, "", mistakes, "APM 2, 15.5.1") {
    Guest guest(do_nothing);
    row.make(guest);
    expect_refused(guest, row.reason);
}

/// Bits of a register, each to be refused when it is set alone.
struct Bit {
    NumberedName name;
    unsigned bit;
};
template <unsigned first, unsigned last>
struct Bits {
    Bit rows[last - first + 1]{};
    constexpr explicit Bits(const char* stem) {
        for (unsigned i = first; i <= last; ++i)
            rows[i - first] = {{stem, i}, i};
    }
};
constexpr Bits<32, 63> cr0_table{"bit-"}, dr6_table{"bit-"}, dr7_table{"bit-"}, cr4_table{"bit-"};
constexpr Bits<52, 63> cr3_table{"bit-"};
constexpr Bits<32, 63> efer_table{"bit-"};
constexpr const auto& cr0_bits = cr0_table.rows;
constexpr const auto& cr3_bits = cr3_table.rows;
constexpr const auto& cr4_bits = cr4_table.rows;
constexpr const auto& dr6_bits = dr6_table.rows;
constexpr const auto& dr7_bits = dr7_table.rows;
constexpr const auto& efer_bits = efer_table.rows;

FAMILY(group, "cr0-", cr0_bits, "APM 2, 15.5.1: CR0[63:32] are not zero") {
    Guest guest(do_nothing);
    guest.save.cr0 |= 1ull << row.bit;
    expect_refused(guest, "CR0[63:32]");
}
FAMILY(group, "cr3-", cr3_bits, "APM 2, 15.5.1: any MBZ bit of CR3 is set; 5.3.2") {
    Guest guest(do_nothing);
    guest.save.cr3 |= 1ull << row.bit;
    expect_refused(guest, "CR3");
}
CHECK(group, "cr3-beyond-physical-addresses", "APM 2, 15.5.1: any MBZ bit of CR3 is set; 5.3.2") {
    if (physical_bits() >= 52)
        skip("all address bits are in use");
    Guest guest(do_nothing);
    guest.save.cr3 |= 1ull << physical_bits();
    expect_refused(guest, "CR3");
}
FAMILY(group, "cr4-", cr4_bits, "APM 2, 15.5.1: any MBZ bit of CR4 is set; 3.1.3") {
    Guest guest(do_nothing);
    guest.save.cr4 |= 1ull << row.bit;
    expect_refused(guest, "CR4");
}
constexpr Bits<24, 31> cr4_low_table{"bit-"};
constexpr const auto& cr4_low_bits = cr4_low_table.rows;
FAMILY(group, "cr4-", cr4_low_bits, "APM 2, 15.5.1: any MBZ bit of CR4 is set; 3.1.3") {
    Guest guest(do_nothing);
    guest.save.cr4 |= 1ull << row.bit;
    expect_refused(guest, "CR4");
}
FAMILY(group, "dr6-", dr6_bits, "APM 2, 15.5.1: DR6[63:32] are not zero") {
    Guest guest(do_nothing);
    guest.save.dr6 |= 1ull << row.bit;
    expect_refused(guest, "DR6[63:32]");
}
FAMILY(group, "dr7-", dr7_bits, "APM 2, 15.5.1: DR7[63:32] are not zero") {
    Guest guest(do_nothing);
    guest.save.dr7 |= 1ull << row.bit;
    expect_refused(guest, "DR7[63:32]");
}
FAMILY(group, "efer-", efer_bits, "APM 2, 15.5.1: any MBZ bit of EFER is set; 3.1.7") {
    Guest guest(do_nothing);
    guest.save.efer |= 1ull << row.bit;
    expect_refused(guest, "EFER");
}
constexpr Bits<22, 31> efer_low_table{"bit-"};
constexpr const auto& efer_low_bits = efer_low_table.rows;
FAMILY(group, "efer-", efer_low_bits, "APM 2, 15.5.1: any MBZ bit of EFER is set; 3.1.7") {
    Guest guest(do_nothing);
    guest.save.efer |= 1ull << row.bit;
    expect_refused(guest, "EFER");
}
CHECK(group, "efer-bit-9", "APM 2, 15.5.1: any MBZ bit of EFER is set; 3.1.7") {
    Guest guest(do_nothing);
    guest.save.efer |= 1 << 9;
    expect_refused(guest, "EFER");
}

struct Event {
    const char* name;
    std::uint64_t inject;
};
constexpr Event events[] = {
    {"type-1", event::valid | 1 << 8 | 0x20},
    {"type-5", event::valid | 5 << 8 | 0x20},
    {"type-6", event::valid | 6 << 8 | 0x20},
    {"type-7", event::valid | 7 << 8 | 0x20},
    {"exception-2", event::valid | 3 << 8 | 2},
    {"exception-32", event::valid | 3 << 8 | 32},
    {"exception-64", event::valid | 3 << 8 | 64},
    {"exception-128", event::valid | 3 << 8 | 128},
    {"exception-255", event::valid | 3 << 8 | 255},
    {"overflow-in-64-bit-mode", event::valid | 3 << 8 | 4},
    {"bound-in-64-bit-mode", event::valid | 3 << 8 | 5},
};

FAMILY(group, "inject-", events, "APM 2, 15.5.1, 15.20: illegal event injection") {
    Guest guest(do_nothing);
    guest.control.inject = row.inject;
    expect_refused(guest, "EVENTINJ");
}

CHECK(group, "invalid-event-not-marked-valid", "APM 2, 15.20: nothing is injected while V is 0") {
    Guest guest(do_nothing);
    guest.control.inject = 7 << 8 | 2;
    guest.run_to_end();
}

CHECK(group, "nested-cr3-beyond-physical-addresses", "APM 2, 15.25.4: any MBZ bit of nCR3 is set") {
    if (!has(feature::np))
        skip("no nested paging");
    if (physical_bits() >= 52)
        skip("all address bits are in use");
    Guest guest(do_nothing);
    guest.control.nested_cr3 |= 1ull << 51;
    expect_refused(guest, "nCR3");
}

struct Pat {
    NumberedName name;
    unsigned type;
};
constexpr Pat bad_pats[] = {{{"type-", 2}, 2}, {{"type-", 3}, 3}, {{"type-", 8}, 8}, {{"type-", 0x80}, 0x80}};

FAMILY(group, "guest-pat-", bad_pats, "APM 2, 15.25.4: an unsupported type or a reserved field in G_PAT") {
    if (!has(feature::np))
        skip("no nested paging");
    Guest guest(do_nothing);
    guest.save.pat = (guest.save.pat & ~0xffull << 40) | std::uint64_t{row.type} << 40;
    expect_refused(guest, "G_PAT");
}

/// What looks invalid and is not.
struct Odd {
    const char* name;
    void (*make)(Guest&);
    const char* manual;
};
constexpr Odd odd[] = {
    {"cr0-nw-with-cd", [](Guest& g) { g.save.cr0 |= cr0::nw | cr0::cd; }, "APM 2, 15.5.1"},
    {"unused-iopm", [](Guest& g) { g.control.intercepts1 |= intercept1::msr; }, "APM 2, 15.5.1"},
    {"cpl-in-real-mode-is-ignored", nullptr, "APM 2, 15.5.1: in real mode CPL is forced to 0"},
};
GUEST_CODE(real_hlt, 16, "nop");

FAMILY(group, "accepted-", odd, "APM 2, 15.5.1") {
    if (row.make == nullptr) {
        Guest guest(Mode::Real, real_hlt);
        guest.save.cpl = 3;
        guest.run_to_end();
        EXPECT_EQ(guest.save.cpl, 0);
        return;
    }
    Guest guest(do_nothing);
    row.make(guest);
    EXPECT(find_violation(guest.vmcb, physical_bits()) == nullptr);
    guest.run_to_end();
}

CHECK(group, "paged-real-mode", "APM 2, 15.19: CR0.PE = 0 and CR0.PG = 1 is accepted") {
    Guest guest(Mode::Real, real_hlt);
    guest.save.cr0 |= cr0::pg;
    guest.save.cr3 = reinterpret_cast<std::uint64_t>(guest_memory.paged32);
    guest.save.cr4 |= cr4::pse;
    guest.control.exceptions = 1 << 14;
    EXPECT(find_violation(guest.vmcb, physical_bits()) == nullptr);
    guest.run_to_end();
}

CHECK(group, "exit-code-has-64-bits", "APM 2, 15.6, C: VMEXIT_INVALID is -1 in a field of 64 bits") {
    Guest guest(do_nothing);
    guest.control.asid = 0;
    guest.run();
    EXPECT_EQ(guest.control.exit_code, ~0ull);
}

CHECK(group, "host-state-is-restored", "APM 2, 15.6: VMEXIT_INVALID is a #VMEXIT") {
    Guest guest(do_nothing);
    guest.control.asid = 0;
    const auto host_cr3 = vmm::read_cr3(), host_cr0 = vmm::read_cr0(), host_cr4 = vmm::read_cr4();
    EXPECT_EQ(guest.run(), ExitCode::Invalid);
    EXPECT_EQ(vmm::read_cr3(), host_cr3);
    EXPECT_EQ(vmm::read_cr0(), host_cr0);
    EXPECT_EQ(vmm::read_cr4(), host_cr4);
    Guest next(do_nothing);
    next.run_to_end();
}

} // namespace

} // namespace escalus::nested::svm
