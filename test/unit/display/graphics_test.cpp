// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/unit/display/vga_guest.hpp"

#include <catch2/catch.hpp>

using namespace escalus;

namespace {
std::uint32_t pixel(const Picture& p, unsigned x, unsigned y) {
    return p.pixels.at(std::size_t{y} * p.width + x);
}
std::uint32_t dac(unsigned i) {
    const auto wide = [](unsigned v) { return v << 2 | v >> 4; };
    return wide(i & 63) << 16 | wide(63 - (i & 63));
}
constexpr std::uint64_t window = 0xa0000;
} // namespace

TEST_CASE("mode 13h is plain memory, each pixel two dots by two lines") {
    VgaGuest g;
    g.set_mode(mode_13h);
    for (unsigned i = 0; i < 8; ++i)
        g.poke(window + i, 0);
    g.traps = 0;
    g.poke(window + 320 * 10 + 33, 5);
    g.poke(window + 63999, 6);
    CHECK(g.traps == 0);
    Picture p;
    CHECK(g.vga.refresh(p) == std::vector{Rect{0, 0, 640, 400}});
    CHECK(pixel(p, 66, 20) == dac(5));
    CHECK(pixel(p, 67, 21) == dac(5));
    CHECK(pixel(p, 68, 20) == dac(0));
    CHECK(pixel(p, 639, 399) == dac(6));
    g.poke(window + 320 * 100, 9);
    CHECK(g.vga.refresh(p) == std::vector{Rect{0, 200, 2, 2}});
    CHECK(g.vga.refresh(p).empty());
    g.colour(9, 63, 63, 63); // a palette change shows without a memory write
    CHECK(g.vga.refresh(p) == std::vector{Rect{0, 200, 2, 2}});
    CHECK(pixel(p, 0, 200) == 0xffffff);
    CHECK(g.vga.text().columns == 0);
}

TEST_CASE("what reaches video memory behind the guest's back (DMA) is shown within two seconds") {
    VgaGuest g;
    g.set_mode(mode_13h);
    for (unsigned i = 0; i < 8; ++i)
        g.poke(window + i, 0);
    Picture p;
    g.vga.refresh(p);
    const auto* mapping = g.map.find(window);
    REQUIRE(mapping != nullptr);
    mapping->region->bytes()[320] = 7;
    g.clock.advance(ns_per_second * 2);
    CHECK(g.vga.refresh(p) == std::vector{Rect{0, 2, 2, 2}});
    CHECK(g.vga.refresh(p).empty());
}

TEST_CASE("mode X: unchained planes, page flip, split and panning") {
    VgaGuest g;
    g.set_mode(mode_13h);
    g.sequencer(4, 0x06);
    g.crtc(0x14, 0x00);
    g.crtc(0x17, 0xe3);
    const auto plot = [&](unsigned page, unsigned x, unsigned y, std::uint8_t c) {
        g.sequencer(2, static_cast<std::uint8_t>(1u << (x & 3)));
        g.poke(window + page + y * 80 + x / 4, c);
    };
    plot(0, 6, 3, 11);
    plot(0x4000, 7, 3, 12);
    Picture p;
    g.vga.refresh(p);
    CHECK(pixel(p, 12, 6) == dac(11));
    CHECK(pixel(p, 14, 6) == dac(0));
    g.crtc(0x0c, 0x40);
    g.vga.refresh(p);
    CHECK(pixel(p, 12, 6) == dac(0));
    CHECK(pixel(p, 14, 6) == dac(12));
    g.attribute(0x13, 2); // one pixel to the left
    g.vga.refresh(p);
    CHECK(pixel(p, 12, 6) == dac(12));
    // Split at line 199: below it, page 0, not panned.
    g.attribute(0x10, 0x61);
    g.crtc(0x18, 199);
    g.crtc(7, 0x0f);
    g.crtc(9, 0x01);
    g.vga.refresh(p);
    CHECK(pixel(p, 12, 200 + 6) == dac(11));
}

