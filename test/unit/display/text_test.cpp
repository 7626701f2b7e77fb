// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/unit/display/vga_guest.hpp"

#include <catch2/catch.hpp>

using namespace escalus;

namespace {
constexpr std::uint64_t text_at = 0xb8000;

/// Text mode with a font in which character c has the byte c in each of its 16 lines.
struct TextGuest : VgaGuest {
    TextGuest() {
        set_mode(mode_03h);
        load_font([](unsigned c) { return static_cast<std::uint8_t>(c); });
        for (unsigned i = 0; i < 80 * 25; ++i)
            poke(text_at + 2 * i, " ", 0x07);
        traps = 0;
        map.changes = 0;
    }
    /// As SeaBIOS' VGA BIOS does it.
    template <typename F>
    void load_font(F byte_of) {
        sequencer(0, 1);
        sequencer(2, 4);
        sequencer(4, 7);
        sequencer(0, 3);
        graphics(4, 2);
        graphics(5, 0);
        graphics(6, 4);
        for (unsigned c = 0; c < 256; ++c)
            for (unsigned line = 0; line < 16; ++line)
                poke(0xa0000 + c * 32 + line, byte_of(c));
        sequencer(0, 1);
        sequencer(2, 3);
        sequencer(4, 2);
        sequencer(0, 3);
        graphics(4, 0);
        graphics(5, 0x10);
        graphics(6, 0x0e);
    }
    std::uint32_t dac(unsigned i) const {
        const auto wide = [](unsigned v) { return v << 2 | v >> 4; };
        return wide(i) << 16 | wide(63 - i);
    }
};
std::uint32_t pixel(const Picture& p, unsigned x, unsigned y) {
    return p.pixels.at(std::size_t{y} * p.width + x);
}
} // namespace

TEST_CASE("text is drawn without exits, and read back as text") {
    TextGuest g;
    g.poke(text_at, "Hello, \x9b", 0x1f);
    CHECK(g.traps == 0);
    CHECK(g.map.changes == 0);
    const auto text = g.vga.text();
    CHECK(text.columns == 80);
    CHECK(text.rows == 25);
    REQUIRE(text.lines.size() == 25);
    CHECK(text.lines[0].substr(0, 9) == "Hello, \xc2\xa2");
    CHECK(text.lines[24] == std::string(80, ' '));
}

