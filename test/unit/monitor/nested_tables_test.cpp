// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/unit/monitor/private_memory.hpp"
#include "vmm/memory/page_format.hpp"

#include <vector>

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::vmm;

namespace {
constexpr std::uint64_t mib = 1 << 20, gib = 1 << 30;
constexpr std::uint64_t rwx = abi::map_read | abi::map_write | abi::map_execute;
const NestedFormat npt = amd64_page_format(false);
const NestedFormat ept{.present = 7,
                       .table = 7,
                       .read = 1,
                       .write = 2,
                       .execute = 4,
                       .no_execute = 0,
                       .leaf = 6 << 3,
                       .large = 1 << 7,
                       .dirty = 1 << 9,
                       .pages_1g = true};

struct Fixture {
    PrivateMemory memory;
    NestedTables tables;
    std::uint64_t before = 0;
    explicit Fixture(const NestedFormat& format = npt, std::uint64_t budget = 64) {
        before = pages_in_use();
        REQUIRE(tables.start(format, budget));
    }
    ~Fixture() {
        tables.release();
        CHECK(pages_in_use() == before); // nothing leaks
    }
};
} // namespace

TEST_CASE("mapping, translating and unmapping") {
    Fixture f;
    auto& t = f.tables;
    REQUIRE(t.map(GuestPhys{0}, HostPhys{gib}, 4 * mib + 0x3000, rwx));
    CHECK(t.translate(GuestPhys{0x123456}) == HostPhys{gib + 0x123456});
    CHECK(t.find(GuestPhys{0}).bytes == 2 * mib);
    CHECK(t.find(GuestPhys{4 * mib + 0x2fff}).bytes == page_size);
    CHECK(t.find(GuestPhys{4 * mib + 0x3000}).entry == nullptr);
    REQUIRE(t.unmap(GuestPhys{0x1000}, 0x1000)); // splits the large page
    CHECK(raw(t.translate(GuestPhys{0x1000})) == 0);
    CHECK(t.translate(GuestPhys{0x2000}) == HostPhys{gib + 0x2000});
    CHECK(t.translate(GuestPhys{0xfff}) == HostPhys{gib + 0xfff});
    REQUIRE(t.unmap(GuestPhys{0}, 16 * mib));
    CHECK(t.find(GuestPhys{0x2000}).entry == nullptr);
    CHECK(t.find(GuestPhys{3 * mib}).entry == nullptr);
}

TEST_CASE("rights") {
    for (const auto* format : {&npt, &ept}) {
        Fixture f{*format};
        auto& t = f.tables;
        REQUIRE(t.map(GuestPhys{0x1000}, HostPhys{0x5000}, page_size, abi::map_read));
        REQUIRE(t.map(GuestPhys{0x2000}, HostPhys{0x6000}, page_size, abi::map_read | abi::map_execute));
        REQUIRE(t.map(GuestPhys{0x3000}, HostPhys{0x7000}, page_size, rwx));
        CHECK(t.permits(GuestPhys{0x1fff}, false, false));
        CHECK_FALSE(t.permits(GuestPhys{0x1fff}, true, false));
        CHECK_FALSE(t.permits(GuestPhys{0x1fff}, false, true));
        CHECK(t.permits(GuestPhys{0x2000}, false, true));
        CHECK_FALSE(t.permits(GuestPhys{0x2000}, true, false));
        CHECK(t.permits(GuestPhys{0x3000}, true, false));
        CHECK(t.permits(GuestPhys{0x3000}, false, true));
        CHECK_FALSE(t.permits(GuestPhys{0x4000}, false, false));
        CHECK_FALSE(t.permits(GuestPhys{1ull << 50}, false, false));
    }
}

TEST_CASE("1 GiB pages where they exist, split by smaller mappings") {
    Fixture f{ept};
    auto& t = f.tables;
    REQUIRE(t.map(GuestPhys{0}, HostPhys{0}, 4 * gib, rwx));
    CHECK(t.find(GuestPhys{gib}).bytes == gib);
    REQUIRE(t.map(GuestPhys{gib + 0x5000}, HostPhys{0x9000}, page_size, abi::map_read));
    CHECK(t.translate(GuestPhys{gib + 0x5010}) == HostPhys{0x9010});
    CHECK(t.translate(GuestPhys{gib + 0x6010}) == HostPhys{gib + 0x6010});
    CHECK(t.translate(GuestPhys{gib + 300 * mib}) == HostPhys{gib + 300 * mib});
    CHECK(t.find(GuestPhys{gib + 300 * mib}).bytes == 2 * mib);
    // Mapping the whole again drops the small tables.
    const auto in_use = pages_in_use();
    REQUIRE(t.map(GuestPhys{0}, HostPhys{0}, 4 * gib, rwx));
    CHECK(t.find(GuestPhys{gib + 0x5000}).bytes == gib);
    CHECK(pages_in_use() == in_use - 2);
}