TEST_CASE("16 colours: write modes, read modes, latches, masks") {
    VgaGuest g;
    g.set_mode(mode_12h);
    const auto plane = [&](unsigned i, std::uint64_t at) {
        g.graphics(5, 0);
        g.graphics(4, static_cast<std::uint8_t>(i));
        return g.peek(at);
    };
    const auto planes = [&](std::uint64_t at) {
        return std::array{plane(0, at), plane(1, at), plane(2, at), plane(3, at)};
    };
    using Planes = std::array<std::uint8_t, 4>;

    SECTION("mode 0: map mask, set/reset, rotate, logical operations, bit mask") {
        g.sequencer(2, 0x5);
        g.poke(window, 0x81);
        CHECK(planes(window) == Planes{0x81, 0, 0x81, 0});
        g.sequencer(2, 0xf);
        g.graphics(0, 0x6);
        g.graphics(1, 0x3); // planes 0 and 1 from set/reset
        g.graphics(3, 0x01);
        g.poke(window, 0x03); // rotated: 0x81
        CHECK(planes(window) == Planes{0x00, 0xff, 0x81, 0x81});
        g.graphics(1, 0);
        g.graphics(3, 0x18); // xor with the latches
        g.graphics(8, 0x0f);
        g.peek(window);
        g.poke(window, 0xff);
        CHECK(planes(window) == Planes{0x0f, 0xf0, 0x8e, 0x8e});
        g.graphics(3, 0x08); // and
        g.peek(window);
        g.poke(window, 0x3c);
        CHECK(planes(window) == Planes{0x0c, 0xf0, 0x8c, 0x8c});
        g.graphics(3, 0x10); // or
        g.peek(window);
        g.poke(window, 0x03);
        CHECK(planes(window) == Planes{0x0f, 0xf3, 0x8f, 0x8f});
    }
    SECTION("mode 1 copies latches") {
        g.sequencer(2, 0x9);
        g.poke(window + 5, 0x77);
        g.sequencer(2, 0xf);
        g.peek(window + 5);
        g.graphics(5, 1);
        g.poke(window + 500, 0);
        CHECK(planes(window + 500) == Planes{0x77, 0, 0, 0x77});
    }
    SECTION("mode 2 draws a colour under the bit mask, read mode 1 finds it") {
        g.graphics(5, 2);
        g.graphics(8, 0x18);
        g.peek(window + 9);
        g.poke(window + 9, 0x0a);
        CHECK(planes(window + 9) == Planes{0, 0x18, 0, 0x18});
        g.graphics(5, 8);
        g.graphics(2, 0x0a);
        g.graphics(7, 0x0f);
        CHECK(g.peek(window + 9) == 0x18);
        g.graphics(2, 0x08);
        g.graphics(7, 0x0d); // plane 1 does not matter
        CHECK(g.peek(window + 9) == 0x18);
        Picture p;
        g.vga.refresh(p);
        CHECK(pixel(p, 75, 0) == dac(0x3a)); // colour 10 through the palette
        CHECK(pixel(p, 74, 0) == dac(0));
    }
    SECTION("mode 3 ands the data with the bit mask and draws set/reset") {
        g.graphics(0, 0x0c);
        g.graphics(5, 3);
        g.graphics(8, 0xf8);
        g.peek(window + 80);
        g.poke(window + 80, 0x1f);
        CHECK(planes(window + 80) == Planes{0, 0, 0x18, 0x18});
    }
    SECTION("drawing stays trapped, and does not touch the mapping") {
        g.graphics(8, 0x80);
        g.map.changes = 0;
        for (unsigned i = 0; i < 1000; ++i) {
            g.peek(window + i);
            g.poke(window + i, 0xff);
        }
        CHECK(g.map.changes == 0);
        Picture p;
        g.vga.refresh(p);
        CHECK(p.width == 640);
        CHECK(p.height == 480);
        CHECK(pixel(p, 8, 0) == dac(0x3f));
        CHECK(pixel(p, 9, 0) == dac(0));
        g.peek(window + 80 * 300);
        g.poke(window + 80 * 300, 0xff);
        CHECK(g.vga.refresh(p) == std::vector{Rect{0, 300, 1, 1}});
    }
}

TEST_CASE("CGA modes: two interleaved banks") {
    VgaGuest g;
    Picture p;
    SECTION("four colours") {
        g.set_mode(mode_04h);
        for (unsigned i = 0; i < 8; ++i)
            g.poke(0xb8000 + i, 0);
        g.poke(0xb8000 + 80 + 1, 0x1b); // line 2, pixels 4-7: 0 1 2 3
        g.poke(0xb8000 + 0x2000, 0xc0); // line 1, pixel 0: 3
        CHECK(g.map.find(0xb8000) != nullptr);
        g.vga.refresh(p);
        CHECK(p.width == 640);
        CHECK(p.height == 400);
        CHECK(pixel(p, 8, 4) == dac(0x00));
        CHECK(pixel(p, 10, 4) == dac(0x13));
        CHECK(pixel(p, 12, 4) == dac(0x15));
        CHECK(pixel(p, 15, 5) == dac(0x17));
        CHECK(pixel(p, 0, 2) == dac(0x17));
        CHECK(pixel(p, 0, 0) == dac(0));
        CHECK(g.vga.text().columns == 0);
    }
    SECTION("two colours") {
        g.set_mode(mode_06h);
        g.poke(0xb8000 + 79, 0x01);
        g.poke(0xb8000 + 0x2000 + 80, 0x80); // line 3
        g.vga.refresh(p);
        CHECK(pixel(p, 639, 0) == dac(0x17));
        CHECK(pixel(p, 638, 0) == dac(0));
        CHECK(pixel(p, 0, 6) == dac(0x17));
        CHECK(pixel(p, 0, 7) == dac(0x17));
        CHECK(pixel(p, 0, 8) == dac(0));
    }
}