TEST_CASE("text is drawn with its font, colours and nine dots") {
    TextGuest g;
    g.poke(text_at + 2, "\xa5", 0x1e); // 1010 0101, yellow on blue
    g.poke(text_at + 4, "\xc1", 0x07); // 1100 0001, line graphics: the eighth dot is doubled
    Picture p;
    const auto rects = g.vga.refresh(p);
    REQUIRE(rects == std::vector{Rect{0, 0, 720, 400}});
    const auto fg = g.dac(0x3e), bg = g.dac(0x01);
    for (unsigned y = 0; y < 16; ++y)
        for (unsigned x = 0; x < 9; ++x)
            CHECK(pixel(p, 9 + x, y) == (x < 8 && (0xa5 >> (7 - x) & 1) != 0 ? fg : bg));
    CHECK(pixel(p, 18 + 7, 3) == g.dac(0x07));
    CHECK(pixel(p, 18 + 8, 3) == g.dac(0x07));
    CHECK(pixel(p, 9 + 3, 16) == g.dac(0));
    CHECK(g.vga.snapshot().pixels == p.pixels);

    SECTION("a change redraws the cells that changed") {
        CHECK(g.vga.refresh(p).empty());
        g.poke(text_at + 2 * (80 * 3 + 10), "abc", 0x07);
        CHECK(g.vga.refresh(p) == std::vector{Rect{90, 48, 27, 16}});
        CHECK(pixel(p, 90 + 1, 48) == g.dac(7)); // 'a' = 0110 0001
        CHECK(pixel(p, 90, 48) == g.dac(0));
    }
    SECTION("the cursor follows its registers and blinks") {
        g.crtc(0x0e, 0);
        g.crtc(0x0f, 85); // row 1, column 5
        g.vga.refresh(p);
        CHECK(pixel(p, 45, 16 + 12) == g.dac(0));
        CHECK(pixel(p, 45, 16 + 13) == g.dac(7));
        CHECK(pixel(p, 45, 16 + 14) == g.dac(7));
        CHECK(pixel(p, 45, 16 + 15) == g.dac(0));
        g.crtc(0x0a, 0x00); // a block
        CHECK(g.vga.refresh(p) == std::vector{Rect{45, 16, 9, 16}});
        CHECK(pixel(p, 45, 16) == g.dac(7));
        CHECK(g.vga.refresh(p).empty());
        g.clock.advance(ns_per_second * 20 / 70);
        CHECK(g.vga.refresh(p) == std::vector{Rect{45, 16, 9, 16}});
        CHECK(pixel(p, 45, 16 + 13) == g.dac(0));
        const auto text = g.vga.text();
        CHECK(text.cursor_visible);
        CHECK(text.cursor_column == 5);
        CHECK(text.cursor_row == 1);
        g.crtc(0x0a, 0x2d); // off
        CHECK_FALSE(g.vga.text().cursor_visible);
    }
    SECTION("attribute bit 7 blinks, or is a bright background") {
        g.poke(text_at, "\xff", 0x94);
        g.vga.refresh(p);
        CHECK(pixel(p, 0, 0) == g.dac(0x04));
        CHECK(pixel(p, 8, 0) == g.dac(0x01));
        g.clock.advance(ns_per_second * 33 / 70);
        g.vga.refresh(p);
        CHECK(pixel(p, 0, 0) == g.dac(0x01));
        g.attribute(0x10, 0x04);
        g.vga.refresh(p);
        CHECK(pixel(p, 0, 0) == g.dac(0x04));
        CHECK(pixel(p, 8, 0) == g.dac(0x39));
    }
    SECTION("eight dots, halved dot clock, underline") {
        g.sequencer(1, 0x01);
        g.crtc(0x14, 0x0f);
        g.poke(text_at + 6, " ", 0x01);
        g.load_font([](unsigned c) { return c == ' ' ? std::uint8_t{0} : static_cast<std::uint8_t>(c); });
        g.vga.refresh(p);
        CHECK(p.width == 640);
        CHECK(pixel(p, 24, 14) == g.dac(0));
        CHECK(pixel(p, 24, 15) == g.dac(1));
        g.sequencer(1, 0x09);
        g.crtc(0x11, 0);
        g.crtc(1, 39);
        g.vga.refresh(p);
        CHECK(p.width == 640);
        CHECK(pixel(p, 16 + 0, 0) == g.dac(0x3e)); // the second cell, 16 dots wide
        CHECK(pixel(p, 16 + 1, 0) == g.dac(0x3e));
        CHECK(pixel(p, 16 + 2, 0) == g.dac(0x01));
        CHECK(g.vga.text().columns == 40);
    }
    SECTION("132 columns, eight-line characters") {
        g.sequencer(1, 0x01);
        g.crtc(0x11, 0);
        g.crtc(1, 131);
        g.crtc(0x13, 66);
        g.crtc(9, 0x47);
        g.poke(text_at + 2 * 132 * 2, "third", 0x07);
        const auto text = g.vga.text();
        CHECK(text.columns == 132);
        CHECK(text.rows == 50);
        CHECK(text.lines[2].substr(0, 5) == "third");
        g.vga.refresh(p);
        CHECK(p.width == 1056);
        CHECK(p.height == 400);
    }
    SECTION("start address scrolls, line compare splits") {
        g.poke(text_at + 2 * 80, "second", 0x07);
        g.crtc(0x0d, 80);
        CHECK(g.vga.text().lines[0].substr(0, 6) == "second");
        g.crtc(0x18, 0xff);
        g.crtc(0x07, 0x0f);
        g.crtc(0x09, 0x0f); // split below line 255
        g.vga.refresh(p);
        CHECK(pixel(p, 9, 256) == fg);                                 // the top of memory again
        CHECK(g.vga.text().lines[16].substr(0, 4) == " \xc3\x91\xe2"); // a5 is N with tilde
    }
}

