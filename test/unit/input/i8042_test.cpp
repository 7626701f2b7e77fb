// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/input/i8042.hpp"
#include "test/unit/input/ps2_rig.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

TEST_CASE("the controller tests itself, its interfaces and its RAM as Linux and SeaBIOS ask") {
    Ps2Rig rig;
    CHECK((rig.status() & 0x04) == 0);
    rig.out(0x64, 0xaa);
    CHECK(rig.drain() == Bytes{0x55});
    CHECK((rig.status() & 0x04) != 0); // the system flag: warm from now on
    rig.out(0x64, 0xa9);
    CHECK(rig.drain() == Bytes{0x00});
    rig.out(0x64, 0xab);
    CHECK(rig.drain() == Bytes{0x00});
    rig.command_byte(0x65);
    rig.out(0x64, 0x20);
    CHECK(rig.drain() == Bytes{0x65});
    rig.out(0x64, 0x7f);
    rig.out(0x60, 0x5a);
    rig.out(0x64, 0x3f);
    CHECK(rig.drain() == Bytes{0x5a});
    rig.out(0x64, 0xa4);
    CHECK(rig.drain() == Bytes{0xf1}); // no password
}

TEST_CASE("the auxiliary port shows itself by A7 and A8 in the command byte") {
    Ps2Rig rig;
    rig.out(0x64, 0xa7);
    rig.out(0x64, 0x20);
    CHECK((rig.drain().at(0) & 0x20) != 0);
    rig.out(0x64, 0xa8);
    rig.out(0x64, 0x20);
    CHECK((rig.drain().at(0) & 0x20) == 0);
    rig.out(0x64, 0xd3); // loopback: comes back as the mouse's byte
    rig.out(0x60, 0x5a);
    CHECK((rig.status() & 0x21) == 0x21);
    CHECK(rig.irq12.level);
    CHECK(rig.in(0x60) == 0x5a);
    rig.out(0x64, 0xd2);
    rig.out(0x60, 0xa5);
    CHECK((rig.status() & 0x21) == 0x01);
    CHECK(rig.irq1.level);
    CHECK(rig.in(0x60) == 0xa5);
}

TEST_CASE("a key raises IRQ 1 until it is read, and reading twice gives the byte twice") {
    Ps2Rig rig;
    rig.keyboard.key(0x1e, true);
    rig.keyboard.key(0x1e, false);
    CHECK(rig.irq1.edges == 1);
    CHECK(rig.irq1.level);
    CHECK((rig.status() & 0x29) == 0x01);
    CHECK(rig.in(0x60) == 0x1e);
    CHECK_FALSE(rig.irq1.level);
    CHECK(rig.in(0x60) == 0x1e); // a hook and the BIOS behind it both read
    rig.clock.advance(ns_per_second / 1000);
    CHECK(rig.irq1.edges == 2);
    CHECK(rig.in(0x60) == 0x9e);
}

TEST_CASE("interrupts follow the command byte's enables") {
    Ps2Rig rig;
    rig.command_byte(0x40);
    rig.keyboard.key(0x1e, true);
    CHECK_FALSE(rig.irq1.level);
    CHECK((rig.status() & 1) != 0);
    rig.command_byte(0x41);
    CHECK(rig.irq1.level);
}

TEST_CASE("translation turns set 2 into set 1 and can be off") {
    Ps2Rig rig;
    CHECK(rig.press(0xc8) == Bytes{0xe0, 0x48});
    CHECK(rig.release(0xc8) == Bytes{0xe0, 0xc8});
    CHECK(rig.keyboard_command({0xf2}) == Bytes{0xfa, 0xab, 0x41}); // even the identity is translated
    rig.command_byte(0x03);
    CHECK(rig.press(0xc8) == Bytes{0xe0, 0x75});
    CHECK(rig.release(0xc8) == Bytes{0xe0, 0xf0, 0x75});
    CHECK(rig.keyboard_command({0xf2}) == Bytes{0xfa, 0xab, 0x83});
}

TEST_CASE("every key comes out of translation as its own number") {
    Ps2Rig rig;
    for (unsigned key = 1; key < 0x80; ++key) {
        if (key == 0x60 || key == 0x61) // would be prefixes, no keyboard has them
            continue;
        CAPTURE(key);
        CHECK(rig.press(static_cast<KeyNumber>(key)) == Bytes{static_cast<std::uint8_t>(key)});
        CHECK(rig.release(static_cast<KeyNumber>(key)) == Bytes{static_cast<std::uint8_t>(key | 0x80)});
    }
}

