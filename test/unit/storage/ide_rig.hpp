// SPDX-License-Identifier: GPL-2.0-or-later
// A PIIX3 IDE controller on a port bus, and the habits of a guest's driver.
#pragma once

#include "devmodel/backends/block/memory_backend.hpp"
#include "devmodel/devices/storage/ata_disk.hpp"
#include "devmodel/devices/storage/atapi_cdrom.hpp"
#include "devmodel/devices/storage/piix_ide.hpp"
#include "devmodel/machine/flat_memory.hpp"

#include <numeric>

namespace escalus::test {

using Bytes = std::vector<std::uint8_t>;

/// Bytes that tell sectors, and places in them, apart.
inline Bytes pattern(std::size_t size, unsigned seed = 0) {
    Bytes bytes(size);
    for (std::size_t i = 0; i < size; ++i)
        bytes[i] = static_cast<std::uint8_t>((i * 7 + i / 512 * 13 + i / 131072) ^ seed);
    return bytes;
}

class CountingIrq final : public IrqSink {
  public:
    void set_irq(unsigned, bool level_now) override {
        level = level_now;
        edges += level_now ? 1 : 0;
    }
    bool level = false;
    unsigned edges = 0;
};

struct IdeRig {
    Bus ports{"port", 0x10000};
    Bus memory_bus{"memory", std::uint64_t{1} << 40};
    FlatMemory memory{4 << 20};
    std::array<CountingIrq, 2> irq;
    PiixIde ide{{ports, memory_bus}, memory, IrqLine{irq[0], 14}, IrqLine{irq[1], 15}};

    static constexpr std::uint16_t primary = 0x1f0, secondary = 0x170, bus_master = 0xc000;
    static constexpr std::uint8_t busy = 0x80, ready = 0x40, drq = 0x08, err = 0x01;

    /// What SeaBIOS does before it probes: BARs, bus master, decode enable of both channels.
    void power_on() {
        ide.reset(ResetKind::PowerOn);
        config_write(0x20, 4, bus_master);
        config_write(0x04, 2, 5);
        config_write(0x40, 2, 0x8000);
        config_write(0x42, 2, 0x8000);
        ide.start();
    }
    MemoryBackend& add_disk(unsigned channel, unsigned unit, std::size_t sectors, bool read_only = false) {
        auto backend = std::make_unique<MemoryBackend>(sectors * 512, read_only);
        backend->bytes = pattern(sectors * 512);
        auto& ref = *backend;
        ide.attach(channel, unit, std::make_unique<AtaDisk>(std::move(backend)));
        return ref;
    }
    AtapiCdrom& add_cdrom(unsigned channel, unsigned unit, std::unique_ptr<BlockBackend> medium) {
        auto drive = std::make_unique<AtapiCdrom>(std::move(medium));
        auto& ref = *drive;
        ide.attach(channel, unit, std::move(drive));
        return ref;
    }

    void config_write(unsigned offset, unsigned width, std::uint32_t value) {
        std::array<std::uint8_t, 4> bytes{};
        for (unsigned i = 0; i < 4; ++i)
            bytes[i] = static_cast<std::uint8_t>(value >> (8 * i));
        ide.config_write(offset, std::span{bytes}.first(width));
    }
    std::uint32_t config_read(unsigned offset, unsigned width) {
        std::array<std::uint8_t, 4> bytes{};
        ide.config_read(offset, std::span{bytes}.first(width));
        return std::accumulate(bytes.rbegin(), bytes.rend(), 0u, [](auto a, auto b) { return a << 8 | b; });
    }

    std::uint8_t inb(unsigned port) {
        std::uint8_t value = 0;
        ports.read(port, {&value, 1});
        return value;
    }
    void outb(unsigned port, unsigned value) {
        const auto byte = static_cast<std::uint8_t>(value);
        ports.write(port, {&byte, 1});
    }
    void outl(unsigned port, std::uint32_t value) {
        for (unsigned i = 0; i < 4; ++i)
            outb(port + i, value >> (8 * i) & 0xff);
    }
    Bytes insw(unsigned port, std::size_t bytes, unsigned width = 2) {
        Bytes data(bytes);
        ports.read_repeated(port, width, data);
        return data;
    }
    void outsw(unsigned port, std::span<const std::uint8_t> data, unsigned width = 2) {
        ports.write_repeated(port, width, data);
    }
    [[nodiscard]] static unsigned control(unsigned base) { return base + 0x206; }

    // Commands.
    void lba28(unsigned base, unsigned unit, std::uint32_t lba, unsigned count) {
        outb(base + 6, 0xe0 | unit << 4 | (lba >> 24 & 0xf));
        outb(base + 2, count);
        outb(base + 3, lba & 0xff);
        outb(base + 4, lba >> 8 & 0xff);
        outb(base + 5, lba >> 16 & 0xff);
    }
    void lba48(unsigned base, unsigned unit, std::uint64_t lba, unsigned count) {
        outb(base + 6, 0x40 | unit << 4);
        outb(base + 2, count >> 8);
        outb(base + 3, lba >> 24 & 0xff);
        outb(base + 4, lba >> 32 & 0xff);
        outb(base + 5, lba >> 40 & 0xff);
        outb(base + 2, count & 0xff);
        outb(base + 3, lba & 0xff);
        outb(base + 4, lba >> 8 & 0xff);
        outb(base + 5, lba >> 16 & 0xff);
    }
    void command(unsigned base, unsigned code) { outb(base + 7, code); }
    std::uint8_t status(unsigned base) { return inb(base + 7); }

    /// PACKET by PIO as a careful driver does it; returns all data. Checks the phases as it goes through
    /// them, and leaves the last status in `last_status`.
    Bytes packet(unsigned base, unsigned unit, std::vector<std::uint8_t> cdb, unsigned limit = 0xfffe,
                 std::span<const std::uint8_t> out = {});
    std::uint8_t last_status = 0;
    unsigned blocks = 0;

    /// Sense key << 16 | code << 8 | qualifier.
    unsigned sense(unsigned base, unsigned unit) {
        const auto data = packet(base, unit, {0x03, 0, 0, 0, 18});
        return data.size() == 18 ? unsigned{data[2]} << 16 | unsigned{data[12]} << 8 | data[13] : 0xffffffff;
    }

    // Bus master.
    struct Prd {
        std::uint32_t address;
        std::uint32_t bytes;
    };
    void prd_table(std::uint32_t at, std::initializer_list<Prd> table) {
        std::size_t i = 0;
        for (const auto& prd : table) {
            store32(at, prd.address);
            store32(at + 4, (prd.bytes & 0xffff) | (++i == table.size() ? 0x80000000u : 0));
            at += 8;
        }
    }
    void store32(std::uint32_t at, std::uint32_t value) {
        for (unsigned i = 0; i < 4; ++i)
            memory.bytes()[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
    }
    [[nodiscard]] Bytes guest_bytes(std::size_t at, std::size_t size) {
        const auto view = memory.bytes().subspan(at, size);
        return {view.begin(), view.end()};
    }
};

} // namespace escalus::test
