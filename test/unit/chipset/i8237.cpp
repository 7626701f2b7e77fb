// SPDX-License-Identifier: GPL-2.0-or-later
// The pair of DMA controllers, programmed as drivers do and used as devices do.
#include "devmodel/devices/chipset/i8237.hpp"

#include "devmodel/machine/flat_memory.hpp"
#include "test/unit/chipset/board.hpp"

#include <catch2/catch.hpp>

using namespace escalus;

namespace {

struct Rig : test::Board {
    FlatMemory ram{0x100000};
    I8237Pair dma{ports, ram};

    Rig() {
        dma.reset(ResetKind::PowerOn);
        outb(0xd6, 0xc0); // channel 4: cascade
        outb(0xd4, 0x00); // and open
    }
    void outb(unsigned port, unsigned value) {
        write<std::uint8_t>(ports, port, static_cast<std::uint8_t>(value));
    }
    unsigned inb(unsigned port) { return read<std::uint8_t>(ports, port); }
    /// Channel 2, as a floppy driver sets it up.
    void set_up(unsigned mode, std::uint32_t address, unsigned bytes) {
        outb(0x0a, 0x06);
        outb(0x0c, 0);
        outb(0x0b, mode);
        outb(0x04, address & 0xff);
        outb(0x04, address >> 8 & 0xff);
        outb(0x81, address >> 16);
        outb(0x05, (bytes - 1) & 0xff);
        outb(0x05, (bytes - 1) >> 8);
        outb(0x0a, 0x02);
    }
    std::vector<std::uint8_t> memory_at(std::size_t at, std::size_t size) {
        const auto piece = ram.bytes().subspan(at, size);
        return {piece.begin(), piece.end()};
    }
};

using Bytes = std::vector<std::uint8_t>;

} // namespace

TEST_CASE("a device's bytes go where address, page and count say, and stop at terminal count") {
    Rig rig;
    rig.set_up(0x46, 0x2fffe, 4);
    rig.dma.request(2, true);
    const Bytes data{1, 2, 3, 4, 5, 6};
    const auto first = rig.dma.to_memory(2, std::span{data}.first(1));
    CHECK(first.bytes == 1);
    CHECK_FALSE(first.terminal_count);
    const auto rest = rig.dma.to_memory(2, std::span{data}.subspan(1));
    CHECK(rest.bytes == 3);
    CHECK(rest.terminal_count);
    // The page does not count: the address wraps within its 64 KiB.
    CHECK(rig.memory_at(0x2fffe, 2) == Bytes{1, 2});
    CHECK(rig.memory_at(0x20000, 2) == Bytes{3, 4});
    // Terminal count masks the channel, and is seen once.
    CHECK_FALSE(rig.dma.granted(2));
    CHECK(rig.inb(0x08) == 0x44);
    CHECK(rig.inb(0x08) == 0x40);
    rig.dma.request(2, false);
    CHECK(rig.inb(0x08) == 0x00);
    CHECK(rig.inb(0x0f) == 0xff);
}

TEST_CASE("current address and count are read through the byte pointer") {
    Rig rig;
    rig.set_up(0x46, 0x34567, 0x234);
    rig.dma.request(2, true);
    rig.dma.to_memory(2, Bytes{9, 9, 9});
    rig.outb(0x0c, 0);
    CHECK(rig.inb(0x04) == 0x6a);
    CHECK(rig.inb(0x04) == 0x45);
    CHECK(rig.inb(0x05) == 0x30);
    CHECK(rig.inb(0x05) == 0x02);
    // A word access is two of a byte each, at two registers.
    CHECK(rig.read<std::uint16_t>(rig.ports, 0x04) == 0x026a);
    CHECK(rig.inb(0x81) == 0x03);
    rig.outb(0x84, 0xa5); // a page register without a channel
    CHECK(rig.inb(0x84) == 0xa5);
}

TEST_CASE("memory is read for a device, downward where the mode says so") {
    Rig rig;
    for (std::uint8_t i = 0; i < 8; ++i)
        rig.ram.bytes()[0x1000u + i] = i;
    rig.set_up(0x6a, 0x1003, 4);
    rig.dma.request(2, true);
    Bytes data(8);
    const auto moved = rig.dma.from_memory(2, data);
    CHECK(moved.bytes == 4);
    CHECK(moved.terminal_count);
    CHECK(Bytes{data.begin(), data.begin() + 4} == Bytes{3, 2, 1, 0});
}