TEST_CASE("a disabled keyboard keeps its bytes, and sending to it enables it") {
    Ps2Rig rig;
    rig.out(0x64, 0xad);
    rig.keyboard.key(0x1e, true);
    CHECK((rig.status() & 1) == 0);
    rig.out(0x64, 0xae);
    CHECK(rig.drain() == Bytes{0x1e});
    rig.out(0x64, 0xad);
    CHECK(rig.keyboard_command({0xee}) == Bytes{0xee});
}

TEST_CASE("keyboard and mouse share the buffer fairly, each with its own interrupt") {
    Ps2Rig rig;
    rig.mouse_command({0xf4});
    for (int i = 0; i < 3; ++i) {
        rig.keyboard.key(0x1e, true);
        rig.keyboard.key(0x1e, false);
    }
    rig.mouse.move(1, 1, 0, 0);
    Bytes from_mouse, from_keyboard;
    for (int i = 0; i < 9; ++i) {
        rig.clock.advance(ns_per_second / 1000);
        REQUIRE((rig.status() & 1) != 0);
        const bool mouse = (rig.status() & 0x20) != 0;
        CHECK(rig.irq12.level == mouse);
        CHECK(rig.irq1.level == !mouse);
        (mouse ? from_mouse : from_keyboard).push_back(rig.in(0x60));
    }
    CHECK(from_keyboard == Bytes{0x1e, 0x9e, 0x1e, 0x9e, 0x1e, 0x9e});
    CHECK(from_mouse == Bytes{0x28, 0x01, 0xff});
}

TEST_CASE("motion that adds up while a packet is on its way comes in whole packets after it") {
    Ps2Rig rig;
    rig.mouse_command({0xf4});
    rig.mouse.move(1000, 0, 0, 0); // does not fit into one packet
    rig.mouse.move(0, 0, 0, PointerSink::left);
    const auto bytes = rig.drain();
    CHECK(bytes ==
          Bytes{0x08, 0xff, 0x00, 0x08, 0xff, 0x00, 0x08, 0xff, 0x00, 0x08, 0xeb, 0x00, 0x09, 0x00, 0x00});
}

TEST_CASE("A20 goes through the output port and the Vectra commands") {
    Ps2Rig rig;
    rig.out(0x64, 0xd0);
    CHECK((rig.drain().at(0) & 0x03) == 0x03);
    rig.out(0x64, 0xd1);
    rig.out(0x60, 0xdd);
    CHECK_FALSE(rig.a20_state);
    rig.out(0x64, 0xd0);
    CHECK((rig.drain().at(0) & 0x02) == 0);
    rig.out(0x64, 0xdf);
    CHECK(rig.a20_state);
    rig.out(0x64, 0xdd);
    CHECK_FALSE(rig.a20_state);
    rig.controller.reset(ResetKind::System);
    CHECK(rig.a20_state);
    CHECK(rig.resets == 0);
}

TEST_CASE("reset by pulse and by the output port") {
    Ps2Rig rig;
    rig.out(0x64, 0xfe);
    CHECK(rig.resets == 1);
    rig.out(0x64, 0xff); // pulses nothing
    CHECK(rig.resets == 1);
    rig.out(0x64, 0xd1);
    rig.out(0x60, 0x02);
    CHECK(rig.resets == 2);
}

TEST_CASE("no sequence of bytes upsets the controller") {
    Ps2Rig rig;
    std::uint32_t random = 1;
    for (int i = 0; i < 200'000; ++i) {
        random = random * 1664525 + 1013904223;
        const auto byte = static_cast<std::uint8_t>(random >> 24);
        switch (random >> 20 & 7) {
        case 0:
            rig.in(0x60);
            break;
        case 1:
            rig.keyboard.key(byte, (random & 0x1000) != 0);
            break;
        case 2:
            rig.mouse.move(byte - 128, static_cast<int>(random), byte, random >> 12 & 0x1f);
            break;
        case 3:
            rig.clock.advance(random & 0xfffff);
            break;
        default:
            rig.out((random & 0x10000) != 0 ? 0x60 : 0x64, byte);
        }
    }
    rig.keyboard.reset(ResetKind::System);
    rig.mouse.reset(ResetKind::System);
    rig.controller.reset(ResetKind::System);
    CHECK(rig.press(0x1e) == Bytes{0x1e});
}
