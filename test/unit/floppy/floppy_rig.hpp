// SPDX-License-Identifier: GPL-2.0-or-later
// A floppy controller beside its DMA controllers on a port bus, and the habits of a driver.
#pragma once

#include "devmodel/backends/block/memory_backend.hpp"
#include "devmodel/devices/chipset/i8237.hpp"
#include "devmodel/devices/storage/floppy_controller.hpp"
#include "devmodel/machine/flat_memory.hpp"
#include "devmodel/machine/manual_clock.hpp"

#include <initializer_list>
#include <vector>

#include <catch2/catch.hpp>

namespace escalus::test {

using Bytes = std::vector<std::uint8_t>;

inline Bytes sector_pattern(unsigned number, std::size_t size = 512) {
    Bytes bytes(size);
    for (std::size_t i = 0; i < size; ++i)
        bytes[i] = static_cast<std::uint8_t>(number * 5 + (number >> 8) + i * 3 + i / 256);
    return bytes;
}

class Irq6 final : public IrqSink {
  public:
    void set_irq(unsigned, bool now) override {
        level = now;
        edges += now ? 1 : 0;
    }
    bool level = false;
    unsigned edges = 0;
};

struct FloppyRig {
    static constexpr std::uint32_t buffer = 0x10000;

    ManualClock clock;
    Bus ports{"ports", 0x10000};
    FlatMemory ram{0x100000};
    Irq6 irq;
    I8237Pair dma{ports, ram};
    FloppyController floppy{clock, ports, IrqLine{irq, 6}, DmaLine{dma, 2}};
    MemoryBackend* disk = nullptr;

    /// Drive A with a disk of so many KB; the drive is the one that such an image gets.
    explicit FloppyRig(unsigned kib = 1440, bool read_only = false) {
        auto medium = make_disk(kib, read_only);
        disk = medium.get();
        floppy.attach(0, floppy_format(medium->size())->drive);
        floppy.insert(0, std::move(medium));
        dma.reset(ResetKind::PowerOn);
        floppy.reset(ResetKind::PowerOn);
        outb(0xd6, 0xc0);
        outb(0xd4, 0x00);
    }
    static std::unique_ptr<MemoryBackend> make_disk(unsigned kib, bool read_only = false) {
        auto medium = std::make_unique<MemoryBackend>(std::size_t{kib} * 1024, read_only);
        for (unsigned s = 0; s < kib * 2; ++s)
            std::ranges::copy(sector_pattern(s), medium->bytes.begin() + s * 512);
        return medium;
    }

    void outb(unsigned port, unsigned value) {
        const auto byte = static_cast<std::uint8_t>(value);
        ports.write(port, {&byte, 1});
    }
    std::uint8_t inb(unsigned port) {
        std::uint8_t byte = 0;
        ports.read(port, {&byte, 1});
        return byte;
    }
    void wait() { clock.advance(2'000'000); }

    /// Out of reset, motors on, rate set, as a driver begins; the four answers to the poll are taken.
    void start(unsigned rate = 0) {
        outb(0x3f2, 0x00);
        outb(0x3f2, 0x1c);
        wait();
        for (unsigned unit = 0; unit < 4; ++unit)
            REQUIRE(command({0x08}) == Bytes{static_cast<std::uint8_t>(0xc0 | unit), 0});
        outb(0x3f7, rate);
        REQUIRE(command({0x03, 0xdf, 0x02}).empty()); // SPECIFY, with DMA
        irq.edges = 0;
    }
    void send(std::initializer_list<unsigned> bytes) {
        for (const auto byte : bytes) {
            REQUIRE((inb(0x3f4) & 0xc0) == 0x80);
            outb(0x3f5, byte);
        }
    }
    Bytes result() {
        Bytes bytes;
        while ((inb(0x3f4) & 0xd0) == 0xd0 && bytes.size() < 20)
            bytes.push_back(inb(0x3f5));
        return bytes;
    }
    Bytes command(std::initializer_list<unsigned> bytes) {
        send(bytes);
        return result();
    }
    /// SEEK or RECALIBRATE, and what SENSE INTERRUPT STATUS says at its end.
    Bytes seek(unsigned cylinder, unsigned unit = 0) {
        send({0x0f, unit, cylinder});
        wait();
        return command({0x08});
    }
    Bytes recalibrate(unsigned unit = 0) {
        send({0x07, unit});
        wait();
        return command({0x08});
    }
    void channel2(unsigned mode, unsigned bytes, std::uint32_t address = buffer) {
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
    void into_memory(unsigned bytes) { channel2(0x46, bytes); }
    void out_of_memory(unsigned bytes) { channel2(0x4a, bytes); }
    Bytes memory(std::size_t bytes, std::size_t from = 0) {
        const auto piece = ram.bytes().subspan(buffer + from, bytes);
        return {piece.begin(), piece.end()};
    }
    void fill_memory(const Bytes& bytes) { std::ranges::copy(bytes, ram.bytes().begin() + buffer); }
    Bytes on_disk(unsigned sector, std::size_t bytes = 512) const {
        const auto at = disk->bytes.begin() + static_cast<std::ptrdiff_t>(sector) * 512;
        return {at, at + static_cast<std::ptrdiff_t>(bytes)};
    }
};

} // namespace escalus::test
