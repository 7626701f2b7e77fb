// SPDX-License-Identifier: GPL-2.0-or-later
// Every paging mode, every reason to fault with its exact error code, and the accessed and dirty bits.
#include "devmodel/emulator/page_walk.hpp"
#include "fixture.hpp"

#include <catch2/catch.hpp>

namespace escalus::test {

namespace {
using namespace emulation;
using namespace emulation::control;

constexpr std::uint64_t linear = 0x40'1234'5678;
constexpr std::uint64_t nx = 1ull << 63, accessed = 0x20, dirty = 0x40;

struct Walk : Pc {
    explicit Walk(const EmulatorOptions& o = {}) : Pc{o}, options{o} { long_mode(); }

    Translation walk(std::uint64_t address, WalkAccess access = {}, std::uint32_t pkru = 0) {
        return PageWalker{memory, options}.walk(page, address, access, pkru);
    }
    /// The error code of the fault, or nothing.
    std::optional<std::uint32_t> error(WalkAccess access, std::uint32_t pkru = 0) {
        const auto t = walk(linear, access, pkru);
        return t.ok ? std::nullopt : std::optional{t.error_code};
    }
    void set32(std::uint64_t at, std::uint32_t value) { std::memcpy(&memory.bytes[at], &value, 4); }
    std::uint32_t get32(std::uint64_t at) const { return static_cast<std::uint32_t>(entry(at)); }

