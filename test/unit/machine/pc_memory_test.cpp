// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/flat_memory.hpp"
#include "devmodel/machine/pc_memory.hpp"

#include <catch2/catch.hpp>

using namespace escalus;

namespace {

std::vector<std::uint8_t> rom_image() {
    std::vector<std::uint8_t> rom(256 << 10, 0x11);
    std::fill(rom.end() - (128 << 10), rom.end(), std::uint8_t{0x22});
    rom.back() = 0x99;
    return rom;
}

struct Fixture {
    TestMemoryMap engine;
    AddressSpace space{engine};
    Bus bus{"memory", 1ull << 46};
    std::vector<std::uint8_t> rom = rom_image();
    PcMemory memory{space, bus, 8 << 20, rom};

    std::uint8_t byte(std::uint64_t address) {
        std::array<std::uint8_t, 1> b{};
        space.read(GuestPhys{address}, b);
        return b[0];
    }
    void shadow(std::uint64_t base, std::uint64_t size, bool read_ram, bool write_ram) {
        const ShadowRange range{GuestPhys{base}, size, read_ram, write_ram};
        memory.shadow_changed({&range, 1});
    }
};

} // namespace

TEST_CASE_METHOD(Fixture, "the ROM ends at 4 GiB and its last 128 KiB are below 1 MiB") {
    CHECK(byte(0xffffffff) == 0x99);
    CHECK(byte(0xfffc0000) == 0x11);
    CHECK(byte(0xfffff) == 0x99);
    CHECK(byte(0xe0000) == 0x22);
    CHECK(space.at(GuestPhys{0xc0000}, 1, Access::Read).empty());
    CHECK(space.at(GuestPhys{0xa0000}, 1, Access::Read).empty());
    CHECK(space.at(GuestPhys{0xf0000}, 1, Access::Write).empty());
    CHECK(space.at(GuestPhys{0x100000}, 7 << 20, Access::Write).size() == 7 << 20);
    CHECK(space.at(GuestPhys{8 << 20}, 1, Access::Read).empty());
}

TEST_CASE_METHOD(Fixture, "shadowing: copy through, write-protect, and back") {
    const std::array<std::uint8_t, 1> value{0x5a};
    // Reads from ROM, writes to RAM: the write exits and comes over the bus.
    shadow(0xf0000, 0x10000, false, true);
    CHECK(byte(0xf1234) == 0x22);
    bus.write(0xf1234, value);
    shadow(0xf0000, 0x10000, true, false);
    CHECK(byte(0xf1234) == 0x5a);
    CHECK(space.at(GuestPhys{0xf1234}, 1, Access::Write).empty());
    bus.write(0xf1234, std::array<std::uint8_t, 1>{0x77});
    CHECK(byte(0xf1234) == 0x5a);
    shadow(0xc0000, 0x4000, true, true);
    CHECK(space.at(GuestPhys{0xc0000}, 0x4000, Access::Write).size() == 0x4000);
    shadow(0xc0000, 0x40000, false, false);
    CHECK(byte(0xf1234) == 0x22);
    CHECK(space.at(GuestPhys{0xc0000}, 1, Access::Read).empty());
}

TEST_CASE_METHOD(Fixture, "a closed A20 gate folds the second megabyte") {
    space.at(GuestPhys{0x500}, 1, Access::Write)[0] = 1;
    space.at(GuestPhys{0x100500}, 1, Access::Write)[0] = 2;
    memory.set_a20(false);
    CHECK(byte(0x100500) == 1);
    memory.set_a20(true);
    CHECK(byte(0x100500) == 2);
}

TEST_CASE("memory beyond PCI's window lies above 4 GiB") {
    // Only the arithmetic: nobody allocates 5 GiB here.
    CHECK(PcMemory::region_bytes(5ull << 30, 256 << 10) == (5ull << 30) + large_page_size);
    CHECK(PcMemory::region_bytes((8 << 20) + 4096, 0) == 10 << 20);
    TestMemoryMap engine;
    AddressSpace space{engine};
    Bus bus{"memory", 1ull << 46};
    CHECK_THROWS_AS((PcMemory{space, bus, 1 << 20, {}}), std::invalid_argument);
}
