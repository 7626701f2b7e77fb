// SPDX-License-Identifier: GPL-2.0-or-later
// RDMSR and WRMSR, and the edges of the MSR permissions map.
#include "test/nested/svm/guest.hpp"

namespace escalus::nested::svm {

namespace {

constexpr Group group{"svm-msr", "MSR accesses and the MSR permissions map", vendor};

GUEST_CODE(read, 64, "rdmsr");
GUEST_CODE(write, 64, "wrmsr");

/// Where the two bits of an MSR lie; none for those that the map does not cover.
constexpr unsigned no_bit = ~0u;
constexpr unsigned bit_of(std::uint32_t number) {
    if (number < 0x2000)
        return number * 2;
    if (number >= 0xc0000000 && number < 0xc0002000)
        return 0x800 * 8 + (number - 0xc0000000) * 2;
    if (number >= 0xc0010000 && number < 0xc0012000)
        return 0x1000 * 8 + (number - 0xc0010000) * 2;
    return no_bit;
}
void set_bit(Guest& guest, unsigned bit, bool on) {
    auto& byte = guest.msrpm[bit / 8];
    byte = static_cast<std::uint8_t>(on ? byte | 1u << bit % 8 : byte & ~(1u << bit % 8));
}

Guest accessing(std::uint32_t number, bool writing) {
    Guest guest(writing ? write : read);
    guest.control.intercepts1 |= intercept1::msr;
    guest.set(abi::rcx, number);
    return guest;
}

struct Edge {
    const char* name;
    std::uint32_t number;
};
constexpr Edge covered[] = {{"00000000", 0},          {"00000001", 1},          {"00001fff", 0x1fff},
                            {"c0000000", 0xc0000000}, {"c0000080", 0xc0000080}, {"c0001fff", 0xc0001fff},
                            {"c0010000", 0xc0010000}, {"c0010117", 0xc0010117}, {"c0011fff", 0xc0011fff}};
constexpr Edge outside[] = {{"00002000", 0x2000},     {"40000000", 0x40000000}, {"80000000", 0x80000000},
                            {"bfffffff", 0xbfffffff}, {"c0002000", 0xc0002000}, {"c000ffff", 0xc000ffff},
                            {"c0012000", 0xc0012000}, {"ffffffff", 0xffffffff}};

void expect_taken(Guest& guest, bool writing) {
    const auto rip = guest.save.rip;
    REQUIRE_EQ(guest.run(), ExitCode::Msr);
    EXPECT_EQ(guest.control.exit_info1, writing ? 1 : 0);
    EXPECT_EQ(guest.save.rip, rip);
}

// Only the one bit is set; so these are also taken for the right bit.
FAMILY(group, "read-taken-", covered, "APM 2, 15.11, table 15-8") {
    Guest guest = accessing(row.number, false);
    set_bit(guest, bit_of(row.number), true);
    expect_taken(guest, false);
}
FAMILY(group, "write-taken-", covered, "APM 2, 15.11, table 15-8") {
    Guest guest = accessing(row.number, true);
    set_bit(guest, bit_of(row.number) + 1, true);
    expect_taken(guest, true);
}
FAMILY(group, "read-outside-", outside, "APM 2, 15.11: MSRs not covered are always intercepted") {
    Guest guest = accessing(row.number, false);
    expect_taken(guest, false);
}
FAMILY(group, "write-outside-", outside, "APM 2, 15.11: MSRs not covered are always intercepted") {
    Guest guest = accessing(row.number, true);
    expect_taken(guest, true);
}

/// MSRs that every CPU with SVM has, and a value that may be written to them. All bits but their own are set.
struct Plain {
    const char* name;
    std::uint32_t number;
    std::uint64_t value;
};
constexpr Plain plain[] = {
    {"sysenter-cs", msr::sysenter_cs, 0x18},
    {"sysenter-esp", msr::sysenter_esp, 0x1234'5678},
    {"sysenter-eip", msr::sysenter_eip, 0x8765'4321},
    {"pat", msr::pat, 0x0007'0406'0007'0406},
    {"star", msr::star, 0x0010'0008'1234'5678},
    {"lstar", msr::lstar, 0xffff'8000'1234'5678},
    {"cstar", msr::cstar, 0xffff'8000'8765'4321},
    {"sfmask", msr::sfmask, 0x4700},
    {"fs-base", msr::fs_base, 0x7fff'1234'5000},
    {"gs-base", msr::gs_base, 0xffff'8000'0000'1000},
    {"kernel-gs-base", msr::kernel_gs_base, 0x7fff'0000'1000},
};

std::uint64_t value_in(const Guest& guest, std::uint32_t number) {
    switch (number) {
    case msr::sysenter_cs:
        return guest.save.sysenter_cs;
    case msr::sysenter_esp:
        return guest.save.sysenter_esp;
    case msr::sysenter_eip:
        return guest.save.sysenter_eip;
    case msr::pat:
        return guest.save.pat;
    case msr::star:
        return guest.save.star;
    case msr::lstar:
        return guest.save.lstar;
    case msr::cstar:
        return guest.save.cstar;
    case msr::sfmask:
        return guest.save.sfmask;
    case msr::fs_base:
        return guest.save.fs.base;
    case msr::gs_base:
        return guest.save.gs.base;
    default:
        return guest.save.kernel_gs_base;
    }
}

FAMILY(group, "write-not-taken-", plain,
       "APM 2, 15.11; the value comes back by #VMEXIT and VMSAVE: 15.5.2, 15.25.4") {
    if (row.number == msr::pat && !has(feature::np))
        skip("the PAT is the guest's own with nested paging only");
    Guest guest = accessing(row.number, true);
    for (unsigned i = 0; i < msrpm_pages * page_size; ++i)
        guest.msrpm[i] = 0xff;
    set_bit(guest, bit_of(row.number) + 1, false);
    guest.save.rax = row.value & 0xffff'ffff;
    guest.set(abi::rdx, row.value >> 32);
    const auto host = vmm::read_msr(row.number);
    guest.run_to_end();
    EXPECT_EQ(value_in(guest, row.number), row.value);
    EXPECT_EQ(vmm::read_msr(row.number), host);
}

FAMILY(group, "read-not-taken-", plain,
       "APM 2, 15.11; the value is loaded by VMRUN and VMLOAD: 15.5.2, 15.25.4") {
    if (row.number == msr::pat && !has(feature::np))
        skip("the PAT is the guest's own with nested paging only");
    Guest guest = accessing(row.number, false);
    for (unsigned i = 0; i < msrpm_pages * page_size; ++i)
        guest.msrpm[i] = 0xff;
    set_bit(guest, bit_of(row.number), false);
    guest.save.sysenter_cs = guest.save.sysenter_esp = guest.save.sysenter_eip = row.value;
    guest.save.star = guest.save.lstar = guest.save.cstar = guest.save.sfmask = row.value;
    guest.save.kernel_gs_base = guest.save.fs.base = guest.save.gs.base = row.value;
    if (row.number == msr::pat)
        guest.save.pat = row.value;
    guest.run_to_end();
    EXPECT_EQ((guest.save.rax & 0xffff'ffff) | guest.r(abi::rdx) << 32, row.value);
}

CHECK(group, "read-bit-is-not-the-write-bit", "APM 2, 15.11: the lsb of the two bits is for reads") {
    Guest guest = accessing(msr::star, true);
    set_bit(guest, bit_of(msr::star), true);
    guest.run_to_end();
}
CHECK(group, "write-bit-is-not-the-read-bit", "APM 2, 15.11: the msb of the two bits is for writes") {
    Guest guest = accessing(msr::star, false);
    set_bit(guest, bit_of(msr::star) + 1, true);
    guest.run_to_end();
}
CHECK(group, "map-is-ignored-without-the-intercept", "APM 2, 15.11") {
    Guest guest = accessing(msr::star, false);
    guest.control.intercepts1 &= ~intercept1::msr;
    for (unsigned i = 0; i < msrpm_pages * page_size; ++i)
        guest.msrpm[i] = 0xff;
    guest.run_to_end();
}
CHECK(group, "low-bits-of-the-map-s-address-are-ignored", "APM 2, 15.11") {
    Guest guest = accessing(msr::star, false);
    set_bit(guest, bit_of(msr::star), true);
    guest.control.msrpm |= 0x7e5;
    expect_taken(guest, false);
}
CHECK(group, "intercept-before-the-msr-s-own-fault",
      "APM 2, 15.11: faults specific to an MSR are checked last") {
    Guest guest = accessing(msr::lstar, true);
    set_bit(guest, bit_of(msr::lstar) + 1, true);
    guest.set(abi::rdx, 0x1234'0000); // not canonical
    expect_taken(guest, true);
}
CHECK(group, "msr-s-own-fault", "APM 2, 15.11; APM 3, WRMSR: a value that is not canonical") {
    Guest guest = accessing(msr::lstar, true);
    guest.set(abi::rdx, 0x1234'0000);
    guest.run_to_handler(13);
}
CHECK(group, "efer-svme-is-seen", "APM 2, 3.1.7, 15.5.1: the guest's EFER is the VMCB's") {
    Guest guest = accessing(msr::efer, false);
    guest.run_to_end();
    EXPECT_EQ(guest.save.rax & 0xffff'ffff, guest.save.efer);
}
CHECK(group, "efer-write-comes-back", "APM 2, 15.6") {
    Guest guest = accessing(msr::efer, true);
    const auto host = vmm::read_msr(msr::efer);
    guest.save.rax = guest.save.efer & ~efer::sce;
    guest.run_to_end();
    EXPECT_EQ(guest.save.efer & efer::sce, 0);
    EXPECT_EQ(vmm::read_msr(msr::efer), host);
}

} // namespace

} // namespace escalus::nested::svm
