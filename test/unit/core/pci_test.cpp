// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/pci.hpp"

#include <array>
#include <vector>

#include <catch2/catch.hpp>

using namespace escalus;

namespace {
struct Spaces {
    Bus ports{"port", 0x10000};
    Bus memory{"memory", 1ull << 46};
};

struct Card final : PciFunction {
    explicit Card(Spaces& s)
        : PciFunction{{.vendor = 0x1234,
                       .device = 0x5678,
                       .class_code = 0x010180,
                       .revision = 2,
                       .subsystem_vendor = 0x1af4,
                       .subsystem = 0x1100,
                       .interrupt_pin = 1},
                      {s.ports, s.memory}} {
        declare_bar(0, BarKind::Memory, 0x1000);
        declare_bar(1, BarKind::Io, 32);
        declare_bar(2, BarKind::PrefetchableMemory, 1 << 20, false);
        declare_bar(6, BarKind::Memory, 0x10000, false);
        set_config(0x40, 2, 0x00ff);
        set_writable(0x40, 1, 0xff);
        set_write_one_to_clear(0x41, 1, 0x0f);
        reset(ResetKind::PowerOn);
    }
    [[nodiscard]] std::string_view name() const override { return "card"; }
    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override {
        std::ranges::fill(data, static_cast<std::uint8_t>(region * 16 + offset));
    }
    void write(unsigned, std::uint64_t, std::span<const std::uint8_t>) override {}
    void bar_moved(unsigned index, std::optional<std::uint64_t> address) override {
        moves.emplace_back(index, address);
    }
    void set_status(std::uint8_t value) { set_config(0x41, 1, value); }
    std::vector<std::pair<unsigned, std::optional<std::uint64_t>>> moves;
};

std::uint32_t read(PciFunction& f, unsigned offset, unsigned width = 4) {
    std::array<std::uint8_t, 4> b{};
    f.config_read(offset, std::span{b}.first(width));
    return static_cast<std::uint32_t>(b[0] | b[1] << 8 | b[2] << 16) | std::uint32_t{b[3]} << 24;
}
void write(PciFunction& f, unsigned offset, std::uint32_t value, unsigned width = 4) {
    const std::array<std::uint8_t, 4> b{
        static_cast<std::uint8_t>(value), static_cast<std::uint8_t>(value >> 8),
        static_cast<std::uint8_t>(value >> 16), static_cast<std::uint8_t>(value >> 24)};
    f.config_write(offset, std::span{b}.first(width));
}
} // namespace

TEST_CASE("identity is there and read-only") {
    Spaces s;
    Card card{s};
    write(card, 0, 0xffffffff);
    write(card, 8, 0xffffffff);
    write(card, 0x2c, 0xffffffff);
    CHECK(read(card, 0) == 0x56781234);
    CHECK(read(card, 8) == 0x01018002);
    CHECK(read(card, 0x2c) == 0x11001af4);
    CHECK(read(card, 0x3d, 1) == 1);
}

TEST_CASE("BARs are sized, decode when enabled, and move") {
    Spaces s;
    Card card{s};
    write(card, 0x10, 0xffffffff);
    write(card, 0x14, 0xffffffff);
    write(card, 0x18, 0xffffffff);
    CHECK(read(card, 0x10) == 0xfffff000);
    CHECK(read(card, 0x14) == 0xffffffe1);
    CHECK(read(card, 0x18) == 0xfff00008);
    CHECK(read(card, 0x1c) == 0); // no such BAR
    write(card, 0x10, 0xfeb00000);
    write(card, 0x14, 0xc000);
    std::array<std::uint8_t, 1> b{};
    CHECK_FALSE(s.memory.read(0xfeb00010, b));
    write(card, 4, 3, 2);
    CHECK(s.memory.read(0xfeb00004, b));
    CHECK(b[0] == 4);
    CHECK(s.ports.read(0xc001, b));
    CHECK(b[0] == 17);
    write(card, 0x10, 0xfec80000);
    CHECK_FALSE(s.memory.read(0xfeb00004, b));
    CHECK(s.memory.read(0xfec80004, b));
    write(card, 4, 0, 2);
    CHECK_FALSE(s.memory.read(0xfec80004, b));
    CHECK_FALSE(s.ports.read(0xc001, b));
}

