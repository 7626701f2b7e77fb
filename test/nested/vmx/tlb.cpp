// SPDX-License-Identifier: GPL-2.0-or-later
// What may stay cached of translations, and what must not: VPIDs, INVEPT, INVVPID.
#include "test/nested/guests/paging_code.hpp"
#include "test/nested/vmx/nested_paging.hpp"

namespace escalus::nested::vmx {

namespace {

constexpr Group group{"vmx-tlb", "VPIDs, INVEPT, INVVPID and what may stay cached", vendor};

std::uint64_t read_again(Guest& guest, std::uint64_t start) {
    write(Field::GuestRip, start);
    guest.run_to_end();
    return guest.r(abi::rax) & 0xff;
}
void use_vpid(std::uint64_t vpid) {
    need_secondary(secondary::vpid);
    write(Field::Vpid, vpid);
}

struct Flush {
    const char* name;
    std::uint64_t type;
    std::uint64_t needs;
    bool vpid;
};
constexpr Flush flushes[] = {
    {"invept-single", 1, ept_capability::invept | ept_capability::invept_single, false},
    {"invept-all", 2, ept_capability::invept | ept_capability::invept_all, false},
    {"invept-single-with-vpid", 1, ept_capability::invept | ept_capability::invept_single, true},
    {"invept-all-with-vpid", 2, ept_capability::invept | ept_capability::invept_all, true}};
FAMILY(group, "change-seen-after-", flushes, "SDM 3C, 28.3.3.1, 28.3.3.4") {
    need_ept();
    if (!has_ept(row.needs))
        skip("not offered");
    Guest guest(do_read);
    if (row.vpid)
        use_vpid(1);
    number_pages();
    auto& entry = small_entry(guest, data_page());
    guest.set(abi::rdi, data_page());
    const auto start = rip();
    EXPECT_EQ(read_again(guest, start), 0x10);
    entry = (data_page() + page_size) | e::all | write_back;
    EXPECT_EQ(invept(row.type, {read(Field::EptPointer), 0}), Said::Success);
    EXPECT_EQ(read_again(guest, start), 0x11);
}
FAMILY(group, "lost-right-seen-after-", flushes, "SDM 3C, 28.3.3.1, 28.3.3.4") {
    need_ept();
    if (!has_ept(row.needs))
        skip("not offered");
    Guest guest(do_write);
    if (row.vpid)
        use_vpid(1);
    auto& entry = small_entry(guest, data_page());
    guest.set(abi::rdi, data_page());
    const auto start = rip();
    guest.run_to_end();
    entry &= ~e::write;
    EXPECT_EQ(invept(row.type, {read(Field::EptPointer), 0}), Said::Success);
    write(Field::GuestRip, start);
    EXPECT_EQ(guest.run(), ExitReason::EptViolation);
}

constexpr std::uint64_t invvpid_offered = 1ull << 32;
constexpr Flush vpid_flushes[] = {{"address", 0, invvpid_offered | 1ull << 40, true},
                                  {"single-context", 1, invvpid_offered | 1ull << 41, true},
                                  {"all-contexts", 2, invvpid_offered | 1ull << 42, true},
                                  {"single-context-but-globals", 3, invvpid_offered | 1ull << 43, true}};
FAMILY(group, "guest-s-change-seen-after-invvpid-", vpid_flushes, "SDM 3C, 28.3.3.1, 28.3.3.3") {
    if (!has_ept(row.needs))
        skip("not offered");
    Guest guest(do_read);
    use_vpid(1);
    number_pages();
    auto* entry = &guest_entry_of_data();
    guest.set(abi::rdi, data_page());
    const auto start = rip();
    EXPECT_EQ(read_again(guest, start), 0x10);
    *entry = (data_page() + page_size) | 7;
    EXPECT_EQ(invvpid(row.type, {1, data_page()}), Said::Success);
    EXPECT_EQ(read_again(guest, start), 0x11);
}
CHECK(group, "entry-flushes-without-vpid", "SDM 3C, 28.3.3.1: VPID 0000h is invalidated by entry and exit") {
    Guest guest(do_read);
    number_pages();
    auto* entry = &guest_entry_of_data();
    guest.set(abi::rdi, data_page());
    const auto start = rip();
    EXPECT_EQ(read_again(guest, start), 0x10);
    *entry = (data_page() + page_size) | 7;
    EXPECT_EQ(read_again(guest, start), 0x11);
}
CHECK(group, "vpids-are-apart", "SDM 3C, 28.1, 28.3.2: two guests in turn without a flush") {
    Guest guest(do_read);
    use_vpid(1);
    number_pages();
    auto* entry = &guest_entry_of_data();
    guest.set(abi::rdi, data_page());
    const auto start = rip();
    EXPECT_EQ(read_again(guest, start), 0x10);
    *entry = (data_page() + page_size) | 7;
    write(Field::Vpid, 2); // never used, so nothing is cached for it
    EXPECT_EQ(read_again(guest, start), 0x11);
}
CHECK(group, "ept-pointers-are-apart", "SDM 3C, 28.3.2: translations are tagged with the EPT pointer") {
    need_ept();
    Guest guest(do_read);
    use_vpid(1);
    number_pages();
    small_entry(guest, data_page());
    static vmm::NestedTables other;
    static const auto format = ept_page_format(has_ept(ept_capability::pages_1g));
    REQUIRE(
        other.start(format, 64) &&
        other.map(GuestPhys{0}, HostPhys{0}, 4ull << 30, abi::map_read | abi::map_write | abi::map_execute) &&
        other.map(GuestPhys{data_page()}, HostPhys{data_page() + page_size}, page_size,
                  abi::map_read | abi::map_write | abi::map_execute));
    guest.set(abi::rdi, data_page());
    const auto start = rip();
    const auto first = read(Field::EptPointer), second = (first & page_mask) | raw(other.root());
    bool right = true;
    for (unsigned i = 0; i < 10 && right; ++i) {
        write(Field::EptPointer, first);
        right = read_again(guest, start) == 0x10;
        write(Field::EptPointer, second);
        right = right && read_again(guest, start) == 0x11;
    }
    other.release();
    EXPECT(right);
}
CHECK(group, "root-mode-has-its-own", "SDM 3C, 28.3.2: root mode's VPID is 0000h, and it has no EPT") {
    need_ept();
    Guest guest(do_write);
    number_pages();
    small_entry(guest, data_page()) = (data_page() + page_size) | e::all | write_back;
    guest.set(abi::rdi, data_page());
    guest.set(abi::rax, 0x77);
    EXPECT_EQ(*static_cast<volatile std::uint8_t*>(guest_memory.data), 0x10);
    guest.run_to_end();
    EXPECT_EQ(*static_cast<volatile std::uint8_t*>(guest_memory.data), 0x10);
    EXPECT_EQ(static_cast<volatile std::uint8_t*>(guest_memory.data)[page_size], 0x77);
}
CHECK(group, "wider-rights-need-no-flush", "SDM 3C, 28.3.3.1: a violation invalidates what it used") {
    need_ept();
    Guest guest(do_read);
    use_vpid(1);
    auto& entry = small_entry(guest, data_page());
    entry = 0;
    guest.set(abi::rdi, data_page());
    REQUIRE_EQ(guest.run(), ExitReason::EptViolation);
    entry = data_page() | e::all | write_back;
    guest.run_to_end();
}

struct OwnFlush {
    const char* name;
    Code code;
    bool global, vpid;
};
constexpr OwnFlush own_flushes[] = {
    {"mov-cr3", reload, false, false},         {"mov-cr3-with-vpid", reload, false, true},
    {"invlpg", invalidate, false, false},      {"invlpg-with-vpid", invalidate, false, true},
    {"invlpg-global", invalidate, true, true}, {"cr4-pge-global", toggle_global, true, true}};
FAMILY(group, "guest-s-own-", own_flushes, "SDM 3C, 28.3.3.1; SDM 3A, 4.10.4") {
    if (row.code.start == reload.start &&
        ((capabilities.primary & (primary::cr3_load | primary::cr3_store)) != 0))
        skip("accesses to CR3 always exit on this CPU");
    Guest guest(row.code);
    if (row.vpid)
        use_vpid(3);
    number_pages();
    auto* entry = &guest_entry_of_data();
    const std::uint64_t flags = 7 | (row.global ? 1 << 8 : 0);
    if (row.global)
        set_bits(Field::GuestCr4, cr4::pge);
    *entry = data_page() | flags;
    guest.set(abi::rdi, data_page());
    guest.set(abi::rsi, reinterpret_cast<std::uint64_t>(entry));
    guest.set(abi::rcx, (data_page() + page_size) | flags);
    guest.run_to_end();
    EXPECT_EQ(guest.r(abi::rax) & 0xff, 0x10);
    EXPECT_EQ(guest.r(abi::rbx) & 0xff, 0x11);
}

} // namespace

} // namespace escalus::nested::vmx
