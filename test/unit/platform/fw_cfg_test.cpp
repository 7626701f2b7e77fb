// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/fw_cfg.hpp"
#include "devmodel/machine/flat_memory.hpp"
#include "test/unit/platform/port_rig.hpp"

#include <string>

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

namespace {
using Bytes = std::vector<std::uint8_t>;
constexpr std::uint32_t error = 1, do_read = 2, skip = 4, choose = 8, do_write = 16;

struct Rig : PortRig {
    std::uint32_t big(std::uint64_t address) {
        return static_cast<std::uint32_t>(ram.bytes()[address] << 24 | ram.bytes()[address + 1] << 16 |
                                          ram.bytes()[address + 2] << 8 | ram.bytes()[address + 3]);
    }
    void put_big(std::uint64_t address, std::uint64_t value, unsigned width) {
        for (unsigned i = 0; i < width; ++i)
            ram.bytes()[address + i] = static_cast<std::uint8_t>(value >> (8 * (width - 1 - i)));
    }
    static std::uint32_t swapped(std::uint32_t value) { return __builtin_bswap32(value); }
    /// Runs one DMA transfer and gives the control word the device left.
    std::uint32_t dma(std::uint32_t control, std::uint32_t length, std::uint64_t address) {
        put_big(0x100, control, 4);
        put_big(0x104, length, 4);
        put_big(0x108, address, 8);
        outl(0x514, 0);
        outl(0x518, swapped(0x100));
        return big(0x100);
    }
    Bytes read_item(std::uint16_t key, std::size_t count) {
        outw(0x510, key);
        Bytes bytes(count);
        ports.read_repeated(0x511, 1, bytes);
        return bytes;
    }
    FlatMemory ram{0x10000};
    FwCfg fw_cfg{ports, ram};
};
} // namespace

TEST_CASE("signature, features and items by the traditional interface") {
    Rig rig;
    rig.fw_cfg.add_u16(0x05, 3);
    CHECK(rig.read_item(0x00, 4) == Bytes{'Q', 'E', 'M', 'U'});
    CHECK(rig.read_item(0x01, 4) == Bytes{3, 0, 0, 0});
    rig.outw(0x510, 0x05);
    CHECK(rig.inb(0x511) == 3);
    CHECK(rig.inb(0x511) == 0);
    CHECK(rig.inb(0x511) == 0); // beyond the end
    CHECK(rig.read_item(0x7777, 2) == Bytes{0, 0});
    rig.outb(0x511, 0x55); // data writes do nothing
    CHECK(rig.read_item(0x05, 2) == Bytes{3, 0});
}

TEST_CASE("the file directory lists names, sizes and keys, big-endian") {
    Rig rig;
    rig.fw_cfg.add_file("etc/b", Bytes(300, 0x42));
    rig.fw_cfg.add_file("etc/a", {1, 2, 3});
    const auto directory = rig.read_item(0x19, 4 + 2 * 64);
    CHECK(Bytes(directory.begin(), directory.begin() + 4) == Bytes{0, 0, 0, 2});
    CHECK(Bytes(directory.begin() + 4, directory.begin() + 8) == Bytes{0, 0, 0, 3});
    CHECK(std::string(directory.begin() + 12, directory.begin() + 18) == std::string("etc/a\0", 6));
    const auto key = static_cast<std::uint16_t>(directory[8] << 8 | directory[9]);
    CHECK(key >= 0x20);
    CHECK(rig.read_item(key, 4) == Bytes{1, 2, 3, 0});
    CHECK(Bytes(directory.begin() + 68, directory.begin() + 72) == Bytes{0, 0, 1, 44});
    rig.fw_cfg.set_file("etc/a", {9});
    CHECK(rig.read_item(key, 2) == Bytes{9, 0});
    CHECK(rig.read_item(0x19, 8).back() == 1);
    CHECK_THROWS_AS(rig.fw_cfg.add_file("etc/a", {}), std::invalid_argument);
    CHECK_THROWS_AS(rig.fw_cfg.add_file("", {}), std::invalid_argument);
    CHECK_THROWS_AS(rig.fw_cfg.add_file(std::string(56, 'x'), {}), std::invalid_argument);
    CHECK_THROWS_AS(rig.fw_cfg.add_item(0x00, {}), std::invalid_argument);
    CHECK_THROWS_AS(rig.fw_cfg.add_item(0x20, {}), std::invalid_argument);
}

