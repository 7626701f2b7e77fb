// SPDX-License-Identifier: GPL-2.0-or-later
// What the TLB may keep, and what it must not: ASIDs, TLB_CONTROL, INVLPGA.
#include "test/nested/guests/paging_code.hpp"
#include "test/nested/svm/nested_paging.hpp"

namespace escalus::nested::svm {

namespace {

constexpr Group group{"svm-tlb", "what the TLB may keep, and what it must not", vendor};

std::uint64_t read_again(Guest& guest, std::uint64_t rip) {
    guest.save.rip = rip;
    guest.run_to_end();
    return guest.save.rax & 0xff;
}

struct Flush {
    const char* name;
    std::uint8_t command;
    bool by_asid;
};
constexpr Flush flushes[] = {{"flush-all", 1, false}, {"flush-asid", 3, true}};

FAMILY(group, "nested-change-seen-after-", flushes, "APM 2, 15.16.1, table 15-9") {
    need_nested_paging();
    if (row.by_asid && !has(feature::flush_by_asid))
        skip("no flush by ASID");
    Guest guest(do_read);
    number_pages();
    auto& entry = small_entry(guest, data_page());
    guest.set(abi::rdi, data_page());
    const auto rip = guest.save.rip;
    EXPECT_EQ(read_again(guest, rip), 0x10);
    entry = (data_page() + page_size) | bits::all;
    guest.control.tlb_control = row.command;
    EXPECT_EQ(read_again(guest, rip), 0x11);
}

FAMILY(group, "lost-right-seen-after-", flushes, "APM 2, 15.16.1: decreasing permission levels") {
    need_nested_paging();
    if (row.by_asid && !has(feature::flush_by_asid))
        skip("no flush by ASID");
    Guest guest(do_write);
    auto& entry = small_entry(guest, data_page());
    guest.set(abi::rdi, data_page());
    const auto rip = guest.save.rip;
    guest.run_to_end();
    entry &= ~bits::writable;
    guest.control.tlb_control = row.command;
    guest.save.rip = rip;
    EXPECT_EQ(guest.run(), ExitCode::NestedPageFault);
}

CHECK(group, "new-asid-sees-a-change", "APM 2, 15.16.1: a new ASID instead of a flush") {
    need_nested_paging();
    Guest guest(do_read);
    number_pages();
    auto& entry = small_entry(guest, data_page());
    guest.set(abi::rdi, data_page());
    const auto rip = guest.save.rip;
    EXPECT_EQ(read_again(guest, rip), 0x10); // this flushes all
    guest.control.tlb_control = 0;
    entry = (data_page() + page_size) | bits::all;
    guest.control.asid = 2;
    if (asid_count() <= 2)
        skip("there are no two ASIDs for guests");
    EXPECT_EQ(read_again(guest, rip), 0x11);
}

CHECK(group, "asids-are-apart", "APM 2, 15.16, 15.25.1: two guests in turn without a flush") {
    need_nested_paging();
    if (asid_count() <= 2)
        skip("there are no two ASIDs for guests");
    Guest guest(do_read);
    number_pages();
    small_entry(guest, data_page());
    static vmm::NestedTables other;
    const auto format = vmm::amd64_page_format(has_1g_pages());
    REQUIRE(
        other.start(format, 64) &&
        other.map(GuestPhys{0}, HostPhys{0}, 4ull << 30, abi::map_read | abi::map_write | abi::map_execute) &&
        other.map(GuestPhys{data_page()}, HostPhys{data_page() + page_size}, page_size,
                  abi::map_read | abi::map_write | abi::map_execute));
    guest.set(abi::rdi, data_page());
    const auto rip = guest.save.rip;
    const auto first = guest.control.nested_cr3;
    bool right = true;
    for (unsigned i = 0; i < 10 && right; ++i) {
        guest.control.asid = 1;
        guest.control.nested_cr3 = first;
        right = read_again(guest, rip) == 0x10;
        guest.control.tlb_control = 0;
        guest.control.asid = 2;
        guest.control.nested_cr3 = raw(other.root());
        right = right && read_again(guest, rip) == 0x11;
    }
    other.release();
    EXPECT(right);
}

CHECK(group, "root-mode-has-its-own", "APM 2, 15.6: the ASID is zero after #VMEXIT") {
    need_nested_paging();
    Guest guest(do_write);
    number_pages();
    small_entry(guest, data_page()) = (data_page() + page_size) | bits::all;
    guest.set(abi::rdi, data_page());
    guest.save.rax = 0x77;
    EXPECT_EQ(*static_cast<volatile std::uint8_t*>(guest_memory.data), 0x10);
    guest.run_to_end();
    EXPECT_EQ(*static_cast<volatile std::uint8_t*>(guest_memory.data), 0x10);
    EXPECT_EQ(static_cast<volatile std::uint8_t*>(guest_memory.data)[page_size], 0x77);
}

struct OwnFlush {
    const char* name;
    Code code;
    bool global;
};
constexpr OwnFlush own_flushes[] = {{"mov-cr3", reload, false},
                                    {"invlpg", invalidate, false},
                                    {"invlpg-global", invalidate, true},
                                    {"cr4-pge-global", toggle_global, true}};

FAMILY(group, "guest-s-own-", own_flushes, "APM 2, 15.16.1, 5.5.3: TLB operations work in a guest") {
    Guest guest(row.code);
    number_pages();
    auto* entry = &guest_entry_of_data();
    const std::uint64_t flags = bits::all | (row.global ? 1 << 8 : 0);
    if (row.global)
        guest.save.cr4 |= cr4::pge;
    *entry = data_page() | flags;
    guest.set(abi::rdi, data_page());
    guest.set(abi::rsi, reinterpret_cast<std::uint64_t>(entry));
    guest.set(abi::rcx, (data_page() + page_size) | flags);
    guest.run_to_end();
    EXPECT_EQ(guest.save.rax & 0xff, 0x10);
    EXPECT_EQ(guest.r(abi::rbx) & 0xff, 0x11);
}

CHECK(group, "invlpga", "APM 2, 15.16.2: one page of another ASID, without nested paging") {
    Guest guest(do_read);
    guest.control.nested_control = 0;
    number_pages();
    auto* entry = &guest_entry_of_data();
    guest.set(abi::rdi, data_page());
    const auto rip = guest.save.rip;
    EXPECT_EQ(read_again(guest, rip), 0x10);
    guest.control.tlb_control = 0;
    *entry = (data_page() + page_size) | bits::all;
    asm volatile("invlpga %%rax, %%ecx" ::"a"(data_page()), "c"(guest.control.asid) : "memory");
    EXPECT_EQ(read_again(guest, rip), 0x11);
}

CHECK(group, "tlb-control-is-kept", "APM 2, 15.16.1: VMRUN does not change TLB_CONTROL") {
    Guest guest(do_read);
    guest.set(abi::rdi, data_page());
    guest.run_to_end();
    EXPECT_EQ(guest.control.tlb_control, 1);
}

CHECK(group, "wider-rights-need-no-flush",
      "APM 2, 5.5.2: a fault is not taken from an entry that is not there") {
    need_nested_paging();
    Guest guest(do_read);
    auto& entry = small_entry(guest, data_page());
    entry = 0;
    guest.set(abi::rdi, data_page());
    REQUIRE_EQ(guest.run(), ExitCode::NestedPageFault);
    guest.control.tlb_control = 0;
    entry = data_page() | bits::all;
    guest.run_to_end();
}

} // namespace

} // namespace escalus::nested::svm
