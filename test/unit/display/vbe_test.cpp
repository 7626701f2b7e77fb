// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/unit/display/vga_guest.hpp"

#include <catch2/catch.hpp>

using namespace escalus;

namespace {
std::uint32_t pixel(const Picture& p, unsigned x, unsigned y) {
    return p.pixels.at(std::size_t{y} * p.width + x);
}
} // namespace

TEST_CASE("the DISPI interface says what it can do") {
    VgaGuest g;
    CHECK(g.vbe(BochsVbe::id) == 0xb0c5);
    g.vbe(BochsVbe::id, 0xb0c2);
    CHECK(g.vbe(BochsVbe::id) == 0xb0c2);
    g.vbe(BochsVbe::id, 0x1234);
    CHECK(g.vbe(BochsVbe::id) == 0xb0c2);
    CHECK(g.vbe(BochsVbe::video_memory_64k) == 256);
    g.vbe(BochsVbe::enable, 2);
    CHECK(g.vbe(BochsVbe::xres) >= 1920);
    CHECK(g.vbe(BochsVbe::yres) >= 1080);
    CHECK(g.vbe(BochsVbe::bpp) == 32);
    CHECK(g.in16(0x1ce) == BochsVbe::bpp);
}

TEST_CASE("every depth shows its pixels from the linear frame buffer") {
    VgaGuest g;
    g.place_bars();
    const auto put = [&](std::uint64_t at, std::initializer_list<unsigned> bytes) {
        for (auto b : bytes)
            g.poke(lfb + at++, static_cast<std::uint8_t>(b));
    };
    Picture p;
    SECTION("32, at 1920x1080") {
        g.set_vbe(1920, 1080, 32);
        put((1079ull * 1920 + 1919) * 4, {0x33, 0x22, 0x11, 0});
        CHECK(g.vga.refresh(p) == std::vector{Rect{0, 0, 1920, 1080}});
        CHECK(pixel(p, 1919, 1079) == 0x112233);
        put((500ull * 1920 + 7) * 4, {0xff, 0, 0, 0});
        CHECK(g.vga.refresh(p) == std::vector{Rect{7, 500, 1, 1}});
        CHECK(g.vga.refresh(p).empty());
        CHECK(g.traps == 0);
        CHECK(g.vga.snapshot().pixels == p.pixels);
    }
    SECTION("32, at 2560x1600, the largest") {
        g.set_vbe(2560, 1600, 32);
        put((1599ull * 2560 + 2559) * 4, {0x33, 0x22, 0x11, 0});
        CHECK(g.vga.refresh(p) == std::vector{Rect{0, 0, 2560, 1600}});
        CHECK(pixel(p, 2559, 1599) == 0x112233);
        CHECK(g.traps == 0);
    }
    SECTION("24") {
        g.set_vbe(800, 600, 24);
        put(800 * 3 + 3, {0x33, 0x22, 0x11});
        g.vga.refresh(p);
        CHECK(pixel(p, 1, 1) == 0x112233);
    }
    SECTION("16") {
        g.set_vbe(800, 600, 16);
        put(2, {0xe0, 0xff});
        g.vga.refresh(p);
        CHECK(pixel(p, 1, 0) == 0xffff00);
    }
    SECTION("15") {
        g.set_vbe(800, 600, 15);
        put(2, {0x1f, 0x7c});
        g.vga.refresh(p);
        CHECK(pixel(p, 1, 0) == 0xff00ff);
    }
    SECTION("8, with a 6- and an 8-bit DAC") {
        g.set_vbe(640, 480, 8);
        put(640 * 479, {0x80});
        g.colour(0x80, 0x3f, 0x20, 0);
        g.vga.refresh(p);
        CHECK(pixel(p, 0, 479) == 0xff8200);
        g.set_vbe(640, 480, 8, 0x41 | 0x20 | 0x80); // contents kept
        g.colour(0x80, 0x12, 0x34, 0xff);
        g.vga.refresh(p);
        CHECK(pixel(p, 0, 479) == 0x1234ff);
    }
    SECTION("4: planes through the window") {
        g.set_mode(mode_12h);
        g.set_vbe(800, 600, 4);
        g.sequencer(2, 0x0f);
        for (unsigned i = 0; i < 256; ++i)
            g.colour(static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(i), 0, 0);
        g.graphics(5, 2);
        g.graphics(8, 0x40);
        g.peek(0xa0000 + 100 * 599);
        g.poke(0xa0000 + 100 * 599, 0x05);
        g.vga.refresh(p);
        CHECK(p.width == 800);
        CHECK(pixel(p, 1, 599) == 5u << 18);
        CHECK(pixel(p, 2, 599) == 0);
    }
}