TEST_CASE("auto-initialization starts over, and leaves the channel open") {
    Rig rig;
    rig.set_up(0x56, 0x4000, 2);
    rig.dma.request(2, true);
    CHECK(rig.dma.to_memory(2, Bytes{1, 2, 3}).terminal_count);
    REQUIRE(rig.dma.granted(2));
    CHECK(rig.dma.to_memory(2, Bytes{3, 4}).terminal_count);
    CHECK(rig.memory_at(0x4000, 3) == Bytes{3, 4, 0});
}

TEST_CASE("verify counts and touches no memory; so does a direction that is not the device's") {
    const unsigned mode = GENERATE(0x42u, 0x4au);
    Rig rig;
    rig.set_up(mode, 0x4000, 2);
    rig.dma.request(2, true);
    CHECK(rig.dma.to_memory(2, Bytes{1, 2}).terminal_count);
    CHECK(rig.memory_at(0x4000, 2) == Bytes{0, 0});
}

TEST_CASE(
    "nothing moves without a request, behind a mask, with a controller off, or with the cascade closed") {
    Rig rig;
    rig.set_up(0x46, 0x4000, 4);
    CHECK(rig.dma.to_memory(2, Bytes{1}).bytes == 0);
    rig.dma.request(2, true);
    REQUIRE(rig.dma.granted(2));
    unsigned granted = 0;
    rig.dma.connect(2, [&] { ++granted; });
    const auto closed_then_open = [&](unsigned port, unsigned close, unsigned open) {
        granted = 0;
        rig.outb(port, close);
        CHECK(granted == 0);
        CHECK(rig.dma.to_memory(2, Bytes{1}).bytes == 0);
        rig.outb(port, open);
        CHECK(granted == 1);
    };
    closed_then_open(0x0a, 0x06, 0x02); // its mask
    closed_then_open(0x0f, 0x0f, 0x0b); // all masks
    closed_then_open(0x08, 0x04, 0x00); // its controller
    closed_then_open(0xd4, 0x04, 0x00); // the cascade's mask
    closed_then_open(0xd0, 0x04, 0x00); // the second controller
    rig.outb(0x0d, 0);                  // master clear masks all; clear mask opens them
    CHECK_FALSE(rig.dma.granted(2));
    rig.outb(0x0e, 0);
    CHECK(rig.dma.granted(2));
    CHECK(rig.dma.to_memory(2, Bytes{7}).bytes == 1);
}

TEST_CASE("the second controller moves words within 128 KiB") {
    Rig rig;
    rig.outb(0xd8, 0);
    rig.outb(0xd6, 0x45); // channel 5, single, into memory
    rig.outb(0xc4, 0x00);
    rig.outb(0xc4, 0x80); // word 0x8000: byte 0x10000 of the 128 KiB
    rig.outb(0x8b, 0x03); // whose lowest page bit does not count
    rig.outb(0xc6, 0x01);
    rig.outb(0xc6, 0x00);
    rig.outb(0xd4, 0x01);
    rig.dma.request(5, true);
    const auto moved = rig.dma.to_memory(5, Bytes{1, 2, 3, 4, 5, 6});
    CHECK(moved.bytes == 4);
    CHECK(moved.terminal_count);
    CHECK(rig.memory_at(0x30000, 5) == Bytes{1, 2, 3, 4, 0});
    CHECK(rig.inb(0xd0) == 0x22); // terminal count and request of channel 5
}

TEST_CASE("a reset masks every channel; without firmware the cascade is opened for it") {
    Rig rig;
    rig.set_up(0x46, 0x4000, 4);
    rig.dma.reset(ResetKind::System);
    rig.dma.request(2, true);
    rig.outb(0x0a, 0x02);
    CHECK_FALSE(rig.dma.granted(2));
    rig.dma.open_cascade();
    CHECK(rig.dma.granted(2));
    CHECK(rig.inb(0x81) == 0);
}

TEST_CASE("a move beyond memory is dropped and ends") {
    Rig rig;
    rig.set_up(0x46, 0xff0000, 0x10000);
    rig.dma.request(2, true);
    CHECK(rig.dma.to_memory(2, Bytes(0x10000, 1)).terminal_count);
}