TEST_CASE("sizing with decoding enabled claims nothing") {
    Spaces s;
    Card card{s};
    write(card, 4, 3, 2);
    write(card, 0x10, 0xffffffff);
    std::array<std::uint8_t, 1> b{};
    CHECK_FALSE(s.memory.read(0xfffff000, b));
}

TEST_CASE("two functions programmed to one address: the first keeps it, no crash") {
    Spaces s;
    Card a{s}, b{s};
    for (Card* card : {&a, &b}) {
        write(*card, 0x10, 0xfeb00000);
        write(*card, 4, 2, 2);
    }
    std::array<std::uint8_t, 1> byte{};
    CHECK(s.memory.read(0xfeb00000, byte));
    write(b, 4, 0, 2); // the second, which never decoded, lets go of nothing
    CHECK(s.memory.read(0xfeb00000, byte));
}

TEST_CASE("a ROM needs its own enable bit; BARs off the bus are only reported") {
    Spaces s;
    Card card{s};
    card.moves.clear();
    write(card, 4, 2, 2);
    write(card, 0x30, 0xfea00000);
    CHECK(card.moves.empty());
    write(card, 0x30, 0xfea00001);
    REQUIRE(card.moves.size() == 1);
    CHECK(card.moves[0].first == 6);
    CHECK(card.moves[0].second == 0xfea00000);
    write(card, 0x18, 0xe0000000);
    REQUIRE(card.moves.size() == 2);
    CHECK(card.moves[1].second == 0xe0000000);
}

TEST_CASE("write-one-to-clear, and reset to power-on values") {
    Spaces s;
    Card card{s};
    card.set_status(0x0f);
    write(card, 0x41, 0x05, 1);
    CHECK(read(card, 0x41, 1) == 0x0a);
    write(card, 0x40, 0x12, 1);
    write(card, 0x10, 0xfeb00000);
    write(card, 4, 2, 2);
    card.reset(ResetKind::System);
    CHECK(read(card, 0x40, 2) == 0x00ff);
    CHECK(read(card, 0x10) == 0);
    std::array<std::uint8_t, 1> b{};
    CHECK_FALSE(s.memory.read(0xfeb00000, b));
}

TEST_CASE("the bus finds functions, and ones where there are none") {
    Spaces s;
    Card card{s};
    PciBus bus;
    bus.plug(3, 1, card);
    CHECK_THROWS_AS(bus.plug(3, 1, card), BusConflict);
    std::array<std::uint8_t, 4> b{};
    bus.config_read(0, 3, 1, 0, b);
    CHECK(b == std::array<std::uint8_t, 4>{0x34, 0x12, 0x78, 0x56});
    bus.config_read(0, 3, 0, 0, b);
    CHECK(b[0] == 0xff);
    bus.config_read(1, 3, 1, 0, b);
    CHECK(b[0] == 0xff);
    bus.config_read(0, 3, 1, 254, b); // would run over the end
    CHECK(b[0] == 0xff);
    bus.config_write(0, 3, 1, 254, b);
}

