// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/net/microwire_eeprom.hpp"

#include <catch2/catch.hpp>

using namespace escalus;

namespace {
struct Lines {
    MicrowireEeprom& rom;
    void bits(unsigned value, unsigned count) {
        while (count-- > 0) {
            const bool bit = (value >> count & 1) != 0;
            rom.set_lines(true, false, bit);
            rom.set_lines(true, true, bit);
        }
        rom.set_lines(true, false, false);
    }
    unsigned word() {
        unsigned value = 0;
        for (unsigned i = 0; i < 16; ++i) {
            rom.set_lines(true, true, false);
            value = value << 1 | (rom.data_out() ? 1u : 0u);
            rom.set_lines(true, false, false);
        }
        return value;
    }
    void select() { rom.set_lines(true, false, false); }
    void deselect() { rom.set_lines(false, false, false); }
    unsigned read(unsigned address) {
        select();
        bits(6, 3);
        bits(address, 6);
        CHECK_FALSE(rom.data_out()); // the dummy bit
        const auto value = word();
        deselect();
        return value;
    }
    void write(unsigned address, unsigned value) {
        select();
        bits(5, 3);
        bits(address, 6);
        bits(value, 16);
        deselect();
        select();
        CHECK(rom.data_out()); // ready
        deselect();
    }
    void command(unsigned nine_bits) {
        select();
        bits(nine_bits, 9);
        deselect();
    }
};
} // namespace

TEST_CASE("a 93C46 is read by its three wires") {
    MicrowireEeprom rom;
    for (unsigned i = 0; i < 64; ++i)
        rom.content[i] = static_cast<std::uint16_t>(0x8001 + 0x0123 * i);
    Lines lines{rom};
    CHECK(lines.read(0) == 0x8001);
    CHECK(lines.read(63) == static_cast<std::uint16_t>(0x8001 + 0x0123 * 63));
    lines.select();
    lines.bits(0, 5); // zeros before the start bit do not count
    lines.bits(6, 3);
    lines.bits(63, 6);
    CHECK(lines.word() == rom.content[63]);
    CHECK(lines.word() == rom.content[0]); // it goes on at the beginning
    lines.deselect();
    lines.select();
    lines.bits(6, 3);
    lines.bits(1, 3);
    lines.deselect(); // given up half-way
    CHECK(lines.read(2) == rom.content[2]);
}

TEST_CASE("a 93C46 is written only when it is unlocked") {
    MicrowireEeprom rom;
    Lines lines{rom};
    lines.write(5, 0x1234);
    CHECK(rom.content[5] == 0);
    lines.command(0x130); // EWEN
    lines.write(5, 0x1234);
    CHECK(lines.read(5) == 0x1234);
    lines.command(0x1c5); // erase word 5
    CHECK(rom.content[5] == 0xffff);
    lines.select();
    lines.bits(0x110, 9); // WRAL
    lines.bits(0xabcd, 16);
    lines.deselect();
    CHECK(rom.content[0] == 0xabcd);
    CHECK(rom.content[63] == 0xabcd);
    lines.command(0x120); // ERAL
    CHECK(rom.content[7] == 0xffff);
    lines.command(0x100); // EWDS
    lines.write(5, 1);
    CHECK(rom.content[5] == 0xffff);
}
