// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/boot/memory_layout.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::vmm;

namespace {
constexpr std::uint64_t mib = 1 << 20, gib = 1 << 30;

MemoryRange usable(std::uint64_t base, std::uint64_t bytes) {
    return {HostPhys{base}, bytes, MemoryType::Usable};
}
MemoryRange reserved(std::uint64_t base, std::uint64_t bytes) {
    return {HostPhys{base}, bytes, MemoryType::Reserved};
}
MemoryList list(std::initializer_list<MemoryRange> ranges) {
    MemoryList l;
    for (const auto& r : ranges)
        l.push_back(r);
    return l;
}
const MemoryList pc_2g =
    list({usable(0, 0x9fc00), reserved(0x9fc00, 0x400), reserved(0xf0000, 0x10000),
          usable(0x100000, 2 * gib - 0x100000 - 0x20000), reserved(2 * gib - 0x20000, 0x20000)});

bool overlap(const MemoryRange& a, const MemoryRange& b) {
    return a.base < b.end() && b.base < a.end();
}
} // namespace

TEST_CASE("memory is taken from the top, apart from what is taken already") {
    const MemoryList taken = list({reserved(0x100000, 2 * mib), reserved(2 * gib - 40 * mib, 30 * mib)});
    MemoryLayout layout;
    REQUIRE(plan_memory(pc_2g, taken, 512 * mib, layout));
    CHECK(layout.pool_bytes == 512 * mib);
    CHECK_FALSE(layout.pool_clamped);
    std::vector<MemoryRange> all{layout.private_memory, layout.shared_area};
    for (const auto& p : layout.pool)
        all.push_back(p);
    for (std::size_t i = 0; i < all.size(); ++i) {
        CHECK(raw(all[i].base) % large_page_size == 0);
        CHECK(all[i].bytes % large_page_size == 0);
        CHECK(raw(all[i].base) >= 16 * mib);
        CHECK(raw(all[i].end()) <= 2 * gib - 0x20000);
        for (const auto& t : taken)
            CHECK_FALSE(overlap(all[i], t));
        for (std::size_t j = 0; j < i; ++j)
            CHECK_FALSE(overlap(all[i], all[j]));
    }
    // Tables for every 4 KiB page of the pool must fit.
    CHECK(layout.private_memory.bytes >= 512 * mib / 512 + 4 * mib);
}

TEST_CASE("memory above 4 GiB goes first") {
    auto memory = pc_2g;
    memory.push_back(usable(4 * gib, 8 * gib));
    MemoryLayout layout;
    REQUIRE(plan_memory(memory, {}, 6 * gib, layout));
    CHECK(layout.pool.size() == 1);
    CHECK(raw(layout.pool[0].base) >= 4 * gib);
    CHECK(raw(layout.private_memory.base) >= 4 * gib);
}

TEST_CASE("a pool larger than one range is put together") {
    auto memory = pc_2g;
    memory.push_back(usable(4 * gib, gib));
    MemoryLayout layout;
    REQUIRE(plan_memory(memory, {}, 2 * gib, layout));
    CHECK(layout.pool_bytes == 2 * gib);
    CHECK(layout.pool.size() == 2);
}

TEST_CASE("too large a pool is clamped and the control OS keeps its share") {
    MemoryLayout layout;
    REQUIRE(plan_memory(pc_2g, {}, 64 * gib, layout));
    CHECK(layout.pool_clamped);
    CHECK(layout.pool_bytes > gib);
    const auto left =
        usable_bytes(pc_2g) - layout.pool_bytes - layout.private_memory.bytes - layout.shared_area.bytes;
    CHECK(left >= control_memory_min);
}

TEST_CASE("a machine that is too small is refused") {
    MemoryLayout layout;
    CHECK_FALSE(plan_memory(list({usable(0x100000, 64 * mib)}), {}, 0, layout));
    CHECK_FALSE(plan_memory({}, {}, 0, layout));
}

TEST_CASE("firmware maps with overlapping entries: reserved wins") {
    const auto memory = list({usable(0x100000, gib), reserved(512 * mib, 16 * mib)});
    CHECK(usable_bytes(memory) == gib - 16 * mib);
}

TEST_CASE("reserve splits what it crosses and keeps order") {
    auto memory = pc_2g;
    REQUIRE(reserve(memory, HostPhys{gib}, 512 * mib));
    for (std::size_t i = 1; i < memory.size(); ++i)
        CHECK(memory[i - 1].end() <= memory[i].base);
    CHECK(usable_bytes(memory) == usable_bytes(pc_2g) - 512 * mib);
    bool found = false;
    for (const auto& r : memory)
        found |= r.base == HostPhys{gib} && r.bytes == 512 * mib && r.type == MemoryType::Reserved;
    CHECK(found);
    // At the end of a range, and over everything.
    REQUIRE(reserve(memory, HostPhys{2 * gib - 0x20000 - mib}, mib));
    REQUIRE(reserve(memory, HostPhys{0}, 4 * gib));
    CHECK(usable_bytes(memory) == 0);
}

TEST_CASE("find_free looks between what is taken") {
    const auto taken = list({reserved(0x100000, mib), reserved(16 * mib, mib)});
    CHECK(find_free(pc_2g, taken, mib, mib, HostPhys{0}, HostPhys{4 * gib}) == HostPhys{2 * mib});
    CHECK(find_free(pc_2g, taken, 32 * mib, 2 * mib, HostPhys{16 * mib}, HostPhys{4 * gib}) ==
          HostPhys{18 * mib});
    CHECK(find_free(pc_2g, taken, 0x1000, 0x1000, HostPhys{0x10000}, HostPhys{mib}) == HostPhys{0x10000});
    CHECK(raw(find_free(pc_2g, taken, 3 * gib, mib, HostPhys{0}, HostPhys{4 * gib})) == 0);
    CHECK(raw(find_free(pc_2g, taken, mib, mib, HostPhys{0}, HostPhys{mib})) == 0);
}
