// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/unit/monitor/private_memory.hpp"
#include "vmm/memory/pool.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::vmm;

TEST_CASE("the pool gives out extents and takes them back whole") {
    constexpr std::uint64_t mib = 1 << 20;
    MemoryLayout layout;
    layout.pool.push_back({HostPhys{16 * mib}, 8 * mib, MemoryType::Reserved});
    layout.pool.push_back({HostPhys{64 * mib}, 32 * mib, MemoryType::Reserved});
    start_pool(layout);
    CHECK(pool_total_bytes() == 40 * mib);
    abi::Extent got[4];
    std::uint32_t count = 0;
    // The smallest extent that fits is used.
    REQUIRE(take_from_pool(8 * mib, got, count, 4));
    REQUIRE(count == 1);
    CHECK(got[0].address == 16 * mib);
    give_to_pool(got[0]);
    // More than any one extent holds.
    REQUIRE(take_from_pool(36 * mib, got, count, 4));
    CHECK(count == 2);
    CHECK(pool_free_bytes() == 4 * mib);
    abi::Extent more[4];
    std::uint32_t none = 0;
    CHECK_FALSE(take_from_pool(6 * mib, more, none, 4));
    CHECK(pool_free_bytes() == 4 * mib);
    for (std::uint32_t i = 0; i < count; ++i)
        give_to_pool(got[i]);
    CHECK(pool_free_bytes() == 40 * mib);
    // Neighbours have joined again.
    REQUIRE(take_from_pool(32 * mib, got, count, 1));
    give_to_pool(got[0]);
    // Too scattered for the caller: nothing is taken.
    CHECK_FALSE(take_from_pool(40 * mib, got, count, 1));
    CHECK(pool_free_bytes() == 40 * mib);
    REQUIRE(take_from_pool(40 * mib, got, count, 2));
    CHECK(pool_free_bytes() == 0);
    for (std::uint32_t i = 0; i < count; ++i)
        give_to_pool(got[i]);
}

TEST_CASE("private pages: contiguous, zeroed, reused") {
    PrivateMemory memory;
    const auto before = pages_in_use();
    const HostPhys a = allocate_pages(3);
    const HostPhys b = allocate_pages(1);
    REQUIRE(raw(a) != 0);
    CHECK(b - a == 3 * page_size);
    *reinterpret_cast<std::uint64_t*>(raw(a)) = 1;
    free_pages(a, 3);
    const HostPhys c = allocate_pages(2);
    CHECK(c == a);
    CHECK(*reinterpret_cast<std::uint64_t*>(raw(c)) == 0);
    CHECK(raw(allocate_pages(PrivateMemory::pages)) == 0);
    free_pages(c, 2);
    free_pages(b, 1);
    CHECK(pages_in_use() == before);
}