TEST_CASE("a blanked screen is black and keeps its size") {
    VgaGuest g;
    g.set_mode(mode_13h);
    g.poke(window, 40);
    Picture p;
    g.vga.refresh(p);
    g.sequencer(1, 0x21);
    CHECK(g.vga.refresh(p) == std::vector{Rect{0, 0, 640, 400}});
    CHECK(pixel(p, 0, 0) == 0);
    g.sequencer(1, 0x01);
    g.vga.refresh(p);
    CHECK(pixel(p, 0, 0) == dac(40));
}

TEST_CASE("retrace can be waited for, however slowly the guest polls") {
    VgaGuest g;
    g.set_mode(mode_03h);
    g.in8(0x3da);
    unsigned retraces = 0;
    const GuestTime step = 900'000; // 0.9 ms: some fifteen polls a frame
    for (unsigned i = 0; i < 1000; ++i) {
        g.clock.advance(step);
        retraces += (g.in8(0x3da) & 8) != 0;
    }
    CHECK(retraces >= 60); // 900 ms of 70 Hz
    CHECK(retraces <= 64 + 6);
    // And with fast polling there are stretches of display, blank and retrace.
    unsigned shown = 0, blank = 0, retrace = 0;
    for (unsigned i = 0; i < 20000; ++i) {
        g.clock.advance(1000);
        const auto s = g.in8(0x3da) & 9;
        (s == 0 ? shown : s == 1 ? blank : retrace)++;
    }
    CHECK(shown > 10000);
    CHECK(blank > 3000);
    CHECK(retrace > 50);
    CHECK(retrace < 300);
}

TEST_CASE("register protocols: CRTC protection, address select, DAC, attribute flip-flop") {
    VgaGuest g;
    g.set_mode(mode_03h); // CRTC 0x11 has bit 7 set
    g.crtc(0, 0x11);
    g.out8(0x3d4, 0);
    CHECK(g.in8(0x3d5) == 0x5f);
    g.crtc(7, 0x00);
    g.out8(0x3d4, 7);
    CHECK(g.in8(0x3d5) == 0x0f); // only line compare bit 8
    CHECK(g.in8(0x3b5) == 0xff);
    g.out8(0x3c2, 0x66);
    CHECK(g.in8(0x3d5) == 0xff);
    CHECK(g.in8(0x3b5) == 0x0f);
    CHECK(g.in8(0x3cc) == 0x66);
    g.colour(200, 1, 2, 3);
    g.out8(0x3c7, 200);
    CHECK(g.in8(0x3c7) == 3);
    CHECK(g.in8(0x3c9) == 1);
    CHECK(g.in8(0x3c9) == 2);
    CHECK(g.in8(0x3c9) == 3);
    CHECK(g.in8(0x3c9) == (201 & 63));
    g.out8(0x3c2, 0x67);
    g.attribute(0x10, 0x0c);
    g.in8(0x3da);
    g.out8(0x3c0, 0x30);
    CHECK(g.in8(0x3c0) == 0x30);
    CHECK(g.in8(0x3c1) == 0x0c);
}

TEST_CASE("every port and every address of the window takes anything") {
    VgaGuest g;
    g.place_bars();
    std::uint32_t random = 1;
    const auto next = [&] { return random = random * 1664525 + 1013904223; };
    Picture p;
    for (unsigned round = 0; round < 30000; ++round) {
        switch (next() >> 29) {
        case 0:
            g.poke(window + (next() >> 8) % 0x20000, static_cast<std::uint8_t>(next() >> 24));
            break;
        case 1:
            g.peek(window + (next() >> 8) % 0x20000);
            break;
        case 2:
            g.vbe((next() >> 24) % 13, static_cast<std::uint16_t>(next() >> 16));
            break;
        case 3:
            g.in8(0x3b0 + (next() >> 24) % 0x30);
            break;
        default:
            g.out16(0x3b0 + (next() >> 24) % 0x30, static_cast<std::uint16_t>(next() >> 16));
            break;
        }
        if (round % 200 == 0) {
            g.vga.refresh(p);
            CHECK(p.pixels.size() == std::size_t{p.width} * p.height);
            CHECK(p.pixels.size() <= 2560u * 1600u);
            CHECK(g.vga.text().rows <= 2048);
        }
    }
}