TEST_CASE("a font load leaves the text as it was, and costs few changes of mapping") {
    TextGuest g;
    g.poke(text_at, "keep me", 0x17);
    g.map.changes = 0;
    g.traps = 0;
    g.load_font([](unsigned c) { return static_cast<std::uint8_t>(~c); });
    CHECK(g.map.changes <= 3);
    CHECK(g.traps < 64); // 4096 bytes were written
    g.poke(text_at + 14, "!!", 0x17);
    for (unsigned i = 0; i < 16; ++i)
        CHECK(g.peek(text_at + i) == (i % 2 != 0 ? 0x17 : static_cast<std::uint8_t>("keep me!"[i / 2])));
    CHECK(g.vga.text().lines[0].substr(0, 9) == "keep me!!");
    Picture p;
    g.vga.refresh(p);
    CHECK(pixel(p, 0, 0) == g.dac(0x07)); // 'k' = 0110 1011, inverted
    CHECK(pixel(p, 1, 0) == g.dac(0x01));
    g.poke(text_at, " ", 0x07);
    CHECK(g.vga.refresh(p) == std::vector{Rect{0, 0, 9, 16}});
}

TEST_CASE("a register excursion without memory accesses changes the mapping at most twice") {
    TextGuest g;
    for (int i = 0; i < 50; ++i) {
        g.sequencer(2, 4);
        g.sequencer(4, 7);
        g.graphics(5, 0);
        g.sequencer(2, 3);
        g.sequencer(4, 2);
        g.graphics(5, 0x10);
    }
    CHECK(g.map.changes <= 1);
    g.poke(text_at, "abcd", 0x07);
    CHECK(g.map.changes <= 3);
    CHECK(g.vga.text().lines[0].substr(0, 4) == "abcd");
}

TEST_CASE("a screen saver in the manner of an X server: planes saved and restored through graphics modes") {
    TextGuest g;
    g.poke(text_at, "saved text", 0x2e);
    std::vector<std::uint8_t> saved;
    const auto planar = [&](unsigned plane) {
        g.sequencer(2, static_cast<std::uint8_t>(1 << plane));
        g.sequencer(4, 6);
        g.graphics(4, static_cast<std::uint8_t>(plane));
        g.graphics(5, 0);
        g.graphics(6, 5);
    };
    for (unsigned plane = 0; plane < 4; ++plane) {
        planar(plane);
        for (unsigned i = 0; i < 0x4000; ++i)
            saved.push_back(g.peek(0xa0000 + i));
    }
    CHECK(g.traps < 200);
    g.set_mode(mode_13h);
    for (unsigned i = 0; i < 0x10000; ++i)
        g.poke(0xa0000 + i, static_cast<std::uint8_t>(i * 7));
    g.set_vbe(1024, 768, 32);
    g.set_mode(mode_12h);
    for (unsigned plane = 0; plane < 4; ++plane) {
        planar(plane);
        for (unsigned i = 0; i < 0x4000; ++i)
            g.poke(0xa0000 + i, saved[plane * 0x4000 + i]);
    }
    g.set_mode(mode_03h);
    CHECK(g.vga.text().lines[0].substr(0, 10) == "saved text");
    for (unsigned i = 0; i < 10; ++i)
        CHECK(g.peek(text_at + 2 * i + 1) == 0x2e);
    CHECK(g.vga.text().lines[24] == std::string(80, ' '));
    Picture p;
    g.vga.refresh(p);
    CHECK(pixel(p, 0, 0) == g.dac(0x02)); // 's' = 0111 0011 with its font
    CHECK(pixel(p, 1, 0) == g.dac(0x3e));
}

TEST_CASE("trapped and mapped text accesses see the same bytes") {
    VgaGuest g;
    g.set_mode(mode_03h);
    for (unsigned i = 0; i < 4; ++i)
        g.poke(text_at + i, static_cast<std::uint8_t>(0x41 + i)); // these trap
    CHECK(g.traps == 4);
    REQUIRE(g.map.find(text_at) != nullptr);
    for (unsigned i = 0; i < 4; ++i)
        CHECK(g.peek(text_at + i) == 0x41 + i);
    std::array<std::uint8_t, 4> wide{};
    g.memory.read(text_at, wide); // as the instruction emulator may
    CHECK(wide == std::array<std::uint8_t, 4>{0x41, 0x42, 0x43, 0x44});
    CHECK(g.vga.text().lines[0].substr(0, 2) == "AC");
    g.out8(0x3c2, 0x65); // RAM off
    CHECK(g.peek(text_at) == 0xff);
    CHECK(g.peek(0xa0000) == 0xff);
}