TEST_CASE("banks: 64 KiB of the frame buffer at 0xa0000, mapped") {
    VgaGuest g;
    g.set_vbe(1024, 768, 8);
    g.colour(1, 63, 0, 0);
    for (unsigned i = 0; i < 8; ++i)
        g.poke(0xa0000 + i, 0);
    g.map.changes = 0;
    g.traps = 0;
    for (std::uint16_t bank = 0; bank < 12; ++bank) {
        g.vbe(BochsVbe::bank, bank);
        for (unsigned i = 0; i < 0x10000; i += 64)
            g.poke(0xa0000 + i, 1);
    }
    CHECK(g.traps == 0);
    CHECK(g.map.changes <= 12 * 2);
    Picture p;
    g.vga.refresh(p);
    unsigned red = 0;
    for (auto c : p.pixels)
        red += c == 0xff0000;
    CHECK(red == 1024 * 768 / 64);
    g.vbe(BochsVbe::bank, 5);
    g.poke(0xa0000 + 1, 1);
    g.vbe(BochsVbe::bank, 0); // what was written through the old bank is not forgotten
    CHECK(g.vga.refresh(p) == std::vector{Rect{1, 320, 1, 1}});
    g.vbe(BochsVbe::bank, 0x4000); // beyond the memory: refused
    CHECK(g.vbe(BochsVbe::bank) == 0);
}

TEST_CASE("a larger virtual screen pans, within the memory") {
    VgaGuest g;
    g.place_bars();
    g.set_vbe(640, 480, 32);
    g.vbe(BochsVbe::virt_width, 1024);
    CHECK(g.vbe(BochsVbe::virt_width) == 1024);
    CHECK(g.vbe(BochsVbe::virt_height) == (16u << 20) / 4096);
    g.poke(lfb + (100ull * 1024 + 200) * 4, 0xff);
    g.vbe(BochsVbe::x_offset, 200);
    g.vbe(BochsVbe::y_offset, 100);
    Picture p;
    g.vga.refresh(p);
    CHECK(pixel(p, 0, 0) == 0xff);
    g.vbe(BochsVbe::x_offset, 0xffff);
    CHECK(g.vbe(BochsVbe::x_offset) == 1024 - 640);
    g.vbe(BochsVbe::y_offset, 0xffff);
    CHECK(g.vbe(BochsVbe::y_offset) == 4096 - 480);
    g.vga.refresh(p);
    g.vbe(BochsVbe::virt_width, 0xffff); // too wide for the memory
    CHECK(g.vbe(BochsVbe::virt_width) == 640);
    g.vga.refresh(p);
}

TEST_CASE("switching on clears the screen unless told otherwise; small memory shortens it") {
    VgaGuest g{VgaConfig{.memory_bytes = 1u << 20, .bios = {}, .ram_end = 0}};
    g.place_bars();
    g.poke(lfb, 0x55);
    g.set_vbe(640, 400, 32, 0x41 | 0x80);
    CHECK(g.peek(lfb) == 0x55);
    g.set_vbe(640, 400, 32);
    CHECK(g.peek(lfb) == 0);
    g.set_vbe(1920, 1080, 32);
    CHECK(g.vbe(BochsVbe::yres) == (1u << 20) / (1920 * 4));
    Picture p;
    g.vga.refresh(p);
    CHECK(p.height == g.vbe(BochsVbe::yres));
}