TEST_CASE("DMA reads, skips and selects") {
    Rig rig;
    rig.fw_cfg.add_item(0x10, {10, 11, 12, 13, 14, 15});
    CHECK(rig.inl(0x514) == Rig::swapped(0x51454d55)); // "QEMU CFG"
    CHECK(rig.inl(0x518) == Rig::swapped(0x20434647));
    CHECK(rig.dma(0x10u << 16 | choose | do_read, 2, 0x200) == 0);
    CHECK(rig.ram.bytes()[0x200] == 10);
    CHECK(rig.ram.bytes()[0x201] == 11);
    CHECK(rig.ram.bytes()[0x202] == 0);
    CHECK(rig.dma(skip, 1, 0) == 0);
    std::ranges::fill(rig.ram.bytes().subspan(0x200, 8), std::uint8_t{0xee});
    CHECK(rig.dma(do_read, 6, 0x200) == 0); // three bytes, and zeroes beyond
    CHECK(Bytes(rig.ram.bytes().begin() + 0x200, rig.ram.bytes().begin() + 0x207) ==
          Bytes{13, 14, 15, 0, 0, 0, 0xee});
    CHECK(rig.inb(0x511) == 0);
    CHECK(rig.dma(skip, 0xffffffff, 0) == 0);
    CHECK(rig.dma(do_read, 4, 0x200) == 0);
    // A 64-bit address in one write.
    rig.put_big(0x100, 0x00u << 16 | choose | do_read, 4);
    rig.out<std::uint64_t>(0x514, __builtin_bswap64(0x100));
    CHECK(rig.big(0x100) == 0);
}

TEST_CASE("DMA to or from where no memory is fails and says so") {
    Rig rig;
    rig.fw_cfg.add_item(0x10, Bytes(100, 7));
    for (const std::uint64_t address :
         {std::uint64_t{0xffff}, std::uint64_t{0x10000}, ~std::uint64_t{0}, std::uint64_t{1} << 63})
        CHECK(rig.dma(0x10u << 16 | choose | do_read, 100, address) == error);
    CHECK(rig.dma(0x10u << 16 | choose | do_read, 0xffffffff, 0x8000) == error);
    // A descriptor outside memory: nothing happens.
    rig.outl(0x514, 0xffffffff);
    rig.outl(0x518, 0xffffffff);
    rig.outl(0x514, 0);
    rig.outl(0x518, Rig::swapped(0xfff8));
}

TEST_CASE("the guest writes only files that allow it, by DMA and within them") {
    Rig rig;
    Bytes seen;
    std::uint64_t at = 0;
    rig.fw_cfg.add_file("read-only", {1, 2, 3, 4});
    rig.fw_cfg.add_file("writable", {0, 0, 0, 0},
                        [&](std::uint64_t offset, std::uint64_t, std::span<const std::uint8_t> content) {
                            at = offset;
                            seen.assign(content.begin(), content.end());
                        });
    std::ranges::copy(Bytes{5, 6, 7, 8}, rig.ram.bytes().begin() + 0x300);
    CHECK(rig.dma(0x20u << 16 | choose | do_write, 4, 0x300) == error);
    CHECK(rig.dma(0x21u << 16 | choose | do_write, 5, 0x300) == error);
    CHECK(rig.dma(0x21u << 16 | choose | do_write, 4, 0xfffffff0) == error);
    CHECK(rig.dma(0x7777u << 16 | choose | do_write, 0, 0x300) == error);
    CHECK(seen.empty());
    CHECK(rig.dma(0x21u << 16 | choose | skip, 1, 0) == 0);
    CHECK(rig.dma(do_write, 2, 0x300) == 0);
    CHECK(at == 1);
    CHECK(seen == Bytes{0, 5, 6, 0});
    CHECK(rig.fw_cfg.file("read-only")[0] == 1);
}

TEST_CASE("no access pattern upsets the device") {
    Rig rig;
    std::uint32_t random = 7;
    const auto next = [&random] { return random = random * 1664525 + 1013904223; };
    for (int i = 0; i < 50'000; ++i) {
        const auto port = static_cast<std::uint16_t>(0x510 + next() % 12);
        for (auto& byte : rig.ram.bytes().subspan(0x100, 16))
            byte = static_cast<std::uint8_t>(next() >> 24);
        switch (next() >> 30) {
        case 0:
            rig.outl(port, next() >> 16 << 24);
            break;
        case 1:
            rig.outw(port, static_cast<std::uint16_t>(next() >> 16));
            break;
        case 2:
            rig.out<std::uint64_t>(0x514, __builtin_bswap64(0x100));
            break;
        default:
            rig.inl(port);
        }
    }
    rig.fw_cfg.reset(ResetKind::System);
    CHECK(rig.inb(0x511) == 'Q');
}