TEST_CASE("an expansion ROM is read where its BAR is, once enabled") {
    Spaces s;
    struct WithRom final : PciFunction {
        explicit WithRom(Spaces& spaces)
            : PciFunction{{.vendor = 1, .device = 2}, {spaces.ports, spaces.memory}} {}
        [[nodiscard]] std::string_view name() const override { return "rom"; }
        void read(unsigned, std::uint64_t, std::span<std::uint8_t>) override {
            FAIL("the ROM is no register");
        }
        void write(unsigned, std::uint64_t, std::span<const std::uint8_t>) override {
            FAIL("nor is it written");
        }
    };
    WithRom card{s};
    std::vector<std::uint8_t> image(5000, 0x11);
    image[0] = 0x55;
    image[1] = 0xaa;
    image[4999] = 0x77;
    card.set_rom(image);
    card.reset(ResetKind::PowerOn);
    write(card, 0x30, 0xfffffffe);
    CHECK(read(card, 0x30) == 0xffffe000); // the next power of two
    write(card, 0x30, 0xfea00000);
    write(card, 4, 2, 2);
    std::array<std::uint8_t, 2> b{};
    CHECK_FALSE(s.memory.read(0xfea00000, b));
    write(card, 0x30, 0xfea00001);
    CHECK(s.memory.read(0xfea00000, b));
    CHECK(b == std::array<std::uint8_t, 2>{0x55, 0xaa});
    CHECK(s.memory.read(0xfea00000 + 4999, b));
    CHECK(b == std::array<std::uint8_t, 2>{0x77, 0xff}); // padding
    s.memory.write(0xfea00000, b);
    CHECK(s.memory.read(0xfea00000, b));
    CHECK(b[0] == 0x55);
    write(card, 0x30, 0xfea00000);
    CHECK_FALSE(s.memory.read(0xfea00000, b));
}

TEST_CASE("without a ROM there is no register for one") {
    Spaces s;
    struct Bare final : PciFunction {
        explicit Bare(Spaces& spaces)
            : PciFunction{{.vendor = 1, .device = 2}, {spaces.ports, spaces.memory}} {}
        [[nodiscard]] std::string_view name() const override { return "bare"; }
        void read(unsigned, std::uint64_t, std::span<std::uint8_t>) override {}
        void write(unsigned, std::uint64_t, std::span<const std::uint8_t>) override {}
    };
    Bare card{s};
    card.set_rom({});
    card.reset(ResetKind::PowerOn);
    write(card, 0x30, 0xffffffff);
    CHECK(read(card, 0x30) == 0);
}

TEST_CASE("a ROM for another card is made to name its own, and adds up to 0 again") {
    Spaces s;
    struct Card final : PciFunction {
        explicit Card(Spaces& spaces)
            : PciFunction{{.vendor = 0x10ec, .device = 0x8029}, {spaces.ports, spaces.memory}} {}
        [[nodiscard]] std::string_view name() const override { return "card"; }
        void read(unsigned, std::uint64_t, std::span<std::uint8_t>) override {}
        void write(unsigned, std::uint64_t, std::span<const std::uint8_t>) override {}
    };
    std::vector<std::uint8_t> image(2048, 0x11);
    const auto put = [&](std::size_t at, std::initializer_list<std::uint8_t> bytes) {
        std::copy(bytes.begin(), bytes.end(), image.begin() + static_cast<std::ptrdiff_t>(at));
    };
    put(0, {0x55, 0xaa, 2}); // 1 KiB, and another image behind it
    put(0x18, {0x20, 0});
    put(0x20, {'P', 'C', 'I', 'R', 0xf4, 0x1a, 0x41, 0x10});
    const auto bytes_with = [&](const std::vector<std::uint8_t>& rom) {
        Card card{s};
        card.set_rom(rom);
        card.reset(ResetKind::PowerOn);
        write(card, 0x30, 0xfea00001);
        write(card, 4, 2, 2);
        std::vector<std::uint8_t> seen(rom.size());
        for (std::size_t i = 0; i < seen.size(); ++i)
            CHECK(s.memory.read(0xfea00000 + i, std::span{seen}.subspan(i, 1)));
        return seen;
    };
    const auto seen = bytes_with(image);
    CHECK(std::vector(seen.begin() + 0x24, seen.begin() + 0x28) ==
          std::vector<std::uint8_t>{0xec, 0x10, 0x29, 0x80});
    unsigned sum = 0;
    for (unsigned i = 0; i < 1024; ++i)
        sum += seen[i];
    CHECK(sum % 256 == 0);
    CHECK(std::equal(seen.begin() + 1024, seen.end(), image.begin() + 1024));

    // What is none, or says that it is longer than it is, stays as it is.
    image[2] = 5;
    CHECK(bytes_with(image) == image);
    image[2] = 2;
    put(0x18, {0xff, 0xff});
    CHECK(bytes_with(image) == image);
    put(0x18, {0x20, 0});
    image[0x20] = 'p';
    CHECK(bytes_with(image) == image);
}