TEST_CASE("the PCI function: identity, BARs, registers, ROM") {
    std::vector<std::uint8_t> bios(38 * 1024);
    bios[0] = 0x55;
    bios[1] = 0xaa;
    bios[37 * 1024] = 0x77;
    VgaConfig config;
    config.bios = bios;
    config.ram_end = 0x40000000;
    CHECK(Vga::region_bytes(config) == (16u << 20) + 64 * 1024);
    VgaGuest g{config};
    CHECK(g.config_read32(0) == 0x11111234);
    CHECK(g.config_read32(8) >> 8 == 0x030000);
    g.config_write32(0x10, 0xffffffff);
    CHECK(g.config_read32(0x10) == 0xff000008);
    g.config_write32(0x18, 0xffffffff);
    CHECK(g.config_read32(0x18) == 0xfffff000);
    g.config_write32(0x30, 0xfffff800);
    CHECK(g.config_read32(0x30) == 0xffff0000);
    CHECK(g.map.mappings.empty());
    g.place_bars();
    REQUIRE(g.map.mappings.size() == 1);
    CHECK(g.map.find(lfb)->size == 16u << 20);

    g.config_write32(0x30, 0xfeb00001);
    REQUIRE(g.map.find(0xfeb00000) != nullptr);
    CHECK(g.map.find(0xfeb00000)->access == Access::RX);
    CHECK(g.peek(0xfeb00000 + 37 * 1024) == 0x77);
    g.config_write32(0x30, 0);
    CHECK(g.map.find(0xfeb00000) == nullptr);

    // A frame buffer over RAM would take the RAM's place: it is not mapped.
    g.config_write32(0x10, 0x1000000);
    CHECK(g.map.mappings.empty());
    g.config_write32(0x10, lfb);
    CHECK(g.map.find(lfb) != nullptr);

    const auto mmio16 = [&](unsigned offset, std::uint16_t value) {
        const std::array<std::uint8_t, 2> bytes{static_cast<std::uint8_t>(value),
                                                static_cast<std::uint8_t>(value >> 8)};
        g.memory.write(mmio + offset, bytes);
    };
    std::array<std::uint8_t, 2> id{};
    g.memory.read(mmio + 0x500, id);
    CHECK((id[0] | id[1] << 8) == 0xb0c5);
    Edid edid{};
    g.memory.read(mmio, edid);
    CHECK(edid == make_edid(16 << 20));
    mmio16(0, 0x1234); // which nobody can write to
    g.memory.read(mmio, edid);
    CHECK(edid == make_edid(16 << 20));
    mmio16(0x500 + 2, 800);
    mmio16(0x500 + 4, 600);
    mmio16(0x500 + 6, 32);
    mmio16(0x500 + 8, 0x41);
    const std::uint8_t palette_on = 0x20;
    g.memory.write(mmio + 0x400, std::span{&palette_on, 1});
    g.poke(lfb, 0x42);
    Picture p;
    g.vga.refresh(p);
    CHECK(p.width == 800);
    CHECK(p.height == 600);
    CHECK(pixel(p, 0, 0) == 0x42);

    g.vga.reset(ResetKind::System);
    CHECK(g.map.mappings.empty());
    g.vga.refresh(p);
    CHECK(p.width == 720);
}

TEST_CASE("impossible configurations are refused") {
    VgaConfig config;
    config.memory_bytes = 3u << 20;
    CHECK_THROWS_AS(VgaGuest{config}, std::invalid_argument);
    config.memory_bytes = 16u << 20;
    config.bios = std::vector<std::uint8_t>(1024, 0);
    CHECK_THROWS_AS(VgaGuest{config}, std::invalid_argument);
}
