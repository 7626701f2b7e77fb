// SPDX-License-Identifier: GPL-2.0-or-later
// RDMSR and WRMSR, the edges of the MSR bitmaps, and the areas of MSRs that entries and exits load and store.
#include "test/nested/vmx/guest.hpp"

#include <cstring>

namespace escalus::nested::vmx {

namespace {

constexpr Group group{"vmx-msr", "MSR accesses, the MSR bitmaps, and the MSR areas", vendor};

GUEST_CODE(read_one, 64, "rdmsr");
GUEST_CODE(write_one, 64, "wrmsr");
GUEST_CODE(do_nothing, 64, "nop");

/// Where the read bit of an MSR lies; the write bit is 2048 bytes further.
constexpr unsigned write_bits = 2048 * 8;
constexpr unsigned bit_of(std::uint32_t number) {
    return number < 0x2000 ? number : 1024 * 8 + (number - 0xc0000000);
}
void set_bit(Guest& guest, unsigned bit, bool on) {
    auto& byte = guest.msr_bitmap[bit / 8];
    byte = static_cast<std::uint8_t>(on ? byte | 1u << bit % 8 : byte & ~(1u << bit % 8));
}

Guest accessing(std::uint32_t number, bool writing) {
    Guest guest(writing ? write_one : read_one);
    need_primary(primary::msr_bitmaps);
    guest.set(abi::rcx, number);
    return guest;
}

struct Edge {
    const char* name;
    std::uint32_t number;
};
constexpr Edge covered[] = {{"00000000", 0},          {"00000007", 7},          {"00000008", 8},
                            {"00001fff", 0x1fff},     {"c0000000", 0xc0000000}, {"c0000080", 0xc0000080},
                            {"c0000102", 0xc0000102}, {"c0001fff", 0xc0001fff}};
constexpr Edge outside[] = {{"00002000", 0x2000},     {"40000000", 0x40000000}, {"80000000", 0x80000000},
                            {"bfffffff", 0xbfffffff}, {"c0002000", 0xc0002000}, {"c0010000", 0xc0010000},
                            {"ffffffff", 0xffffffff}};

void expect_taken(Guest& guest, bool writing) {
    const auto before = rip();
    REQUIRE_EQ(guest.run(), writing ? ExitReason::Wrmsr : ExitReason::Rdmsr);
    EXPECT_EQ(rip(), before);
    EXPECT_EQ(read(Field::ExitInstructionLength), 2);
}

// Only the one bit is set; so these are also taken for the right bit.
FAMILY(group, "read-taken-", covered, "SDM 3C, 24.6.9, 25.1.3") {
    Guest guest = accessing(row.number, false);
    set_bit(guest, bit_of(row.number), true);
    expect_taken(guest, false);
}
FAMILY(group, "write-taken-", covered, "SDM 3C, 24.6.9, 25.1.3") {
    Guest guest = accessing(row.number, true);
    set_bit(guest, bit_of(row.number) + write_bits, true);
    expect_taken(guest, true);
}
FAMILY(group, "read-outside-", outside, "SDM 3C, 25.1.3: not in a range of the bitmaps") {
    Guest guest = accessing(row.number, false);
    expect_taken(guest, false);
}
FAMILY(group, "write-outside-", outside, "SDM 3C, 25.1.3: not in a range of the bitmaps") {
    Guest guest = accessing(row.number, true);
    expect_taken(guest, true);
}
FAMILY(group, "read-without-bitmaps-", covered, "SDM 3C, 25.1.3: the control use MSR bitmaps is 0") {
    Guest guest = accessing(row.number, false);
    clear_bits(Field::PrimaryControls, primary::msr_bitmaps);
    expect_taken(guest, false);
}
FAMILY(group, "write-without-bitmaps-", covered, "SDM 3C, 25.1.3: the control use MSR bitmaps is 0") {
    Guest guest = accessing(row.number, true);
    clear_bits(Field::PrimaryControls, primary::msr_bitmaps);
    expect_taken(guest, true);
}

/// MSRs that every CPU with VT-x and 64 bits has, and a value that may be written to them.
struct Plain {
    const char* name;
    std::uint32_t number;
    std::uint64_t value;
    Field field; ///< of the guest's; none: not switched, so shared
};
constexpr Field shared{};
constexpr Plain plain[] = {
    {"sysenter-cs", msr::sysenter_cs, 0x18, Field::GuestSysenterCs},
    {"sysenter-esp", msr::sysenter_esp, 0x1234'5678, Field::GuestSysenterEsp},
    {"sysenter-eip", msr::sysenter_eip, 0x8765'4321, Field::GuestSysenterEip},
    {"pat", msr::pat, 0x0007'0406'0007'0406, Field::GuestPat},
    {"fs-base", msr::fs_base, 0x7fff'1234'5000, nth(Field::GuestEsBase, 4)},
    {"gs-base", msr::gs_base, 0xffff'8000'0000'1000, nth(Field::GuestEsBase, 5)},
    {"star", msr::star, 0x0010'0008'1234'5678, shared},
    {"lstar", msr::lstar, 0xffff'8000'1234'5678, shared},
    {"cstar", msr::cstar, 0xffff'8000'8765'4321, shared},
    {"sfmask", msr::sfmask, 0x4700, shared},
    {"kernel-gs-base", msr::kernel_gs_base, 0x7fff'0000'1000, shared},
};
void all_but(Guest& guest, unsigned bit) {
    std::memset(guest.msr_bitmap, 0xff, page_size);
    set_bit(guest, bit, false);
}
void need_own(const Plain& row) {
    if (row.number != msr::pat)
        return;
    need_exit(exit_control::save_pat | exit_control::load_pat);
    need_entry(entry_control::load_pat);
}

FAMILY(group, "write-not-taken-", plain, "SDM 3C, 24.6.9, 27.3.1; what no field has is shared") {
    Guest guest = accessing(row.number, true);
    need_own(row);
    all_but(guest, bit_of(row.number) + write_bits);
    guest.set(abi::rax, row.value & 0xffff'ffff);
    guest.set(abi::rdx, row.value >> 32);
    const auto host = vmm::read_msr(row.number);
    guest.run_to_end();
    if (row.field == shared) {
        EXPECT_EQ(vmm::read_msr(row.number), row.value);
        return;
    }
    EXPECT_EQ(read(row.field), row.value);
    // SYSENTER's are loaded from the host-state area, where the suite has 0.
    EXPECT_EQ(vmm::read_msr(row.number), host);
}
FAMILY(group, "read-not-taken-", plain, "SDM 3C, 24.6.9, 26.3.2.1; what no field has is shared") {
    Guest guest = accessing(row.number, false);
    need_own(row);
    all_but(guest, bit_of(row.number));
    if (row.field == shared)
        vmm::write_msr(row.number, row.value);
    else
        write(row.field, row.value);
    guest.run_to_end();
    EXPECT_EQ((guest.r(abi::rax) & 0xffff'ffff) | guest.r(abi::rdx) << 32, row.value);
}

struct HostLoaded {
    const char* name;
    std::uint32_t number;
    Field guest, host;
    std::uint64_t value;
};
constexpr HostLoaded host_loaded[] = {
    {"sysenter-cs", msr::sysenter_cs, Field::GuestSysenterCs, Field::HostSysenterCs, 0x30},
    {"sysenter-esp", msr::sysenter_esp, Field::GuestSysenterEsp, Field::HostSysenterEsp, 0x7777'0000},
    {"sysenter-eip", msr::sysenter_eip, Field::GuestSysenterEip, Field::HostSysenterEip, 0x6666'0000},
    {"fs-base", msr::fs_base, nth(Field::GuestEsBase, 4), Field::HostFsBase, 0x1234'5000},
    {"gs-base", msr::gs_base, nth(Field::GuestEsBase, 5), Field::HostGsBase, 0x4321'5000},
    {"pat", msr::pat, Field::GuestPat, Field::HostPat, 0x0007'0406'0007'0401}};
FAMILY(group, "host-value-of-", host_loaded, "SDM 3C, 27.5.1, 27.5.2: loaded from the host-state area") {
    Guest guest(do_nothing);
    if (row.number == msr::pat)
        need_exit(exit_control::load_pat);
    write(row.host, row.value);
    guest.run_to_end();
    EXPECT_EQ(vmm::read_msr(row.number), row.value);
}

CHECK(group, "read-bit-is-not-the-write-bit", "SDM 3C, 24.6.9") {
    Guest guest = accessing(msr::star, true);
    set_bit(guest, bit_of(msr::star), true);
    guest.run_to_end();
}
CHECK(group, "write-bit-is-not-the-read-bit", "SDM 3C, 24.6.9") {
    Guest guest = accessing(msr::star, false);
    set_bit(guest, bit_of(msr::star) + write_bits, true);
    guest.run_to_end();
}
CHECK(group, "low-bit-is-not-the-high-one", "SDM 3C, 24.6.9") {
    Guest guest = accessing(msr::star, false);
    set_bit(guest, msr::star & 0x1fff, true);
    guest.run_to_end();
}
CHECK(group, "bitmap-is-read-anew", "SDM 3C, 24.6.9: the bitmaps are in memory") {
    Guest guest = accessing(msr::star, false);
    const auto start = rip();
    guest.run_to_end();
    set_bit(guest, bit_of(msr::star), true);
    write(Field::GuestRip, start);
    EXPECT_EQ(guest.run(), ExitReason::Rdmsr);
}
CHECK(group, "exit-before-the-msr-s-own-fault", "SDM 3C, 25.1.1: only faults by CPL come first") {
    Guest guest = accessing(msr::lstar, true);
    set_bit(guest, bit_of(msr::lstar) + write_bits, true);
    guest.set(abi::rdx, 0x1234'0000); // not canonical
    expect_taken(guest, true);
}
CHECK(group, "msr-s-own-fault", "SDM 2, WRMSR: a value that is not canonical") {
    Guest guest = accessing(msr::lstar, true);
    guest.set(abi::rdx, 0x1234'0000);
    guest.run_to_handler(13);
}
struct Privileged {
    const char* name;
    bool writing;
};
constexpr Privileged privileged[] = {{"rdmsr", false}, {"wrmsr", true}};
FAMILY(group, "fault-first-", privileged, "SDM 3C, 25.1.1: #GP by CPL") {
    Guest guest = accessing(msr::star, row.writing);
    std::memset(guest.msr_bitmap, 0xff, page_size);
    Guest::to_user();
    guest.run_to_handler(13);
}
CHECK(group, "efer-is-the-guest-s", "SDM 3C, 26.3.2.1") {
    Guest guest = accessing(msr::efer, false);
    guest.run_to_end();
    EXPECT_EQ(guest.r(abi::rax) & 0xffff'ffff, read(Field::GuestEfer));
}
CHECK(group, "efer-write-comes-back", "SDM 3C, 27.3.1, 27.5.1") {
    Guest guest = accessing(msr::efer, true);
    need_exit(exit_control::save_efer | exit_control::load_efer);
    const auto host = vmm::read_msr(msr::efer);
    guest.set(abi::rax, read(Field::GuestEfer) & ~efer::sce);
    guest.run_to_end();
    EXPECT_EQ(read(Field::GuestEfer) & efer::sce, 0);
    EXPECT_EQ(vmm::read_msr(msr::efer), host);
}
CHECK(group, "efer-not-saved-without-the-control", "SDM 3C, 27.3.1") {
    if ((capabilities.exit & exit_control::save_efer) != 0)
        skip("it is always saved");
    Guest guest = accessing(msr::efer, true);
    clear_bits(Field::ExitControls, exit_control::save_efer);
    const auto before = read(Field::GuestEfer);
    guest.set(abi::rax, before & ~efer::sce);
    guest.run_to_end();
    EXPECT_EQ(read(Field::GuestEfer), before);
}

// The MSR areas: tables 24-10 and 24-14.

struct Entry {
    std::uint32_t number, reserved;
    std::uint64_t value;
};
Entry* area() {
    return reinterpret_cast<Entry*>(guest_memory.data);
}
void use_area(Field address, Field count, unsigned entries) {
    write(address, reinterpret_cast<std::uint64_t>(area()));
    write(count, entries);
}

CHECK(group, "entry-area-is-loaded", "SDM 3C, 26.4") {
    Guest guest = accessing(msr::kernel_gs_base, false);
    area()[0] = {msr::star, 0, 0x0030'0020'0000'0000};
    area()[1] = {msr::kernel_gs_base, 0, 0x1234'5678'9000};
    use_area(Field::EntryMsrLoad, Field::EntryMsrLoadCount, 2);
    guest.run_to_end();
    EXPECT_EQ((guest.r(abi::rax) & 0xffff'ffff) | guest.r(abi::rdx) << 32, 0x1234'5678'9000);
    EXPECT_EQ(vmm::read_msr(msr::star), 0x0030'0020'0000'0000);
}
CHECK(group, "entry-area-by-its-count", "SDM 3C, 26.4, 24.8.2") {
    Guest guest = accessing(msr::kernel_gs_base, false);
    vmm::write_msr(msr::kernel_gs_base, 0x5000);
    area()[0] = {msr::star, 0, 0};
    area()[1] = {msr::kernel_gs_base, 0, 0x1234'5678'9000};
    use_area(Field::EntryMsrLoad, Field::EntryMsrLoadCount, 1);
    guest.run_to_end();
    EXPECT_EQ(guest.r(abi::rax), 0x5000);
}
CHECK(group, "entry-area-of-64", "SDM 3C, 26.4") {
    Guest guest(do_nothing);
    for (unsigned i = 0; i < 64; ++i)
        area()[i] = {msr::star, 0, i};
    use_area(Field::EntryMsrLoad, Field::EntryMsrLoadCount, 64);
    guest.run_to_end();
    EXPECT_EQ(vmm::read_msr(msr::star), 63); // in order
}
CHECK(group, "exit-area-is-stored", "SDM 3C, 27.4") {
    Guest guest = accessing(msr::kernel_gs_base, true);
    guest.set(abi::rax, 0x7000);
    area()[0] = {msr::kernel_gs_base, 0, 1};
    area()[1] = {msr::star, 0, 1};
    vmm::write_msr(msr::star, 0x0055'0000'0000'0000);
    use_area(Field::ExitMsrStore, Field::ExitMsrStoreCount, 2);
    guest.run_to_end();
    EXPECT_EQ(area()[0].value, 0x7000);
    EXPECT_EQ(area()[1].value, 0x0055'0000'0000'0000);
}
CHECK(group, "exit-area-is-loaded", "SDM 3C, 27.6") {
    Guest guest = accessing(msr::kernel_gs_base, true);
    guest.set(abi::rax, 0x7000);
    area()[0] = {msr::kernel_gs_base, 0, 0x9000};
    use_area(Field::ExitMsrLoad, Field::ExitMsrLoadCount, 1);
    guest.run_to_end();
    EXPECT_EQ(vmm::read_msr(msr::kernel_gs_base), 0x9000);
}
CHECK(group, "stored-before-loaded", "SDM 3C, 27.1: MSRs are stored, then loaded") {
    Guest guest = accessing(msr::kernel_gs_base, true);
    guest.set(abi::rax, 0x7000);
    area()[0] = {msr::kernel_gs_base, 0, 0x9000};
    use_area(Field::ExitMsrStore, Field::ExitMsrStoreCount, 1);
    use_area(Field::ExitMsrLoad, Field::ExitMsrLoadCount, 1);
    guest.run_to_end();
    EXPECT_EQ(area()[0].value, 0x7000);
    EXPECT_EQ(vmm::read_msr(msr::kernel_gs_base), 0x7000); // the same entry
}

/// Entries that VM entry must not load: it fails with reason 34, and the number of the entry.
struct BadEntry {
    const char* name;
    Entry entry;
};
constexpr BadEntry bad_entries[] = {{"fs-base", {msr::fs_base, 0, 0}},
                                    {"gs-base", {msr::gs_base, 0, 0}},
                                    {"x2apic", {0x808, 0, 0}},
                                    {"smm-monitor-control", {0x9b, 0, 0}},
                                    {"reserved-bits", {msr::star, 1, 0}},
                                    {"not-canonical", {msr::lstar, 0, 1ull << 60}},
                                    {"unknown-msr", {0x1ffe, 0, 0}},
                                    {"efer-lma-change", {msr::efer, 0, 0}}};
FAMILY(group, "entry-area-refuses-", bad_entries, "SDM 3C, 26.4, 26.7") {
    Guest guest(do_nothing);
    area()[0] = {msr::star, 0, 0};
    area()[1] = row.entry;
    use_area(Field::EntryMsrLoad, Field::EntryMsrLoadCount, 2);
    const Entered entered = guest.enter();
    asm volatile("sti");
    EXPECT_EQ(entered.error, 0);
    EXPECT_EQ(entered.reason, entry_failed | number(ExitReason::MsrLoading));
    EXPECT_EQ(qualification(), 2);
}
CHECK(group, "failed-entry-loads-the-exit-area", "SDM 3C, 26.7, 27.6") {
    Guest guest(do_nothing);
    area()[0] = {msr::kernel_gs_base, 0, 0x9000};
    area()[1] = {msr::fs_base, 0, 0};
    write(Field::EntryMsrLoad, reinterpret_cast<std::uint64_t>(area() + 1));
    write(Field::EntryMsrLoadCount, 1);
    use_area(Field::ExitMsrLoad, Field::ExitMsrLoadCount, 1);
    EXPECT_EQ(guest.enter().reason, entry_failed | number(ExitReason::MsrLoading));
    EXPECT_EQ(vmm::read_msr(msr::kernel_gs_base), 0x9000);
}

} // namespace

} // namespace escalus::nested::vmx
