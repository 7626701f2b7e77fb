// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/engine/region_allocator.hpp"

#include <array>

#include <catch2/catch.hpp>

using namespace escalus;

namespace {
constexpr std::uint64_t mib = 1 << 20;
constexpr std::array<abi::Extent, 2> two{{{0x1000'0000, 4 * mib}, {0x4000'0000, 4 * mib}}};
} // namespace

TEST_CASE("large regions are aligned to 2 MiB, small ones come from the top") {
    RegionAllocator allocator{two};
    CHECK(allocator.total() == 8 * mib);
    const auto rom = allocator.allocate(256 << 10);
    const auto ram = allocator.allocate(3 * mib);
    const auto video = allocator.allocate(2 * mib);
    CHECK(rom == 8 * mib - (256 << 10));
    CHECK(ram == 0u);
    CHECK(video == 4 * mib);
    CHECK(allocator.allocate(100) == 8 * mib - (256 << 10) - page_size);
}

TEST_CASE("what does not fit is refused and changes nothing") {
    RegionAllocator allocator{two};
    CHECK_FALSE(allocator.allocate(0));
    CHECK_FALSE(allocator.allocate(8 * mib + 1));
    CHECK_FALSE(allocator.allocate(~0ull));
    CHECK(allocator.allocate(8 * mib) == 0u);
    CHECK_FALSE(allocator.allocate(1));
}

TEST_CASE("regions sized to the sum of their 2 MiB units fit in any order") {
    RegionAllocator allocator{two};
    CHECK(allocator.allocate(4096));
    CHECK(allocator.allocate(3 * mib));
    CHECK(allocator.allocate(mib));
}

TEST_CASE("a range is cut where the extents meet") {
    const RegionAllocator allocator{two};
    const auto inside = allocator.pieces(mib, 2 * mib);
    REQUIRE(inside.size() == 1);
    CHECK(raw(inside[0].address) == 0x1010'0000);
    const auto across = allocator.pieces(3 * mib, 2 * mib);
    REQUIRE(across.size() == 2);
    CHECK(raw(across[0].address) == 0x1030'0000);
    CHECK(across[0].size == mib);
    CHECK(raw(across[1].address) == 0x4000'0000);
    CHECK(across[1].size == mib);
}
