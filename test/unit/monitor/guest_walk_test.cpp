// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/unit/monitor/private_memory.hpp"
#include "vmm/cpu/instructions.hpp"
#include "vmm/guest/guest_walk.hpp"
#include "vmm/memory/identity_map.hpp"
#include "vmm/memory/page_format.hpp"

#include <cstring>

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::vmm;

// The monitor's own map is not part of this test: everything may be read.
HostPhys escalus::vmm::identity_limit() {
    return HostPhys{~0ull};
}

namespace {

const NestedFormat npt = amd64_page_format(false);

/// A guest with 16 pages of memory at guest-physical 0.
struct Guest {
    PrivateMemory memory;
    HostPhys pages = allocate_pages(16);
    NestedTables tables;
    Guest() {
        REQUIRE(tables.start(npt, 16));
        REQUIRE(tables.map(GuestPhys{0}, pages, 16 * page_size, 7));
    }
    template <typename T>
    T& at(std::uint64_t gpa) {
        return *reinterpret_cast<T*>(raw(pages) + gpa);
    }
    unsigned read(std::uint64_t cr0, std::uint64_t cr3, std::uint64_t cr4, std::uint64_t efer,
                  std::uint64_t linear, std::uint8_t* to, unsigned bytes) {
        return read_guest_linear({cr0, cr3, cr4, efer, &tables}, GuestLinear{linear}, to, bytes);
    }
};

} // namespace

TEST_CASE("without paging, and to the end of memory") {
    Guest g;
    std::memcpy(&g.at<char>(0x1ffe), "abcd", 4);
    std::uint8_t out[8] = {};
    CHECK(g.read(0, 0, 0, 0, 0x1ffe, out, 4) == 4);
    CHECK(std::memcmp(out, "abcd", 4) == 0);
    CHECK(g.read(0, 0, 0, 0, 16 * page_size - 3, out, 8) == 3);
    CHECK(g.read(0, 0, 0, 0, 1ull << 30, out, 8) == 0);
}

TEST_CASE("four levels, a page boundary, and a hole") {
    Guest g;
    g.at<std::uint64_t>(0x1000) = 0x2003;
    g.at<std::uint64_t>(0x2000) = 0x3003;
    g.at<std::uint64_t>(0x3000) = 0x4003;
    g.at<std::uint64_t>(0x4000 + 8 * 5) = 0x7003;
    g.at<std::uint64_t>(0x4000 + 8 * 6) = 0x5003;
    std::memcpy(&g.at<char>(0x7ffe), "ab", 2);
    std::memcpy(&g.at<char>(0x5000), "cd", 2);
    std::uint8_t out[8] = {};
    const auto walk = [&](std::uint64_t linear, unsigned n) {
        return g.read(cr0::pg | cr0::pe, 0x1000, cr4::pae, efer::lma | efer::lme, linear, out, n);
    };
    CHECK(walk(0x5ffe, 4) == 4);
    CHECK(std::memcmp(out, "abcd", 4) == 0);
    CHECK(walk(0x6ffe, 4) == 2); // 0x7000 is not mapped
    CHECK(walk(0x10'0000'0000, 1) == 0);
    g.at<std::uint64_t>(0x2000) = 0x9990'0003; // a table outside memory
    CHECK(walk(0x5000, 1) == 0);
}

TEST_CASE("the last pages are remembered until they are forgotten, and what is no memory is not") {
    Guest g;
    RecentPages recent;
    std::uint8_t out[16] = {};
    const auto read = [&](std::uint64_t linear, unsigned n) {
        return read_guest_linear({0, 0, 0, 0, &g.tables, &recent}, GuestLinear{linear}, out, n);
    };
    std::memcpy(&g.at<char>(0x1ffe), "abcd", 4);
    std::memcpy(&g.at<char>(0x9ffe), "efgh", 4); // in the same place as the one before
    for (unsigned i = 0; i < 2; ++i) {
        CHECK(read(0x1ffe, 4) == 4);
        CHECK(std::memcmp(out, "abcd", 4) == 0);
        CHECK(read(0x9ffe, 4) == 4);
        CHECK(std::memcmp(out, "efgh", 4) == 0);
    }
    CHECK(read(16 * page_size, 1) == 0);
    REQUIRE(g.tables.map(GuestPhys{16 * page_size}, g.pages, page_size, 7)); // it is now
    CHECK(read(16 * page_size, 1) == 1);
    REQUIRE(g.tables.unmap(GuestPhys{0x9000}, page_size));
    recent.forget();
    CHECK(read(0x9ffe, 4) == 0);
    CHECK(read(0x1ffe, 4) == 4);
}

TEST_CASE("two levels with 4 MiB pages, and PAE with 2 MiB pages") {
    Guest g;
    std::uint8_t out[4] = {};
    std::memcpy(&g.at<char>(0x5010), "xy", 2);
    g.at<std::uint32_t>(0x1000 + 4 * 3) = 0x83; // 0xc00000 -> 0
    CHECK(g.read(cr0::pg | cr0::pe, 0x1000, cr4::pse, 0, 0xc05010, out, 2) == 2);
    CHECK(std::memcmp(out, "xy", 2) == 0);
    g.at<std::uint64_t>(0x2020) = 0x3001;       // PDPT at 0x2020: 32-byte aligned
    g.at<std::uint64_t>(0x3000 + 8 * 2) = 0x83; // 0x400000 -> 0
    CHECK(g.read(cr0::pg | cr0::pe, 0x2020, cr4::pae, 0, 0x405010, out, 2) == 2);
    CHECK(std::memcmp(out, "xy", 2) == 0);
}
