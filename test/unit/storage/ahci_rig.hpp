// SPDX-License-Identifier: GPL-2.0-or-later
// An AHCI controller on a memory bus, and the habits of a guest's driver (as Linux' libahci has them).
#pragma once

#include "devmodel/devices/storage/ahci.hpp"
#include "devmodel/devices/storage/atapi_cdrom.hpp"
#include "devmodel/machine/little_endian.hpp"
#include "test/unit/storage/ide_rig.hpp"

namespace escalus::test {

struct AhciRig {
    static constexpr std::uint32_t bar = 0xfe000000, io_bar = 0xc040;
    static constexpr std::uint32_t list = 0x1000, fis = 0x2000, tables = 0x4000, table_bytes = 0x400;
    static constexpr std::uint32_t target = 0x100000;

    Bus ports{"port", 0x10000};
    Bus memory_bus{"memory", std::uint64_t{1} << 40};
    FlatMemory memory{8 << 20};
    CountingIrq irq;
    struct Message {
        std::uint64_t address;
        std::uint32_t data;
    };
    std::vector<Message> messages;
    Ahci ahci{{ports, memory_bus}, memory};

    struct Region {
        std::uint64_t address;
        std::uint32_t bytes;
    };

    void power_on() {
        ahci.connect_intx(IrqLine{irq, 0});
        ahci.connect_messages([this](std::uint64_t a, std::uint32_t d) { messages.push_back({a, d}); });
        ahci.reset(ResetKind::PowerOn);
        config_write(0x24, 4, bar);
        config_write(0x20, 4, io_bar);
        config_write(0x04, 2, 7);
        ahci.start();
    }
    MemoryBackend& add_disk(unsigned port, std::size_t sectors, bool read_only = false) {
        auto backend = std::make_unique<MemoryBackend>(sectors * 512, read_only);
        backend->bytes = pattern(sectors * 512);
        auto& ref = *backend;
        ahci.attach(port, std::make_unique<AtaDisk>(std::move(backend)));
        return ref;
    }

    void config_write(unsigned offset, unsigned width, std::uint32_t value) {
        std::array<std::uint8_t, 4> bytes{};
        store_le(bytes, 0, value);
        ahci.config_write(offset, std::span{bytes}.first(width));
    }
    std::uint32_t config_read(unsigned offset, unsigned width) {
        std::array<std::uint8_t, 4> bytes{};
        ahci.config_read(offset, std::span{bytes}.first(width));
        return load_le<std::uint32_t>(bytes);
    }
    std::uint32_t get(unsigned offset) {
        std::array<std::uint8_t, 4> bytes{};
        memory_bus.read(bar + offset, bytes);
        return load_le<std::uint32_t>(bytes);
    }
    void put(unsigned offset, std::uint32_t value) {
        std::array<std::uint8_t, 4> bytes{};
        store_le(bytes, 0, value);
        memory_bus.write(bar + offset, bytes);
    }
    static unsigned reg(unsigned port, unsigned offset) { return 0x100 + 0x80 * port + offset; }
    std::uint32_t port_get(unsigned offset, unsigned port = 0) { return get(reg(port, offset)); }
    void port_put(unsigned offset, std::uint32_t value, unsigned port = 0) { put(reg(port, offset), value); }

    /// Structures, frames, interrupts, and ST.
    void start_port(unsigned port = 0) {
        port_put(ahci::port_clb, list, port);
        port_put(ahci::port_clbu, 0, port);
        port_put(ahci::port_fb, fis, port);
        port_put(ahci::port_serr, ~0u, port);
        port_put(ahci::port_is, ~0u, port);
        port_put(ahci::port_ie, ~0u, port);
        port_put(ahci::port_cmd, ahci::cmd_fis_receive | ahci::cmd_start, port);
        put(ahci::reg_is, ~0u);
        put(ahci::reg_ghc, ahci::ghc_ahci | ahci::ghc_interrupts);
    }
    void stop_port(unsigned port = 0) { port_put(ahci::port_cmd, ahci::cmd_fis_receive, port); }

    struct Frame {
        std::uint8_t code = 0;
        std::uint64_t lba = 0;
        unsigned count = 0, feature = 0;
        std::uint8_t device = 0x40;
    };
    /// Command header and table of a slot.
    void prepare(unsigned slot, const Frame& frame, const std::vector<Region>& regions, bool write = false,
                 std::vector<std::uint8_t> packet = {}) {
        const auto table = tables + slot * table_bytes;
        auto m = memory.bytes();
        const auto flags = 5u | (write ? 0x40u : 0u) | (packet.empty() ? 0u : 0x20u) |
                           static_cast<std::uint32_t>(regions.size() << 16);
        store_le<std::uint32_t>(m, list + slot * 32, flags);
        store_le<std::uint32_t>(m, list + slot * 32 + 4, 0);
        store_le<std::uint64_t>(m, list + slot * 32 + 8, table);
        const std::array<std::uint8_t, 20> bytes{0x27,
                                                 0x80,
                                                 frame.code,
                                                 static_cast<std::uint8_t>(frame.feature),
                                                 static_cast<std::uint8_t>(frame.lba),
                                                 static_cast<std::uint8_t>(frame.lba >> 8),
                                                 static_cast<std::uint8_t>(frame.lba >> 16),
                                                 frame.device,
                                                 static_cast<std::uint8_t>(frame.lba >> 24),
                                                 static_cast<std::uint8_t>(frame.lba >> 32),
                                                 static_cast<std::uint8_t>(frame.lba >> 40),
                                                 static_cast<std::uint8_t>(frame.feature >> 8),
                                                 static_cast<std::uint8_t>(frame.count),
                                                 static_cast<std::uint8_t>(frame.count >> 8)};
        std::ranges::copy(bytes, m.begin() + table);
        packet.resize(16);
        std::ranges::copy(packet, m.begin() + table + 0x40);
        for (std::size_t i = 0; i < regions.size(); ++i) {
            store_le<std::uint64_t>(m, table + 0x80 + 16 * i, regions[i].address);
            store_le<std::uint32_t>(m, table + 0x80 + 16 * i + 12, regions[i].bytes - 1);
        }
    }
    void queued(unsigned slot, bool write, std::uint64_t lba, unsigned sectors,
                const std::vector<Region>& regions, std::uint8_t device = 0x40) {
        prepare(slot,
                {.code = static_cast<std::uint8_t>(write ? 0x61 : 0x60),
                 .lba = lba,
                 .count = slot << 3,
                 .feature = sectors,
                 .device = device},
                regions, write);
        port_put(ahci::port_sact, 1u << slot);
    }
    void issue(std::uint32_t slots, unsigned port = 0) { port_put(ahci::port_ci, slots, port); }

    [[nodiscard]] Bytes guest_bytes(std::size_t at, std::size_t size) {
        const auto view = memory.bytes().subspan(at, size);
        return {view.begin(), view.end()};
    }
    std::uint32_t prdbc(unsigned slot) {
        return load_le<std::uint32_t>(memory.bytes(), list + slot * 32 + 4);
    }
};

} // namespace escalus::test
