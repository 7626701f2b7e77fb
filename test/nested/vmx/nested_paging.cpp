// SPDX-License-Identifier: GPL-2.0-or-later
// Extended page tables: what a violation says, permissions, page sizes, accessed and dirty flags, walks of
// the guest's tables, misconfigurations.
#include "test/nested/vmx/nested_paging.hpp"

#include "test/nested/guests/paging_code.hpp"

namespace escalus::nested::vmx {

namespace {

constexpr Group group{"vmx-nested-paging", "extended page tables", vendor};

/// Exit qualification of EPT violations: table 27-7.
namespace violation {
constexpr std::uint64_t read = 1, write = 2, fetch = 4;
}
constexpr std::uint64_t readable = 8, writable = 16, executable = 32, linear = 128, final = 256,
                        known = 0x1bf;

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

void expect_violation(Guest& guest, std::uint64_t address, std::uint64_t expected) {
    REQUIRE_EQ(guest.run(), ExitReason::EptViolation);
    EXPECT_EQ(qualification() & known, expected);
    EXPECT_EQ(read(Field::GuestPhysical), address);
}

struct Access {
    const char* name;
    Code code;
    std::uint64_t entry; ///< bits of the entry
    std::uint64_t says;
};
constexpr std::uint64_t of_data = linear | final;
constexpr Access refused[] = {
    {"read-absent", do_read, 0, of_data | violation::read},
    {"write-absent", do_write, 0, of_data | violation::write},
    {"fetch-absent", do_fetch, 0, of_data | violation::fetch},
    {"write-read-only", do_write, e::read, of_data | violation::write | readable},
    {"modify-read-only", do_modify, e::read, of_data | violation::read | violation::write | readable},
    {"fetch-read-only", do_fetch, e::read, of_data | violation::fetch | readable},
    {"fetch-read-write", do_fetch, e::read | e::write, of_data | violation::fetch | readable | writable},
    {"write-read-execute", do_write, e::read | e::execute,
     of_data | violation::write | readable | executable},
    {"read-execute-only", do_read, e::execute, of_data | violation::read | executable},
    {"write-execute-only", do_write, e::execute, of_data | violation::write | executable},
};
bool needs_execute_only(const Access& row) {
    return (row.entry & e::all) == e::execute && !has_ept(ept_capability::execute_only);
}
/// A read-modify-write may be reported as a read and a write, or as the write alone.
std::uint64_t says_now(const Access& row) {
    return row.code.start == do_modify.start
               ? row.says & ~(qualification() & violation::read ? 0 : violation::read)
               : row.says;
}

FAMILY(group, "violation-", refused, "SDM 3C, 28.2.3.2, 27.2.1, table 27-7") {
    need_ept();
    if (needs_execute_only(row))
        skip("no execute-only pages");
    Guest guest(row.code);
    const auto address = data_page() + 0x123;
    small_entry(guest, address) = data_page() | row.entry | (row.entry != 0 ? write_back : 0);
    guest.set(abi::rdi, address);
    const auto start = rip();
    REQUIRE_EQ(guest.run(), ExitReason::EptViolation);
    EXPECT_EQ(qualification() & known, says_now(row));
    EXPECT_EQ(read(Field::GuestPhysical), address);
    EXPECT_EQ(read(Field::GuestLinear), address);
    if (row.code.start != do_fetch.start)
        EXPECT_EQ(rip(), start);
    EXPECT_EQ(read(Field::VectoringEvent) & event::valid, 0);
}
FAMILY(group, "violation-from-user-", refused, "SDM 3C, 28.2.3.2: the guest's privilege does not matter") {
    need_ept();
    if (needs_execute_only(row))
        skip("no execute-only pages");
    Guest guest(row.code);
    Guest::to_user();
    const auto address = data_page() + 0x123;
    small_entry(guest, address) = data_page() | row.entry | (row.entry != 0 ? write_back : 0);
    guest.set(abi::rdi, address);
    REQUIRE_EQ(guest.run(), ExitReason::EptViolation);
    EXPECT_EQ(qualification() & known, says_now(row));
}

constexpr Access allowed[] = {{"read-only-read", do_read, e::read, 0},
                              {"read-write-write", do_write, e::read | e::write, 0},
                              {"read-write-modify", do_modify, e::read | e::write, 0},
                              {"read-execute-read", do_read, e::read | e::execute, 0},
                              {"ignored-bits", do_read, e::all | 1 << 11 | 0x7full << 52, 0}};
FAMILY(group, "allowed-", allowed, "SDM 3C, 28.2.2, 28.2.3.2") {
    need_ept();
    Guest guest(row.code);
    small_entry(guest, data_page()) = data_page() | row.entry | write_back;
    guest.set(abi::rdi, data_page());
    guest.run_to_end();
}
CHECK(group, "execute-only-fetch", "SDM 3C, 28.2.2") {
    need_ept();
    if (!has_ept(ept_capability::execute_only))
        skip("no execute-only pages");
    Guest guest(do_fetch);
    guest_memory.data[0] = 0xf4; // HLT
    small_entry(guest, data_page()) = data_page() | e::execute | write_back;
    guest.set(abi::rdi, data_page());
    REQUIRE_EQ(guest.run(), ExitReason::Hlt);
    EXPECT_EQ(rip(), data_page());
}

/// Entries that may not be: 28.2.3.1.
struct Bad {
    const char* name;
    std::uint64_t entry;
};
constexpr Bad misconfigured[] = {
    {"write-only", e::write | write_back},   {"write-execute", e::write | e::execute | write_back},
    {"type-2", e::all | 2 << e::type_shift}, {"type-3", e::all | 3 << e::type_shift},
    {"type-7", e::all | 7 << e::type_shift}, {"address-bit-51", e::all | write_back | 1ull << 51}};
FAMILY(group, "misconfiguration-", misconfigured, "SDM 3C, 28.2.3.1, 27.2.1") {
    need_ept();
    if ((row.entry & 1ull << 51) != 0 && capabilities.physical_bits > 51)
        skip("all address bits are in use");
    Guest guest(do_read);
    small_entry(guest, data_page()) = data_page() | row.entry;
    guest.set(abi::rdi, data_page() + 0x456);
    const auto start = rip();
    REQUIRE_EQ(guest.run(), ExitReason::EptMisconfiguration);
    EXPECT_EQ(read(Field::GuestPhysical), data_page() + 0x456);
    EXPECT_EQ(rip(), start);
}
CHECK(group, "misconfiguration-execute-only", "SDM 3C, 28.2.3.1: where execute-only pages are not offered") {
    need_ept();
    if (has_ept(ept_capability::execute_only))
        skip("execute-only pages are offered");
    Guest guest(do_read);
    small_entry(guest, data_page()) = data_page() | e::execute | write_back;
    guest.set(abi::rdi, data_page());
    EXPECT_EQ(guest.run(), ExitReason::EptMisconfiguration);
}
constexpr Bad types[] = {{"uncacheable", 0},
                         {"write-combining", 1},
                         {"write-through", 4},
                         {"write-protected", 5},
                         {"write-back", 6}};
FAMILY(group, "memory-type-", types, "SDM 3C, 28.2.7.2: what is written is read") {
    need_ept();
    Guest guest(do_modify);
    small_entry(guest, data_page()) = data_page() | e::all | row.entry << e::type_shift;
    guest.set(abi::rdi, data_page());
    guest.run_to_end();
    EXPECT_EQ(*static_cast<volatile std::uint8_t*>(guest_memory.data), 1);
}

/// An address of the guest's that shares no table with its code.
constexpr std::uint64_t far = 256ull << 30;

/// An entry on the way that is missing, forbids, or may not be.
struct Level {
    const char* name;
    unsigned level;
    std::uint64_t clear, set;
    Code code;
    ExitReason exit;
    std::uint64_t says;
};
constexpr Level levels[] = {
    {"absent-pdpt", 2, e::all, 0, do_read, ExitReason::EptViolation, violation::read},
    {"absent-pd", 1, e::all, 0, do_read, ExitReason::EptViolation, violation::read},
    {"absent-pt", 0, e::all, 0, do_read, ExitReason::EptViolation, violation::read},
    {"read-only-pdpt", 2, e::write, 0, do_write, ExitReason::EptViolation,
     violation::write | readable | executable},
    {"read-only-pd", 1, e::write, 0, do_write, ExitReason::EptViolation,
     violation::write | readable | executable},
    {"no-execute-pdpt", 2, e::execute, 0, do_fetch, ExitReason::EptViolation,
     violation::fetch | readable | writable},
    {"no-execute-pd", 1, e::execute, 0, do_fetch, ExitReason::EptViolation,
     violation::fetch | readable | writable},
    {"write-only-pdpt", 2, e::read, 0, do_read, ExitReason::EptMisconfiguration, 0},
    {"write-only-pd", 1, e::read, 0, do_read, ExitReason::EptMisconfiguration, 0},
    {"reserved-bit-3-of-pd", 1, 0, 8, do_read, ExitReason::EptMisconfiguration, 0},
    {"reserved-bit-6-of-pdpt", 2, 0, 64, do_read, ExitReason::EptMisconfiguration, 0},
    {"reserved-bit-51-of-pd", 1, 0, 1ull << 51, do_read, ExitReason::EptMisconfiguration, 0},
};
FAMILY(group, "level-", levels, "SDM 3C, 28.2.2, 28.2.3") {
    need_ept();
    if ((row.set & 1ull << 51) != 0 && capabilities.physical_bits > 51)
        skip("all address bits are in use");
    if (far >> capabilities.physical_bits != 0)
        skip("physical addresses are too short");
    Guest guest(row.code);
    REQUIRE(guest_memory.paging.map(GuestPhys{far}, HostPhys{far}, page_size,
                                    abi::map_read | abi::map_write | abi::map_execute));
    REQUIRE(guest.nested.map(GuestPhys{far}, HostPhys{data_page()}, page_size,
                             abi::map_read | abi::map_write | abi::map_execute));
    guest.set(abi::rdi, far + 0x456);
    auto& entry = entry_at(guest.nested, far, row.level);
    const auto whole = entry;
    entry = (whole & ~row.clear) | row.set;
    const ExitReason exit = guest.run();
    entry = whole; // the tables can be taken apart again
    REQUIRE_EQ(exit, row.exit);
    EXPECT_EQ(read(Field::GuestPhysical), far + 0x456);
    if (row.exit == ExitReason::EptViolation)
        EXPECT_EQ(qualification() & known, row.says | of_data);
}

// Page sizes.

struct Size {
    const char* name;
    std::uint64_t bytes;
};
constexpr Size sizes[] = {{"4k", page_size}, {"2m", large_page_size}, {"1g", 1ull << 30}};

/// Maps `far` by one page of a size to the memory that has the data page; the data page's address there.
std::uint64_t map_far(Guest& guest, std::uint64_t bytes) {
    need_ept();
    if (bytes == 1ull << 30 && !has_ept(ept_capability::pages_1g))
        skip("no 1 GiB pages");
    if (bytes == large_page_size && !has_ept(ept_capability::pages_2m))
        skip("no 2 MiB pages");
    const auto host = data_page() & ~(bytes - 1);
    REQUIRE(guest.nested.map(GuestPhys{far}, HostPhys{host}, bytes,
                             abi::map_read | abi::map_write | abi::map_execute));
    REQUIRE_EQ(guest.nested.find(GuestPhys{far}).bytes, bytes);
    REQUIRE(guest_memory.paging.map(GuestPhys{far}, HostPhys{far}, 1ull << 30,
                                    abi::map_read | abi::map_write | abi::map_execute));
    return far + (data_page() - host);
}

FAMILY(group, "size-", sizes, "SDM 3C, 28.2.2") {
    Guest guest(do_write);
    guest.set(abi::rdi, map_far(guest, row.bytes));
    guest.set(abi::rax, 0x1234'5678);
    guest.run_to_end();
    EXPECT_EQ(*reinterpret_cast<std::uint32_t*>(guest_memory.data), 0x1234'5678);
}
FAMILY(group, "size-read-only-", sizes, "SDM 3C, 28.2.3.2") {
    Guest guest(do_write);
    const auto address = map_far(guest, row.bytes);
    *guest.nested.find(GuestPhys{far}).entry &= ~e::write;
    guest.set(abi::rdi, address);
    expect_violation(guest, address, of_data | violation::write | readable | executable);
}
FAMILY(group, "size-reserved-address-bit-", sizes, "SDM 3C, 28.2.3.1: low address bits of a large page") {
    if (row.bytes == page_size)
        skip("a 4 KiB page has none");
    Guest guest(do_read);
    const auto address = map_far(guest, row.bytes);
    *guest.nested.find(GuestPhys{far}).entry |= 1 << 13;
    guest.set(abi::rdi, address);
    EXPECT_EQ(guest.run(), ExitReason::EptMisconfiguration);
}
void need_dirty() {
    if (!has_ept(ept_capability::accessed_dirty))
        skip("no accessed and dirty flags");
}
FAMILY(group, "accessed-", sizes, "SDM 3C, 28.2.4: a read sets accessed, and not dirty") {
    need_dirty();
    Guest guest(do_read);
    guest.set(abi::rdi, map_far(guest, row.bytes));
    const auto* entry = guest.nested.find(GuestPhys{far}).entry;
    guest.run_to_end();
    EXPECT_EQ(*entry & (e::accessed | e::dirty), e::accessed);
}
FAMILY(group, "dirty-", sizes, "SDM 3C, 28.2.4: a write sets both") {
    need_dirty();
    Guest guest(do_write);
    guest.set(abi::rdi, map_far(guest, row.bytes));
    const auto* entry = guest.nested.find(GuestPhys{far}).entry;
    guest.run_to_end();
    EXPECT_EQ(*entry & (e::accessed | e::dirty), e::accessed | e::dirty);
}
FAMILY(group, "no-flags-when-not-enabled-", sizes, "SDM 3C, 28.2.4, 24.6.11: bit 6 of the EPT pointer is 0") {
    Guest guest(do_write);
    guest.set(abi::rdi, map_far(guest, row.bytes));
    clear_bits(Field::EptPointer, 64);
    const auto* entry = guest.nested.find(GuestPhys{far}).entry;
    guest.run_to_end();
    EXPECT_EQ(*entry & (e::accessed | e::dirty), 0);
}
CHECK(group, "accessed-on-the-way", "SDM 3C, 28.2.4: in every entry of the walk") {
    need_dirty();
    Guest guest(do_read);
    guest.set(abi::rdi, map_far(guest, page_size));
    guest.run_to_end();
    for (unsigned level = 0; level < 4; ++level)
        EXPECT((entry_at(guest.nested, far, level) & e::accessed) != 0);
}
CHECK(group, "no-dirty-without-the-right", "SDM 3C, 28.2.4") {
    need_dirty();
    Guest guest(do_write);
    auto& entry = small_entry(guest, data_page());
    entry &= ~e::write;
    guest.set(abi::rdi, data_page());
    EXPECT_EQ(guest.run(), ExitReason::EptViolation);
    EXPECT_EQ(entry & e::dirty, 0);
}
CHECK(group, "untouched-is-not-accessed", "SDM 3C, 28.2.4") {
    need_dirty();
    Guest guest(do_read);
    const auto& entry = small_entry(guest, data_page() + page_size);
    guest.set(abi::rdi, data_page());
    guest.run_to_end();
    EXPECT_EQ(entry & (e::accessed | e::dirty), 0);
}

// Walks of the guest's tables.

std::uint64_t guest_table(unsigned level) {
    return (level == 3 ? raw(guest_memory.paging.root()) : entry_at(guest_memory.paging, far, level + 1)) &
           0x000f'ffff'ffff'f000;
}
struct TableLevel {
    const char* name;
    unsigned level;
};
constexpr TableLevel table_levels[] = {{"pd", 1}, {"pt", 0}};

void map_walk() {
    need_ept();
    if (!guest_memory.paging.map(GuestPhys{far}, HostPhys{data_page()}, page_size,
                                 abi::map_read | abi::map_write | abi::map_execute))
        fail("no memory for page tables");
}
std::uint64_t walked_entry(unsigned level) {
    return guest_table(level) + (far >> (12 + 9 * level) & 511) * 8;
}

FAMILY(group, "guest-table-absent-", table_levels, "SDM 3C, table 27-7: bit 8 is 0 for a walk, bit 7 is 1") {
    Guest guest(do_read);
    map_walk();
    guest.set(abi::rdi, far);
    small_entry(guest, guest_table(row.level)) = 0;
    REQUIRE_EQ(guest.run(), ExitReason::EptViolation);
    EXPECT_EQ(qualification() & (linear | final), linear);
    EXPECT((qualification() & violation::read) != 0);
    EXPECT_EQ(read(Field::GuestPhysical) & ~7ull, walked_entry(row.level));
    EXPECT_EQ(read(Field::GuestLinear), far);
}
FAMILY(group, "guest-table-read-only-", table_levels,
       "SDM 3C, 28.2.3.2: setting the guest's accessed flag is a write; with EPT's flags each walk is") {
    Guest guest(do_read);
    map_walk();
    guest.set(abi::rdi, far);
    small_entry(guest, guest_table(row.level)) &= ~e::write;
    REQUIRE_EQ(guest.run(), ExitReason::EptViolation);
    EXPECT((qualification() & violation::write) != 0);
    EXPECT_EQ(qualification() & (readable | writable | linear | final), readable | linear);
    EXPECT_EQ(read(Field::GuestPhysical) & ~7ull, walked_entry(row.level));
}
FAMILY(group, "guest-table-dirty-", table_levels, "SDM 3C, 28.2.4: walks of the guest's tables are writes") {
    need_dirty();
    Guest guest(do_read);
    map_walk();
    guest.set(abi::rdi, far);
    const auto& entry = small_entry(guest, guest_table(row.level));
    guest.run_to_end();
    EXPECT_EQ(entry & (e::accessed | e::dirty), e::accessed | e::dirty);
}
FAMILY(group, "guest-accessed-", table_levels, "SDM 3A, 4.8: in the guest's own entries") {
    Guest guest(do_read);
    map_walk();
    guest.set(abi::rdi, far);
    guest.run_to_end();
    EXPECT((entry_at(guest_memory.paging, far, row.level) & 1 << 5) != 0);
}
FAMILY(group, "guest-table-misconfigured-", table_levels, "SDM 3C, 28.2.3.1") {
    Guest guest(do_read);
    map_walk();
    guest.set(abi::rdi, far);
    small_entry(guest, guest_table(row.level)) &= ~e::read;
    REQUIRE_EQ(guest.run(), ExitReason::EptMisconfiguration);
    EXPECT_EQ(read(Field::GuestPhysical) & ~7ull, walked_entry(row.level));
}
CHECK(group, "guest-table-in-no-execute-page", "SDM 3C, 28.2.3.2: walks are data accesses") {
    Guest guest(do_read);
    map_walk();
    guest.set(abi::rdi, far);
    small_entry(guest, guest_table(0)) &= ~e::execute;
    guest.run_to_end();
}
CHECK(group, "cr3-beyond-the-map", "SDM 3C, 28.2.1, table 27-7") {
    need_ept();
    Guest guest(do_read);
    write(Field::GuestCr3, far);
    const auto start = rip();
    REQUIRE_EQ(guest.run(), ExitReason::EptViolation);
    EXPECT_EQ(read(Field::GuestPhysical) & ~7ull, far + (start >> 39 & 511) * 8);
    EXPECT_EQ(read(Field::GuestLinear), start);
}
CHECK(group, "guest-fault-first", "SDM 3C, 28.2.3.3: #PF by the guest's tables comes before") {
    need_ept();
    Guest guest(do_write);
    REQUIRE(guest_memory.paging.map(GuestPhys{data_page()}, HostPhys{data_page()}, page_size,
                                    abi::map_read | abi::map_execute));
    small_entry(guest, data_page()) = 0;
    guest.set(abi::rdi, data_page());
    guest.run_to_handler(14);
    EXPECT_EQ(Guest::frame()[0], 3);
}
CHECK(group, "guest-fault-is-the-guest-s", "SDM 3C, 28.2.3.3: delivered without the monitor") {
    need_ept();
    Guest guest(do_read);
    guest.set(abi::rdi, far);
    guest.run_to_handler(14);
    EXPECT_EQ(vmm::read_cr2(), far);
}
CHECK(group, "during-delivery", "SDM 3C, 27.2.3: the event whose frame could not be written") {
    need_ept();
    Guest guest(do_read);
    write(Field::GuestRsp, data_page() + page_size);
    small_entry(guest, data_page()) = 0;
    inject(event::hardware_exception, 6);
    REQUIRE_EQ(guest.run(), ExitReason::EptViolation);
    EXPECT_EQ(read(Field::VectoringEvent), event_of(event::hardware_exception, 6));
    EXPECT_EQ(qualification() & known, of_data | violation::write);
    EXPECT_EQ(read(Field::GuestPhysical) & ~page_mask, data_page());
}
CHECK(group, "idt-not-there", "SDM 3C, 27.2.3") {
    need_ept();
    Guest guest(do_read);
    const auto idt = reinterpret_cast<std::uint64_t>(guest_memory.idt);
    small_entry(guest, idt) = 0;
    inject(event::hardware_exception, 13, 0);
    REQUIRE_EQ(guest.run(), ExitReason::EptViolation);
    EXPECT_EQ(read(Field::VectoringEvent), event_of(event::hardware_exception, 13) | event::error_valid);
    EXPECT_EQ(qualification() & known, of_data | violation::read);
    EXPECT_EQ(read(Field::GuestPhysical) & ~page_mask, idt);
}
CHECK(group, "instruction-resumes", "SDM 3C, 27.1: the exit is a fault") {
    need_ept();
    Guest guest(do_modify);
    auto& entry = small_entry(guest, data_page());
    entry &= ~e::write;
    guest.set(abi::rdi, data_page());
    REQUIRE_EQ(guest.run(), ExitReason::EptViolation);
    entry |= e::write;
    guest.run_to_end(); // 28.3.3.1: the violation has invalidated what was cached
    EXPECT_EQ(*guest_memory.data, 1);
}
CHECK(group, "other-page-than-its-own", "SDM 3C, 28.2.1") {
    need_ept();
    Guest guest(do_read);
    guest_memory.data[page_size] = 0x99;
    small_entry(guest, data_page()) = (data_page() + page_size) | e::all | write_back;
    guest.set(abi::rdi, data_page());
    guest.run_to_end();
    EXPECT_EQ(guest.r(abi::rax) & 0xff, 0x99);
}
CHECK(group, "access-over-two-pages", "SDM 3C, 28.2.3.2: the second page is the one that is reported") {
    need_ept();
    Guest guest(do_read);
    small_entry(guest, data_page());
    small_entry(guest, data_page() + page_size) = 0;
    guest.set(abi::rdi, data_page() + page_size - 2);
    REQUIRE_EQ(guest.run(), ExitReason::EptViolation);
    EXPECT_EQ(read(Field::GuestPhysical), data_page() + page_size);
}
CHECK(group, "guest-wp-does-not-help", "SDM 3C, 28.2.3.2: CR0.WP is about the guest's own entries") {
    need_ept();
    Guest guest(do_write);
    clear_bits(Field::GuestCr0, cr0::wp);
    small_entry(guest, data_page()) &= ~e::write;
    guest.set(abi::rdi, data_page());
    EXPECT_EQ(guest.run(), ExitReason::EptViolation);
}
CHECK(group, "guest-nxe-does-not-help", "SDM 3C, 28.2.3.2: EFER.NXE is about the guest's own entries") {
    need_ept();
    Guest guest(do_fetch);
    clear_bits(Field::GuestEfer, efer::nxe);
    small_entry(guest, data_page()) &= ~e::execute;
    guest.set(abi::rdi, data_page());
    EXPECT_EQ(guest.run(), ExitReason::EptViolation);
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
FAMILY(group, "violation-in-", modes, "SDM 3C, 28.2.1: also without guest paging") {
    need_ept();
    Guest guest(row.mode, row.code);
    const bool low = row.code.start == write16.start;
    const auto address = low ? read(nth(Field::GuestEsBase, 3)) + 0x123 : data_page() + 0x123;
    small_entry(guest, address) &= ~e::write;
    guest.set(abi::rdi, low ? 0x123 : address);
    expect_violation(guest, address, of_data | violation::write | readable | executable);
}
CHECK(group, "pae-pointers-are-those-of-the-vmcs", "SDM 3C, 26.3.2.4, 28.2.1") {
    need_ept();
    Guest guest(Mode::Pae, read32);
    guest_memory.pae[1] = 0; // in memory only
    guest.set(abi::rdi, 1u << 30);
    guest.run_to_end();
}
CHECK(group, "pae-pointer-not-present", "SDM 3C, 26.3.2.4") {
    need_ept();
    Guest guest(Mode::Pae, read32);
    write(nth(Field::GuestPdpte0, 1), 0);
    guest.set(abi::rdi, 1u << 30);
    guest.run_to_handler(14);
}
GUEST_CODE(reload_pae, 32, "mov %cr3, %eax; mov %eax, %cr3");
CHECK(group, "pae-pointers-are-loaded-by-mov-cr3-and-saved", "SDM 3C, 27.3.4, 28.2.1") {
    need_ept();
    Guest guest(Mode::Pae, reload_pae);
    write(nth(Field::GuestPdpte0, 3), 0);
    guest.run_to_end();
    EXPECT_EQ(read(nth(Field::GuestPdpte0, 3)), guest_memory.pae[3]);
}
CHECK(group, "off", "SDM 3C, 24.6.2: the guest's CR3 is then a host address") {
    need_ept();
    Guest guest(do_read);
    clear_bits(Field::SecondaryControls, secondary::ept | secondary::unrestricted);
    *guest_memory.data = 0x5a;
    guest.set(abi::rdi, data_page());
    guest.run_to_end();
    EXPECT_EQ(guest.r(abi::rax) & 0xff, 0x5a);
}

} // namespace

} // namespace escalus::nested::vmx
