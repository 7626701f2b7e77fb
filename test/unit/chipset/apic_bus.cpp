// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/apic_bus.hpp"

#include "test/unit/chipset/apic_fixture.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using test::ApicBoard;

TEST_CASE("MSI: address and data say who and how") {
    ApicBoard b{3};
    b.enable_all();
    REQUIRE(b.bus.send_msi(0xfee02000, 0x4061));
    REQUIRE(b[2].pending_interrupt() == 0x61);
    REQUIRE_FALSE(b.bus.send_msi(0xfee09000, 0x4061));
    for (unsigned i = 0; i < 3; ++i)
        b.set(0xd0, 1u << (24 + i), i);
    REQUIRE(b.bus.send_msi(0xfee03004, 0x4062)); // logical, no redirection
    REQUIRE(b[0].pending_interrupt() == 0x62);
    REQUIRE(b[1].pending_interrupt() == 0x62);
    REQUIRE(b.bus.send_msi(0xfee0300c, 0x4063)); // logical, to one of them
    REQUIRE((b[0].pending_interrupt() == 0x63) != (b[1].pending_interrupt() == 0x63));
    REQUIRE(b.bus.send_msi(0xfee00000, 0x4400));
    REQUIRE(b.cpu[0]->nmis == 1);
}

TEST_CASE("x2APIC and xAPIC on one bus") {
    ApicBoard b{2};
    b.enable_all();
    REQUIRE(b[1].write_msr(0x1b, 0xfee00c00));
    ApicMessage message{.vector = 0x40, .destination = 1}; // from an I/O APIC: 8 bits
    REQUIRE(b.bus.send(message));
    REQUIRE(b[1].pending_interrupt() == 0x40);
    message = {.vector = 0x41, .destination = 0xff};
    REQUIRE(b.bus.send(message));
    REQUIRE(b[0].pending_interrupt() == 0x41);
    REQUIRE(b[1].pending_interrupt() == 0x41);
    message = {.vector = 0x51, .wide = true, .destination = 0xff}; // nobody has x2APIC ID 255
    REQUIRE_FALSE(b.bus.send(message));
    message.destination = 0xffffffff;
    REQUIRE(b.bus.send(message));
    REQUIRE(b[0].pending_interrupt() == 0x51);
    message = {.vector = 0x61, .logical = true, .destination = 0x02}; // cluster 0, member 1
    REQUIRE(b.bus.send(message));
    REQUIRE(b[1].pending_interrupt() == 0x61);
}
