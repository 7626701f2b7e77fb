// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/address_space.hpp"
#include "devmodel/machine/flat_memory.hpp"

#include <catch2/catch.hpp>

using namespace escalus;

namespace {
struct Fixture {
    TestMemoryMap engine;
    AddressSpace space{engine};
    MemoryRegion& ram = space.allocate("ram", 0x10000);
    MemoryRegion& rom = space.allocate("rom", 0x2000);
};
} // namespace

TEST_CASE_METHOD(Fixture, "addresses find the region's bytes with the right access") {
    space.map(GuestPhys{0x1000}, ram, 0x2000, 0x4000, Access::RWX);
    space.map(GuestPhys{0x8000}, rom, 0, 0x2000, Access::RX);
    CHECK(space.at(GuestPhys{0x1234}, 4, Access::Write).data() == ram.bytes().data() + 0x2234);
    CHECK(space.at(GuestPhys{0x1000}, 0x4000, Access::Read).size() == 0x4000);
    CHECK(space.at(GuestPhys{0x1000}, 0x4001, Access::Read).empty());
    CHECK(space.at(GuestPhys{0xfff}, 1, Access::Read).empty());
    CHECK(space.at(GuestPhys{0x5000}, 1, Access::Read).empty());
    CHECK(space.at(GuestPhys{0x8000}, 1, Access::Read).size() == 1);
    CHECK(space.at(GuestPhys{0x8000}, 1, Access::Write).empty());
    CHECK(space.at(GuestPhys{~0ull}, 1, Access::Read).empty());
    CHECK(space.at(GuestPhys{0x1000}, ~0ull, Access::Read).empty());
}

TEST_CASE_METHOD(Fixture, "a mapping replaces what was there, and unmapping splits") {
    space.map(GuestPhys{0}, ram, 0, 0x10000, Access::RWX);
    space.map(GuestPhys{0x4000}, rom, 0x1000, 0x1000, Access::RX);
    CHECK(space.at(GuestPhys{0x3fff}, 1, Access::Write).data() == ram.bytes().data() + 0x3fff);
    CHECK(space.at(GuestPhys{0x4000}, 1, Access::Read).data() == rom.bytes().data() + 0x1000);
    CHECK(space.at(GuestPhys{0x5000}, 1, Access::Write).data() == ram.bytes().data() + 0x5000);
    CHECK(space.at(GuestPhys{0x3fff}, 2, Access::Read).empty());
    space.unmap(GuestPhys{0x3000}, 0x3000);
    CHECK(space.at(GuestPhys{0x3000}, 1, Access::Read).empty());
    CHECK(space.at(GuestPhys{0x6000}, 1, Access::Read).data() == ram.bytes().data() + 0x6000);
    CHECK(engine.mappings.size() == 1); // the test map keeps what starts outside the range
}

TEST_CASE_METHOD(Fixture, "neighbours that continue each other count as one") {
    space.map(GuestPhys{0x1000}, ram, 0x1000, 0x1000, Access::RWX);
    space.map(GuestPhys{0x3000}, ram, 0x3000, 0x1000, Access::RWX);
    space.map(GuestPhys{0x2000}, ram, 0x2000, 0x1000, Access::RWX);
    CHECK(space.at(GuestPhys{0x1000}, 0x3000, Access::Write).size() == 0x3000);
    space.map(GuestPhys{0x2000}, ram, 0x2000, 0x1000, Access::RX);
    CHECK(space.at(GuestPhys{0x1000}, 0x3000, Access::Read).empty());
    space.map(GuestPhys{0x4000}, ram, 0x8000, 0x1000, Access::RWX); // elsewhere in the region
    CHECK(space.at(GuestPhys{0x3000}, 0x2000, Access::Read).empty());
}