    EmulatorOptions options;
};

constexpr WalkAccess read{}, write{.write = true}, fetch{.fetch = true};
constexpr WalkAccess user_read{.user = true}, user_write{.write = true, .user = true},
    user_fetch{.fetch = true, .user = true};
const std::optional<std::uint32_t> none;
} // namespace

TEST_CASE("without paging linear is physical, 32 bits wide", "[emulator][paging]") {
    Walk w;
    w.protected_mode(32);
    CHECK(w.walk(0x12345678).gpa == GuestPhys{0x12345678});
    CHECK(w.walk(0x1'0000'0010).gpa == GuestPhys{0x10});
}

TEST_CASE("32-bit paging: 4 KiB pages, PSE and PSE-36", "[emulator][paging]") {
    Walk w;
    w.protected_mode(32);
    w.page.cr0 |= cr0_pg;
    w.page.cr3 = Pc::tables_gpa;
    const std::uint64_t table = Pc::tables_gpa + 0x1000;
    const std::uint64_t pde = Pc::tables_gpa + 4 * 0x123, pte = table + 4 * 0x11;
    const std::uint64_t address = 0x123ull << 22 | 0x11 << 12 | 0xabc;
    w.set32(pde, static_cast<std::uint32_t>(table) | 7);
    w.set32(pte, 0xfee00007);
    CHECK(w.walk(address).gpa == GuestPhys{0xfee00abc});
    CHECK((w.get32(pde) & (accessed | dirty)) == accessed);
    CHECK((w.get32(pte) & (accessed | dirty)) == accessed);
    CHECK(w.walk(address, write).ok);
    CHECK((w.get32(pte) & dirty) != 0);
    CHECK((w.get32(pde) & dirty) == 0);

    // A large page, with address bits 39:32 in bits 20:13.
    w.set32(pde, 0xfec00000 | 0x81u << 13 | 0x87);
    w.page.cr4 = cr4_pse;
    CHECK(w.walk(address).gpa == GuestPhys{0x81'fec11abcull});
    CHECK(w.walk(address, write).ok);
    CHECK((w.get32(pde) & dirty) != 0);
    // Bit 21 is reserved, and so is what exceeds MAXPHYADDR.
    w.set32(pde, 0xfec00000 | 1u << 21 | 0x87);
    CHECK(w.walk(address).error_code == (page_fault::present | page_fault::reserved));
    w.set32(pde, 0xfec00000 | 0x10u << 13 | 0x87);
    w.options.physical_address_bits = 36;
    CHECK(w.walk(address).error_code == (page_fault::present | page_fault::reserved));
    w.set32(pde, 0xfec00000 | 0x0fu << 13 | 0x87);
    CHECK(w.walk(address).gpa == GuestPhys{0xf'fec11abcull});
    // Without CR4.PSE the bit means nothing and a page table follows.
    w.page.cr4 = 0;
    w.set32(pde, static_cast<std::uint32_t>(table) | 0x87);
    CHECK(w.walk(address).gpa == GuestPhys{0xfee00abc});
}

TEST_CASE("PAE paging: 4 KiB and 2 MiB pages, PDPTE rules", "[emulator][paging]") {
    Walk w;
    w.protected_mode(32);
    w.page.cr0 |= cr0_pg;
    w.page.cr4 = cr4_pae;
    w.page.cr3 = Pc::tables_gpa + 0x20; // 32-byte aligned
    const std::uint64_t directory = Pc::tables_gpa + 0x1000, table = Pc::tables_gpa + 0x2000;
    const std::uint64_t address = 3ull << 30 | 5 << 21 | 7 << 12 | 0x123;
    const std::uint64_t pdpte = w.page.cr3 + 3 * 8, pde = directory + 5 * 8, pte = table + 7 * 8;
    w.set_entry(pdpte, directory | 1);
    w.set_entry(pde, table | 7);
    w.set_entry(pte, 0x12'3456'7000 | 7);
    CHECK(w.walk(address, user_write).gpa == GuestPhys{0x12'3456'7123});
    CHECK(w.entry(pdpte) == (directory | 1)); // PDPTEs have no accessed bit
    CHECK((w.entry(pte) & (accessed | dirty)) == (accessed | dirty));

    w.set_entry(pde, 0x1'00e0'0000 | 0x87);
    CHECK(w.walk(address).gpa == GuestPhys{0x1'00e0'7123});
    w.set_entry(pde, 0x1'00e0'2000 | 0x87); // bit 13
    CHECK(w.walk(address).error_code == (page_fault::present | page_fault::reserved));
    w.set_entry(pde, (table | 7) | 1ull << 52); // ignored in long mode, reserved here
    CHECK(w.walk(address).error_code == (page_fault::present | page_fault::reserved));
    w.set_entry(pde, (table | 7) | nx);
    CHECK(w.walk(address, user_read).error_code ==
          (page_fault::present | page_fault::reserved | page_fault::user)); // NXE is off
    w.page.efer = efer_nxe;
    CHECK(w.walk(address).ok);
    CHECK(w.walk(address, fetch).error_code == (page_fault::present | page_fault::fetch));
    w.set_entry(pdpte, directory | 0x21); // as QEMU's TCG leaves it
    CHECK(w.walk(address).ok);
    w.set_entry(pdpte, directory | 3); // R/W is reserved in a PDPTE
    CHECK(w.walk(address).error_code == (page_fault::present | page_fault::reserved));
}

TEST_CASE("4-level paging: page sizes", "[emulator][paging]") {
    Walk w;
    w.map(linear, 0xfee00000);
    CHECK(w.walk(linear).gpa == GuestPhys{0xfee00678});
    w.set_entry(w.entry_address(linear, 2), 0xe0000000 | 0x87);
    CHECK(w.walk(linear).gpa == GuestPhys{0xe0000000 | (linear & 0x1fffff)});
    w.set_entry(w.entry_address(linear, 3), 0x1'4000'0000 | 0x87);
    CHECK(w.walk(linear).gpa == GuestPhys{0x1'4000'0000 | (linear & 0x3fffffff)});
    // Bit 12 of a large page is PAT, not address.
    w.set_entry(w.entry_address(linear, 3), 0x1'4000'0000 | 0x1087);
    CHECK(w.walk(linear).gpa == GuestPhys{0x1'4000'0000 | (linear & 0x3fffffff)});
    CHECK(w.walk(0xffff'8000'0000'0000).error_code == 0);

    w.options.gigabyte_pages = false;
    CHECK(w.walk(linear).error_code == (page_fault::present | page_fault::reserved));
}

TEST_CASE("5-level paging", "[emulator][paging]") {
    Walk w;
    w.page.cr4 |= cr4_la57;
    const std::uint64_t high = 0x00ab'0000'0000'0000ull | linear;
    w.map(high, 0xfee00000);
    CHECK(w.walk(high).gpa == GuestPhys{0xfee00678});
    CHECK((w.entry(w.entry_address(high, 5)) & accessed) != 0);
    CHECK_FALSE(w.walk(linear).ok);
}

TEST_CASE("page faults carry the exact error code", "[emulator][paging]") {
    Walk w;
    const std::uint64_t pte = w.entry_address(linear);

    SECTION("not present") {
        CHECK(w.error(read) == 0);
        CHECK(w.error(write) == page_fault::write);
        CHECK(w.error(user_read) == page_fault::user);
        CHECK(w.error(user_fetch) == (page_fault::user | page_fault::fetch));
        w.page.efer &= ~efer_nxe; // without NX or SMEP fetches are not told apart
        CHECK(w.error(user_fetch) == page_fault::user);
        w.page.cr4 |= cr4_smep;
        CHECK(w.error(user_fetch) == (page_fault::user | page_fault::fetch));
    }
    SECTION("supervisor page") {
        w.set_entry(pte, 0xfee00000 | 3);
        CHECK(w.error(user_read) == (page_fault::present | page_fault::user));
        CHECK(w.error(user_write) == (page_fault::present | page_fault::user | page_fault::write));
        CHECK(w.error(write) == none);
    }
    SECTION("U/S and R/W are those of all levels") {
        w.set_entry(pte, 0xfee00000 | 7);
        w.set_entry(w.entry_address(linear, 3), w.entry(w.entry_address(linear, 3)) & ~4ull);
        CHECK(w.error(user_read) == (page_fault::present | page_fault::user));
        w.set_entry(w.entry_address(linear, 4), w.entry(w.entry_address(linear, 4)) & ~2ull);
        w.page.cr0 |= cr0_wp;
        CHECK(w.error(write) == (page_fault::present | page_fault::write));
    }
    SECTION("read-only page: the supervisor's writes depend on CR0.WP") {
        w.set_entry(pte, 0xfee00000 | 5);
        CHECK(w.error(user_write) == (page_fault::present | page_fault::user | page_fault::write));
        CHECK(w.error(user_read) == none);
        CHECK(w.error(write) == none);
        w.page.cr0 |= cr0_wp;
        CHECK(w.error(write) == (page_fault::present | page_fault::write));
    }
    SECTION("no execute") {
        w.set_entry(pte, 0xfee00000 | 7 | nx);
        CHECK(w.error(user_fetch) == (page_fault::present | page_fault::user | page_fault::fetch));
        CHECK(w.error(user_write) == none);
        w.page.efer &= ~efer_nxe;
        CHECK(w.error(read) == (page_fault::present | page_fault::reserved));
    }
    SECTION("SMEP and SMAP") {
        w.set_entry(pte, 0xfee00000 | 7);
        CHECK(w.error(fetch) == none);
        w.page.cr4 |= cr4_smep;
        CHECK(w.error(fetch) == (page_fault::present | page_fault::fetch));
        CHECK(w.error(user_fetch) == none);
        CHECK(w.error(read) == none);
        w.page.cr4 |= cr4_smap;
        CHECK(w.error(read) == page_fault::present);
        CHECK(w.error(write) == (page_fault::present | page_fault::write));
        CHECK(w.error(user_read) == none);
        w.page.rflags |= flag::ac;
        CHECK(w.error(read) == none);
        CHECK(w.error({.implicit = true}) == page_fault::present);
    }
    SECTION("protection keys") {
        w.set_entry(pte, 0xfee00000 | 7 | 5ull << 59);
        const std::uint32_t no_access = 1u << 10, no_write = 2u << 10;
        CHECK(w.error(user_read, no_access) == none); // CR4.PKE is off
        w.page.cr4 |= cr4_pke;
        CHECK(w.error(user_read, no_access) == (page_fault::present | page_fault::user | page_fault::key));
        CHECK(w.error(read, no_access) == (page_fault::present | page_fault::key));
        CHECK(w.error(user_read, no_write) == none);
        CHECK(w.error(user_write, no_write) ==
              (page_fault::present | page_fault::user | page_fault::write | page_fault::key));
        CHECK(w.error(write, no_write) == none); // CR0.WP is off
        CHECK(w.error(user_fetch, no_access) == none);
        CHECK(w.error(user_read, no_access << 2) == none); // another key
    }
    SECTION("reserved bits come before permissions") {
        w.set_entry(pte, 0xfee00000 | 1 | 1ull << 45);
        CHECK(w.error(user_read) == (page_fault::present | page_fault::user | page_fault::reserved));
        w.set_entry(pte, 0xfee00000 | 7);
        w.set_entry(w.entry_address(linear, 4), w.entry(w.entry_address(linear, 4)) | 0x80);
        CHECK(w.error(read) == (page_fault::present | page_fault::reserved));
    }
}

TEST_CASE("accessed and dirty bits are set by accesses that succeed", "[emulator][paging]") {
    Walk w;
    w.map(linear, 0xfee00000, 5);
    w.page.cr0 |= cr0_wp;
    const auto marks = [&](unsigned level) {
        return w.entry(w.entry_address(linear, level)) & (accessed | dirty);
    };
    CHECK_FALSE(w.walk(linear, write).ok);
    for (unsigned level = 1; level <= 4; ++level)
        CHECK(marks(level) == 0);
    CHECK(w.walk(linear, {.probe = true}).ok);
    CHECK(marks(1) == 0);
    CHECK(w.walk(linear, read).ok);
    for (unsigned level = 1; level <= 4; ++level)
        CHECK(marks(level) == accessed);
    w.page.cr0 &= ~cr0_wp;
    CHECK(w.walk(linear, write).ok);
    CHECK(marks(1) == (accessed | dirty));
    CHECK(marks(2) == accessed);
}

TEST_CASE("page tables outside of memory read as ones", "[emulator][paging]") {
    Walk w;
    w.page.cr3 = 0xb0000;
    CHECK(w.error(read) == (page_fault::present | page_fault::reserved));
}

TEST_CASE("linear_to_physical looks without touching", "[emulator][paging]") {
    Walk w;
    w.map(linear, 0x5000, 1);
    w.page.cr4 |= cr4_smap;
    CHECK(w.emulator.linear_to_physical(w.page, GuestLinear{linear}) == GuestPhys{0x5678});
    CHECK((w.entry(w.entry_address(linear)) & accessed) == 0);
    CHECK_FALSE(w.emulator.linear_to_physical(w.page, GuestLinear{linear + 4096}));
    CHECK_FALSE(w.emulator.linear_to_physical(w.page, GuestLinear{1ull << 62}));
}

} // namespace escalus::test
