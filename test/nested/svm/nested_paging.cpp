// SPDX-License-Identifier: GPL-2.0-or-later
// Nested paging: what a nested fault says, permissions, page sizes, accessed and dirty bits, walks of the
// guest's tables.
#include "test/nested/svm/nested_paging.hpp"

#include "test/nested/guests/paging_code.hpp"

namespace escalus::nested::svm {

namespace {

constexpr Group group{"svm-nested-paging", "nested page tables", vendor};

GUEST_CODE(read_two, 64, "mov (%rdi), %eax; mov (%rsi), %edx");

namespace fault {
constexpr std::uint64_t present = 1, write = 2, user = 4, reserved = 8, fetch = 16, final = 1ull << 32,
                        tables = 1ull << 33;
}

/// The entry at a level (3: the top) on the way to an address.
std::uint64_t& entry_at(const vmm::NestedTables& tables, std::uint64_t address, unsigned level) {
    auto* table = reinterpret_cast<std::uint64_t*>(raw(tables.root()));
    for (unsigned l = 3;; --l) {
        auto& entry = table[address >> (12 + 9 * l) & 511];
        if (l == level)
            return entry;
        table = reinterpret_cast<std::uint64_t*>(entry & 0x000f'ffff'ffff'f000);
    }
}

void expect_nested_fault(Guest& guest, std::uint64_t address, std::uint64_t info) {
    REQUIRE_EQ(guest.run(), ExitCode::NestedPageFault);
    EXPECT_EQ(guest.control.exit_info1, info);
    EXPECT_EQ(guest.control.exit_info2, address);
}

struct Access {
    const char* name;
    Code code;
    std::uint64_t entry; ///< bits of the nested entry
    std::uint64_t info;
};
using namespace fault; // NOLINT(google-build-using-namespace): the last column
constexpr Access refused[] = {
    {"read-absent", do_read, 0, final | user},
    {"write-absent", do_write, 0, final | user | fault::write},
    {"fetch-absent", do_fetch, 0, final | user | fault::fetch},
    {"absent-with-rights", do_read, bits::writable | bits::user, final | user},
    {"write-read-only", do_write, bits::present | bits::user, final | user | fault::write | present},
    {"modify-read-only", do_modify, bits::present | bits::user, final | user | fault::write | present},
    {"fetch-no-execute", do_fetch, bits::all | bits::no_execute, final | user | fault::fetch | present},
    {"read-supervisor", do_read, bits::present | bits::writable, final | user | present},
    {"write-supervisor", do_write, bits::present | bits::writable, final | user | fault::write | present},
    {"read-reserved", do_read, bits::all | 1ull << 51, final | user | present | reserved},
    {"write-reserved", do_write, bits::all | 1ull << 51, final | user | present | reserved | fault::write},
};

FAMILY(group, "fault-", refused, "APM 2, 15.25.6") {
    need_nested_paging();
    if ((row.info & reserved) != 0 && physical_bits() > 51)
        skip("all address bits are in use");
    Guest guest(row.code);
    const auto address = data_page() + 0x123;
    small_entry(guest, address) = data_page() | row.entry;
    guest.set(abi::rdi, address);
    const auto rip = guest.save.rip;
    expect_nested_fault(guest, address, row.info);
    if (row.code.start != do_fetch.start)
        EXPECT_EQ(guest.save.rip, rip);
    EXPECT_EQ(guest.control.exit_interrupt & event::valid, 0);
}

/// The guest's privilege does not matter to the nested walk, which is always a user access.
FAMILY(group, "fault-from-user-", refused, "APM 2, 15.25.5, 15.25.6") {
    need_nested_paging();
    if ((row.info & reserved) != 0 && physical_bits() > 51)
        skip("all address bits are in use");
    Guest guest(row.code);
    guest.to_user();
    const auto address = data_page() + 0x123;
    small_entry(guest, address) = data_page() | row.entry;
    guest.set(abi::rdi, address);
    expect_nested_fault(guest, address, row.info);
}

constexpr Access allowed[] = {{"read-only-read", do_read, bits::present | bits::user, 0},
                              {"no-execute-read", do_read, bits::all | bits::no_execute, 0},
                              {"no-execute-write", do_write, bits::all | bits::no_execute, 0},
                              {"read-write", do_write, bits::all, 0},
                              {"ignored-bits", do_read, bits::all | 7 << 9 | 0x7full << 52, 0}};

FAMILY(group, "allowed-", allowed, "APM 2, 15.25.5, 15.25.7, 5.3.3") {
    need_nested_paging();
    Guest guest(row.code);
    small_entry(guest, data_page()) = data_page() | row.entry;
    guest.set(abi::rdi, data_page());
    guest.run_to_end();
}

/// An entry on the way that is missing or forbids.
struct Level {
    const char* name;
    unsigned level;
    std::uint64_t clear, set, info;
    Code code;
};
constexpr Level levels[] = {
    {"absent-pml4", 3, bits::present, 0, final | user, do_read},
    {"absent-pdpt", 2, bits::present, 0, final | user, do_read},
    {"absent-pd", 1, bits::present, 0, final | user, do_read},
    {"absent-pt", 0, bits::present, 0, final | user, do_read},
    {"read-only-pdpt", 2, bits::writable, 0, final | user | fault::write | present, do_write},
    {"read-only-pd", 1, bits::writable, 0, final | user | fault::write | present, do_write},
    {"read-only-pml4", 3, bits::writable, 0, final | user | fault::write | present, do_write},
    {"supervisor-pd", 1, bits::user, 0, final | user | present, do_read},
    {"supervisor-pdpt", 2, bits::user, 0, final | user | present, do_read},
    {"supervisor-pml4", 3, bits::user, 0, final | user | present, do_read},
    {"no-execute-pd", 1, 0, bits::no_execute, final | user | fault::fetch | present, do_fetch},
    {"no-execute-pdpt", 2, 0, bits::no_execute, final | user | fault::fetch | present, do_fetch},
    {"no-execute-pml4", 3, 0, bits::no_execute, final | user | fault::fetch | present, do_fetch},
    {"reserved-pd", 1, 0, 1ull << 51, final | user | present | reserved, do_read},
    {"reserved-pdpt", 2, 0, 1ull << 51, final | user | present | reserved, do_read},
    {"reserved-pml4", 3, 0, 1ull << 51, final | user | present | reserved, do_read},
    {"large-pml4", 3, 0, bits::large, final | user | present | reserved, do_read},
};

/// An address of the guest's that shares no table with its code: the second half of the low 512 GiB is mapped
/// there too.
constexpr std::uint64_t far = 256ull << 30;

FAMILY(group, "level-", levels, "APM 2, 15.25.5, 15.25.6, 5.3.3") {
    need_nested_paging();
    if ((row.info & reserved) != 0 && physical_bits() > 51 && row.level != 3)
        skip("all address bits are in use");
    Guest guest(row.code);
    // The guest's own table leads from a linear address to a guest-physical one far away; that one leads to
    // the data.
    const bool top = row.level == 3;
    const std::uint64_t physical = top ? 1ull << 39 : far;
    REQUIRE(guest_memory.paging.map(GuestPhys{far}, HostPhys{physical}, page_size,
                                    abi::map_read | abi::map_write | abi::map_execute));
    REQUIRE(guest.nested.map(GuestPhys{physical}, HostPhys{data_page()}, page_size,
                             abi::map_read | abi::map_write | abi::map_execute));
    if (physical >> physical_bits() != 0)
        skip("physical addresses are too short");
    guest.set(abi::rdi, far + 0x456);
    auto& entry = entry_at(guest.nested, physical, row.level);
    const auto whole = entry;
    entry = (whole & ~row.clear) | row.set;
    const ExitCode code = guest.run();
    entry = whole; // the tables can be taken apart again
    REQUIRE_EQ(code, ExitCode::NestedPageFault);
    EXPECT_EQ(guest.control.exit_info1, row.info);
    EXPECT_EQ(guest.control.exit_info2, physical + 0x456);
}

// Page sizes.

struct Size {
    const char* name;
    std::uint64_t bytes;
};
constexpr Size sizes[] = {{"4k", page_size}, {"2m", large_page_size}, {"1g", 1ull << 30}};

/// Maps `far` by one page of a size in the nested tables to the memory that has the data page.
std::uint64_t map_far(Guest& guest, std::uint64_t bytes) {
    if (bytes == 1ull << 30 && !has_1g_pages())
        skip("no 1 GiB pages");
    const auto host = data_page() & ~(bytes - 1);
    REQUIRE(guest.nested.map(GuestPhys{far}, HostPhys{host}, bytes,
                             abi::map_read | abi::map_write | abi::map_execute));
    REQUIRE_EQ(guest.nested.find(GuestPhys{far}).bytes, bytes);
    REQUIRE(guest_memory.paging.map(GuestPhys{far}, HostPhys{far}, 1ull << 30,
                                    abi::map_read | abi::map_write | abi::map_execute));
    return far + (data_page() - host);
}

FAMILY(group, "size-", sizes, "APM 2, 15.25.5, 5.3.3 to 5.3.5") {
    need_nested_paging();
    Guest guest(do_write);
    guest.set(abi::rdi, map_far(guest, row.bytes));
    guest.save.rax = 0x1234'5678;
    guest.run_to_end();
    EXPECT_EQ(*reinterpret_cast<std::uint32_t*>(guest_memory.data), 0x1234'5678);
}

FAMILY(group, "size-read-only-", sizes, "APM 2, 15.25.6") {
    need_nested_paging();
    Guest guest(do_write);
    const auto address = map_far(guest, row.bytes);
    *guest.nested.find(GuestPhys{far}).entry &= ~bits::writable;
    guest.set(abi::rdi, address);
    expect_nested_fault(guest, address, final | user | fault::write | present);
}

FAMILY(group, "accessed-", sizes, "APM 2, 15.25.6, 5.4.2: a read sets A, and not D") {
    need_nested_paging();
    Guest guest(do_read);
    guest.set(abi::rdi, map_far(guest, row.bytes));
    const auto* entry = guest.nested.find(GuestPhys{far}).entry;
    guest.run_to_end();
    EXPECT_EQ(*entry & (bits::accessed | bits::dirty), bits::accessed);
}

FAMILY(group, "dirty-", sizes, "APM 2, 15.25.6, 5.4.2: a write sets A and D") {
    need_nested_paging();
    Guest guest(do_write);
    guest.set(abi::rdi, map_far(guest, row.bytes));
    const auto* entry = guest.nested.find(GuestPhys{far}).entry;
    guest.run_to_end();
    EXPECT_EQ(*entry & (bits::accessed | bits::dirty), bits::accessed | bits::dirty);
}

FAMILY(group, "reserved-address-bits-", sizes, "APM 2, 5.3.4, 5.3.5: low address bits of a large page") {
    need_nested_paging();
    if (row.bytes == page_size)
        skip("a 4 KiB page has none");
    Guest guest(do_read);
    const auto address = map_far(guest, row.bytes);
    *guest.nested.find(GuestPhys{far}).entry |= 1 << 13;
    guest.set(abi::rdi, address);
    expect_nested_fault(guest, address, final | user | present | reserved);
}

CHECK(group, "accessed-on-the-way", "APM 2, 15.25.6, 5.4.2: A in every entry of the walk") {
    need_nested_paging();
    Guest guest(do_read);
    guest.set(abi::rdi, map_far(guest, page_size));
    guest.run_to_end();
    for (unsigned level = 0; level < 4; ++level)
        EXPECT((entry_at(guest.nested, far, level) & bits::accessed) != 0);
}

CHECK(group, "no-dirty-without-the-right", "APM 2, 15.25.6: a write that faults leaves D") {
    need_nested_paging();
    Guest guest(do_write);
    auto& entry = small_entry(guest, data_page());
    entry &= ~bits::writable;
    guest.set(abi::rdi, data_page());
    EXPECT_EQ(guest.run(), ExitCode::NestedPageFault);
    EXPECT_EQ(entry & bits::dirty, 0);
}

CHECK(group, "untouched-is-not-accessed", "APM 2, 15.25.6") {
    need_nested_paging();
    Guest guest(do_read);
    const auto& entry = small_entry(guest, data_page() + page_size);
    guest.set(abi::rdi, data_page());
    guest.run_to_end();
    EXPECT_EQ(entry & (bits::accessed | bits::dirty), 0);
}

// Walks of the guest's tables.

/// The page of the guest's table at a level on the way to `far`.
std::uint64_t guest_table(unsigned level) {
    return (level == 3 ? raw(guest_memory.paging.root()) : entry_at(guest_memory.paging, far, level + 1)) &
           0x000f'ffff'ffff'f000;
}
struct TableLevel {
    const char* name;
    unsigned level;
};
constexpr TableLevel table_levels[] = {{"pdpt", 2}, {"pd", 1}, {"pt", 0}};

Guest walking(unsigned) {
    Guest guest(do_read);
    if (!guest_memory.paging.map(GuestPhys{far}, HostPhys{data_page()}, page_size,
                                 abi::map_read | abi::map_write | abi::map_execute))
        fail("no memory for page tables");
    guest.set(abi::rdi, far);
    return guest;
}

FAMILY(group, "guest-table-absent-", table_levels,
       "APM 2, 15.25.5, 15.25.6: bit 33, always a write by user") {
    need_nested_paging();
    if (row.level == 2)
        skip("the guest's code is reached by the same table");
    Guest guest = walking(row.level);
    const auto table = guest_table(row.level);
    small_entry(guest, table) = 0;
    expect_nested_fault(guest, table + (far >> (12 + 9 * row.level) & 511) * 8, tables | user | fault::write);
}

FAMILY(group, "guest-table-read-only-", table_levels, "APM 2, 15.25.5: must be writable, even for a read") {
    need_nested_paging();
    if (row.level == 2)
        skip("the guest's code is reached by the same table");
    Guest guest = walking(row.level);
    const auto table = guest_table(row.level);
    small_entry(guest, table) &= ~bits::writable;
    expect_nested_fault(guest, table + (far >> (12 + 9 * row.level) & 511) * 8,
                        tables | user | fault::write | present);
}

FAMILY(group, "guest-table-dirty-", table_levels,
       "APM 2, 15.25.5: A and D are always set for tables that are walked") {
    need_nested_paging();
    Guest guest = walking(row.level);
    const auto& entry = small_entry(guest, guest_table(row.level));
    guest.run_to_end();
    EXPECT_EQ(entry & (bits::accessed | bits::dirty), bits::accessed | bits::dirty);
}

FAMILY(group, "guest-accessed-", table_levels, "APM 2, 15.25.6: A in the guest's own entries") {
    need_nested_paging();
    Guest guest = walking(row.level);
    guest.run_to_end();
    EXPECT((entry_at(guest_memory.paging, far, row.level) & bits::accessed) != 0);
}

CHECK(group, "guest-table-in-no-execute-page", "APM 2, 15.25.5: table walks are data accesses") {
    need_nested_paging();
    Guest guest = walking(0);
    small_entry(guest, guest_table(0)) |= bits::no_execute;
    guest.run_to_end();
}

CHECK(group, "cr3-beyond-the-nested-map", "APM 2, 15.25.5, 15.25.6") {
    need_nested_paging();
    Guest guest(do_read);
    guest.save.cr3 = far;
    const auto rip = guest.save.rip;
    expect_nested_fault(guest, far + (rip >> 39 & 511) * 8, tables | user | fault::write);
}

CHECK(group, "guest-fault-before-nested-fault", "APM 2, 15.25.6: the guest's permissions are checked first") {
    need_nested_paging();
    Guest guest(do_write);
    REQUIRE(guest_memory.paging.map(GuestPhys{data_page()}, HostPhys{data_page()}, page_size,
                                    abi::map_read | abi::map_execute));
    small_entry(guest, data_page()) = 0;
    guest.set(abi::rdi, data_page());
    guest.run_to_handler(14);
    EXPECT_EQ(guest.frame()[0], 3);
}

CHECK(group, "guest-fault-is-the-guest-s", "APM 2, 15.25.6: delivered without the monitor") {
    need_nested_paging();
    Guest guest(do_read);
    guest.set(abi::rdi, far);
    guest.run_to_handler(14);
    EXPECT_EQ(guest.save.cr2, far);
}

CHECK(group, "during-delivery", "APM 2, 15.7.2: EXITINTINFO has the event whose frame could not be written") {
    need_nested_paging();
    Guest guest(do_read);
    guest.save.rsp = data_page() + page_size;
    small_entry(guest, data_page()) = 0;
    guest.control.inject = injected(event_interrupt, 0x40);
    REQUIRE_EQ(guest.run(), ExitCode::NestedPageFault);
    EXPECT_EQ(guest.control.exit_interrupt, injected(event_interrupt, 0x40));
    EXPECT_EQ(guest.control.exit_info1, final | user | fault::write);
    EXPECT_EQ(guest.control.exit_info2 & ~page_mask, data_page());
}

CHECK(group, "idt-not-there", "APM 2, 15.7.2") {
    need_nested_paging();
    Guest guest(do_read);
    const auto idt = reinterpret_cast<std::uint64_t>(guest_memory.idt);
    small_entry(guest, idt) = 0;
    guest.control.inject = injected(event_exception, 13, 0);
    REQUIRE_EQ(guest.run(), ExitCode::NestedPageFault);
    EXPECT_EQ(guest.control.exit_interrupt, injected(event_exception, 13, 0));
    EXPECT_EQ(guest.control.exit_info1, final | user);
    EXPECT_EQ(guest.control.exit_info2 & ~page_mask, idt);
}

CHECK(group, "instruction-bytes", "APM 2, 15.8.4") {
    need_nested_paging();
    if (!has(feature::decode_assists))
        skip("no decode assists");
    Guest guest(do_write);
    small_entry(guest, data_page()) = 0;
    guest.set(abi::rdi, data_page());
    REQUIRE_EQ(guest.run(), ExitCode::NestedPageFault);
    EXPECT_EQ(guest.control.fetched, 15);
    EXPECT(__builtin_memcmp(guest.control.instruction, do_write.start, do_write.bytes()) == 0);
}

CHECK(group, "instruction-resumes", "APM 2, 15.25.6: the fault is a fault") {
    need_nested_paging();
    Guest guest(do_modify);
    auto& entry = small_entry(guest, data_page());
    entry &= ~bits::writable;
    guest.set(abi::rdi, data_page());
    REQUIRE_EQ(guest.run(), ExitCode::NestedPageFault);
    entry |= bits::writable;
    guest.control.tlb_control = static_cast<std::uint8_t>(TlbControl::FlushAll);
    guest.run_to_end();
    EXPECT_EQ(*guest_memory.data, 1);
}

CHECK(group, "other-page-than-its-own", "APM 2, 15.25.1") {
    need_nested_paging();
    Guest guest(do_read);
    guest_memory.data[page_size] = 0x99;
    small_entry(guest, data_page()) = (data_page() + page_size) | bits::all;
    guest.set(abi::rdi, data_page());
    guest.run_to_end();
    EXPECT_EQ(guest.save.rax & 0xff, 0x99);
}

CHECK(group, "access-over-two-pages", "APM 2, 15.25.6: the second page is the one that faults") {
    need_nested_paging();
    Guest guest(do_read);
    small_entry(guest, data_page());
    small_entry(guest, data_page() + page_size) = 0;
    guest.set(abi::rdi, data_page() + page_size - 2);
    expect_nested_fault(guest, data_page() + page_size, final | user);
}

CHECK(group, "guest-wp-does-not-help", "APM 2, 15.25.7: the guest's CR0.WP is about its own entries only") {
    need_nested_paging();
    Guest guest(do_write);
    guest.save.cr0 &= ~cr0::wp;
    small_entry(guest, data_page()) &= ~bits::writable;
    guest.set(abi::rdi, data_page());
    expect_nested_fault(guest, data_page(), final | user | fault::write | present);
}

CHECK(group, "guest-wp-is-about-its-own-entries", "APM 2, 15.25.7") {
    need_nested_paging();
    Guest guest(do_write);
    guest.save.cr0 &= ~cr0::wp;
    REQUIRE(guest_memory.paging.map(GuestPhys{data_page()}, HostPhys{data_page()}, page_size,
                                    abi::map_read | abi::map_execute));
    guest.set(abi::rdi, data_page());
    guest.run_to_end();
}

CHECK(group, "guest-nxe-is-about-its-own-entries",
      "APM 2, 15.25.7: nested NX holds though the guest's EFER.NXE is clear") {
    need_nested_paging();
    Guest guest(do_fetch);
    guest.save.efer &= ~efer::nxe;
    small_entry(guest, data_page()) |= bits::no_execute;
    guest.set(abi::rdi, data_page());
    expect_nested_fault(guest, data_page(), final | user | fault::fetch | present);
}

struct ModeRow {
    const char* name;
    Mode mode;
    Code code;
};
constexpr ModeRow modes[] = {{"real", Mode::Real, write16},
                             {"protected16", Mode::Protected16, write16},
                             {"protected32", Mode::Protected32, write32},
                             {"paged32", Mode::Paged32, write32},
                             {"pae", Mode::Pae, write32},
                             {"compatibility", Mode::Compatibility, write32},
                             {"v8086", Mode::Virtual8086, write16}};

FAMILY(group, "fault-in-", modes, "APM 2, 15.25.5: also without guest paging") {
    need_nested_paging();
    Guest guest(row.mode, row.code);
    const bool low = row.code.start == write16.start;
    const auto address = low ? guest.save.ds.base + 0x123 : data_page() + 0x123;
    small_entry(guest, address) &= ~bits::writable;
    guest.set(abi::rdi, low ? 0x123 : address);
    expect_nested_fault(guest, address, final | user | fault::write | present);
}

CHECK(group, "pae-pointers-are-read-on-demand", "APM 2, 15.25.10") {
    need_nested_paging();
    Guest guest(Mode::Pae, read32);
    guest_memory.pae[1] = 0; // the second GiB; not noticed before it is used
    guest.set(abi::rdi, 1u << 30);
    guest.run_to_handler(14);
    EXPECT_EQ(guest.save.cr2, 1u << 30);
}

CHECK(group, "off", "APM 2, 15.25.3: the guest's CR3 is then a host address") {
    Guest guest(do_read);
    guest.control.nested_control = 0;
    guest.control.nested_cr3 = 0;
    *guest_memory.data = 0x5a;
    guest.set(abi::rdi, data_page());
    guest.run_to_end();
    EXPECT_EQ(guest.save.rax & 0xff, 0x5a);
}

CHECK(group, "is-off-in-root-mode", "APM 2, 15.25.3: disabled by #VMEXIT") {
    need_nested_paging();
    Guest guest(read_two);
    guest_memory.data[0] = 0x11;
    guest_memory.data[page_size] = 0x22;
    small_entry(guest, data_page()) = (data_page() + page_size) | bits::all;
    guest.set(abi::rdi, data_page());
    guest.set(abi::rsi, data_page() + page_size);
    guest.run_to_end();
    EXPECT_EQ(guest.save.rax & 0xff, 0x22);
    EXPECT_EQ(*static_cast<volatile std::uint8_t*>(guest_memory.data), 0x11);
}

} // namespace

} // namespace escalus::nested::svm
