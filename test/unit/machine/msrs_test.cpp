// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/msrs.hpp"

#include <catch2/catch.hpp>

using namespace escalus;

TEST_CASE("AMD's registers that systems touch at boot are there") {
    Msrs msrs{{.amd = true, .tsc_hz = 2'500'000'000}};
    // OpenBSD reads HWCR and wants TscFreqSel clear or a P-state; Solaris sets NB_CFG's bit 46.
    REQUIRE(msrs.read(0xc0010015));
    CHECK((*msrs.read(0xc0010015) >> 24 & 1) == 0);
    REQUIRE(msrs.read(0xc0010064));
    CHECK(*msrs.read(0xc0010064) >> 63 == 1);
    CHECK(msrs.write(0xc001001f, 1ull << 46));
    CHECK(msrs.read(0xc001001f) == 1ull << 46);
    CHECK(msrs.read(0xc0010010));
    CHECK_FALSE(msrs.read(0xce)); // Intel's
}

TEST_CASE("unknown registers are #GP") {
    Msrs msrs{{}};
    CHECK_FALSE(msrs.read(0x12345));
    CHECK_FALSE(msrs.write(0x12345, 0));
    CHECK_FALSE(msrs.read(0x3b)); // TSC_ADJUST is not offered
    CHECK_FALSE(msrs.read(0x48)); // SPEC_CTRL neither
}

TEST_CASE("MTRRs keep valid values and refuse others") {
    Msrs msrs{{.physical_address_bits = 40}};
    CHECK(msrs.read(0xfe) == (8 | 0x500));
    CHECK(msrs.write(0x2ff, 0xc06));
    CHECK(msrs.read(0x2ff) == 0xc06);
    CHECK_FALSE(msrs.write(0x2ff, 0x02));
    CHECK_FALSE(msrs.write(0x2ff, 0x1006));
    CHECK(msrs.write(0x200, 0xe0000000));
    CHECK(msrs.write(0x201, 0xffe0000800));
    CHECK_FALSE(msrs.write(0x201, 0xfffe0000800)); // beyond 40 bits
    CHECK_FALSE(msrs.write(0x200, 0x3));
    CHECK(msrs.write(0x250, 0x0606060606060606));
    CHECK_FALSE(msrs.write(0x250, 0x0606060606060602));
    CHECK_FALSE(msrs.read(0x200 + 2 * Msrs::variable_mtrrs));
    msrs.reset();
    CHECK(msrs.read(0x2ff) == 0u);
}

TEST_CASE("machine check banks never report anything") {
    Msrs msrs{{}};
    CHECK((*msrs.read(0x179) & 0xff) == Msrs::machine_check_banks);
    CHECK(msrs.write(0x401, 0));
    CHECK_FALSE(msrs.write(0x401, 1));
    CHECK(msrs.read(0x401) == 0u);
    CHECK(msrs.write(0x400, 0));
    CHECK(msrs.read(0x400) == 0u);
    CHECK_FALSE(msrs.read(0x400 + 4 * Msrs::machine_check_banks));
    for (const std::uint32_t pentium : {0x00u, 0x01u}) { // bank 0 by its old names
        CHECK(msrs.read(pentium) == 0u);
        CHECK(msrs.write(pentium, 0));
        CHECK_FALSE(msrs.write(pentium, 1));
    }
}

TEST_CASE("without firmware memory is write-back, PCI's window not") {
    Msrs msrs{{.physical_address_bits = 40}};
    msrs.set_default_memory_type_write_back();
    CHECK(msrs.read(0x2ff) == 0xc06);
    CHECK(msrs.read(0x200) == 0xe0000000);
    CHECK(msrs.read(0x201) == 0xffe0000800);
}