TEST_CASE("incongruent addresses use small pages") {
    Fixture f;
    REQUIRE(f.tables.map(GuestPhys{2 * mib}, HostPhys{gib + 0x1000}, 2 * mib, rwx));
    CHECK(f.tables.find(GuestPhys{2 * mib}).bytes == page_size);
    CHECK(f.tables.translate(GuestPhys{4 * mib - 1}) == HostPhys{gib + 0x1000 + 2 * mib - 1});
}

TEST_CASE("the budget is kept, and a refusal changes nothing") {
    Fixture f{npt, 6};
    REQUIRE(f.tables.map(GuestPhys{0}, HostPhys{gib}, page_size, rwx)); // takes three tables beside the root
    CHECK_FALSE(f.tables.map(GuestPhys{512 * gib}, HostPhys{gib}, page_size, rwx));
    CHECK(f.tables.find(GuestPhys{512 * gib}).entry == nullptr);
    CHECK(f.tables.translate(GuestPhys{0}) == HostPhys{gib});
}

TEST_CASE("dirty harvest") {
    Fixture f;
    auto& t = f.tables;
    REQUIRE(t.map(GuestPhys{0}, HostPhys{gib}, 4 * mib, rwx));
    std::vector<std::uint64_t> bits(16);
    // The first harvest splits large pages; a page that was dirty as a whole is dirty in all its parts.
    *t.find(GuestPhys{0}).entry |= npt.dirty;
    REQUIRE(t.harvest_dirty(GuestPhys{0}, 512, bits.data()));
    CHECK(bits[0] == ~0ull);
    CHECK(bits[7] == ~0ull);
    bits.assign(16, 0);
    *t.find(GuestPhys{0x41000}).entry |= npt.dirty;
    REQUIRE(t.harvest_dirty(GuestPhys{0}, 1024, bits.data()));
    CHECK(bits[1] == 2);
    CHECK(bits[0] == 0);
    CHECK(bits[8] == 0);
    bits.assign(16, 0);
    REQUIRE(t.harvest_dirty(GuestPhys{0}, 1024, bits.data()));
    CHECK(bits == std::vector<std::uint64_t>(16, 0));
    // Holes of any size are skipped.
    REQUIRE(t.harvest_dirty(GuestPhys{4 * mib - page_size}, 1024, bits.data()));
    REQUIRE(t.harvest_dirty(GuestPhys{100 * gib}, 1024, bits.data()));
}

TEST_CASE("where the CPU keeps no dirty bits, the first write of a page faults and marks it") {
    NestedFormat format = ept;
    format.dirty = 1ull << 53;
    format.may_write = 1ull << 54;
    Fixture f{format};
    NestedTables& t = f.tables;
    REQUIRE(t.map(GuestPhys{0}, HostPhys{0x40000000}, 4 * page_size, rwx));
    REQUIRE(t.map(GuestPhys{0x10000}, HostPhys{0x50000000}, page_size, abi::map_read));
    CHECK((*t.find(GuestPhys{0x1000}).entry & format.write) == 0);
    CHECK_FALSE(t.permits(GuestPhys{0x10000}, true, false));
    CHECK(t.permits(GuestPhys{0x1000}, true, false));
    CHECK((*t.find(GuestPhys{0x1000}).entry & format.write) != 0);
    std::uint64_t bitmap[1] = {};
    REQUIRE(t.harvest_dirty(GuestPhys{0}, 4, bitmap));
    CHECK(bitmap[0] == 2);
    CHECK((*t.find(GuestPhys{0x1000}).entry & format.write) == 0);
    bitmap[0] = 0;
    REQUIRE(t.harvest_dirty(GuestPhys{0}, 4, bitmap));
    CHECK(bitmap[0] == 0);
}
