// SPDX-License-Identifier: GPL-2.0-or-later
// A virtio disk on its buses, and the habits of a guest's driver, modern and legacy.
#pragma once

#include "devmodel/backends/block/memory_backend.hpp"
#include "devmodel/devices/virtio/virtio_blk.hpp"
#include "devmodel/devices/virtio/virtio_pci.hpp"
#include "devmodel/machine/flat_memory.hpp"
#include "devmodel/machine/little_endian.hpp"
#include "devmodel/machine/manual_clock.hpp"

namespace escalus::test {

using Bytes = std::vector<std::uint8_t>;

inline Bytes pattern(std::size_t size, unsigned seed = 0) {
    Bytes bytes(size);
    for (std::size_t i = 0; i < size; ++i)
        bytes[i] = static_cast<std::uint8_t>((i * 7 + i / 512 * 13 + i / 131072) ^ seed);
    return bytes;
}

/// The driver's side of one split queue of 8 entries.
struct DriverQueue {
    static constexpr unsigned entries = 8;
    FlatMemory& memory;
    std::uint64_t descriptors, available, used;
    std::uint16_t offered = 0, seen = 0;

    struct Part {
        std::uint64_t address;
        std::uint32_t bytes;
        bool write = false;
    };
    void put_descriptor(std::uint64_t table, unsigned i, const Part& part, unsigned flags, unsigned next) {
        auto m = memory.bytes();
        store_le<std::uint64_t>(m, table + 16 * i, part.address);
        store_le<std::uint32_t>(m, table + 16 * i + 8, part.bytes);
        store_le<std::uint16_t>(m, table + 16 * i + 12,
                                static_cast<std::uint16_t>(flags | (part.write ? 2 : 0)));
        store_le<std::uint16_t>(m, table + 16 * i + 14, static_cast<std::uint16_t>(next));
    }
    void link(unsigned first, const std::vector<Part>& parts, std::uint64_t table) {
        for (unsigned i = 0; i < parts.size(); ++i)
            put_descriptor(table, first + i, parts[i], i + 1 < parts.size() ? 1 : 0, first + i + 1);
    }
    void offer(std::uint16_t head) {
        auto m = memory.bytes();
        store_le<std::uint16_t>(m, available + 4 + 2ull * (offered % entries), head);
        store_le<std::uint16_t>(m, available + 2, ++offered);
    }
    void add(unsigned first, const std::vector<Part>& parts) {
        link(first, parts, descriptors);
        offer(static_cast<std::uint16_t>(first));
    }
    [[nodiscard]] std::uint16_t used_index() const {
        return load_le<std::uint16_t>(memory.bytes(), used + 2);
    }
    /// The head and length of the next used element.
    std::pair<std::uint32_t, std::uint32_t> reap() {
        const auto at = used + 4 + 8ull * (seen++ % entries);
        return {load_le<std::uint32_t>(memory.bytes(), at), load_le<std::uint32_t>(memory.bytes(), at + 4)};
    }
};

class Wire final : public IrqSink {
  public:
    void set_irq(unsigned, bool level_now) override {
        level = level_now;
        edges += level_now ? 1 : 0;
    }
    bool level = false;
    unsigned edges = 0;
};

struct VirtioRig {
    static constexpr std::uint32_t io = 0xc000, msix = 0xfe000000, modern = 0xfe004000;
    static constexpr std::uint64_t ring = 0x10000, header = 0x20000, status = 0x20100, target = 0x100000;
    static constexpr std::uint64_t version_1 = 1ull << 32, event_index = 1ull << 29, flush_feature = 1 << 9,
                                   cache_switch = 1 << 11, discard_feature = 1 << 13, zero_feature = 1 << 14;

    explicit VirtioRig(std::size_t sectors = 4096, bool read_only = false, unsigned queues = 2)
        : backend{*new MemoryBackend(sectors * 512, read_only)}, // NOLINT(*-owning-memory): the device's
          card{{ports, memory_bus},
               memory,
               std::make_unique<VirtioBlk>(clock, std::unique_ptr<BlockBackend>{&backend}, "xvda", queues)} {
        backend.bytes = pattern(sectors * 512);
        card.connect_intx(IrqLine{irq, 0});
        card.connect_messages([this](std::uint64_t a, std::uint32_t d) { messages.emplace_back(a, d); });
        power_on();
    }
    void power_on() {
        card.reset(ResetKind::PowerOn);
        config_put(0x10, 4, io);
        config_put(0x14, 4, msix);
        config_put(0x20, 4, modern);
        config_put(0x04, 2, 7);
    }

    void config_put(unsigned offset, unsigned width, std::uint32_t value) {
        std::array<std::uint8_t, 4> bytes{};
        store_le(bytes, 0, value);
        card.config_write(offset, std::span{bytes}.first(width));
    }
    std::uint32_t config_get(unsigned offset, unsigned width) {
        std::array<std::uint8_t, 4> bytes{};
        card.config_read(offset, std::span{bytes}.first(width));
        return load_le<std::uint32_t>(bytes);
    }
    std::uint64_t get(Bus& bus, std::uint64_t address, unsigned width) {
        std::array<std::uint8_t, 8> bytes{};
        bus.read(address, std::span{bytes}.first(width));
        return load_some(bytes);
    }
    void put(Bus& bus, std::uint64_t address, unsigned width, std::uint64_t value) {
        std::array<std::uint8_t, 8> bytes{};
        store_some(bytes, value);
        bus.write(address, std::span{bytes}.first(width));
    }
    std::uint64_t common(unsigned offset, unsigned width) { return get(memory_bus, modern + offset, width); }
    void common(unsigned offset, unsigned width, std::uint64_t value) {
        put(memory_bus, modern + offset, width, value);
    }
    std::uint64_t legacy(unsigned offset, unsigned width) { return get(ports, io + offset, width); }
    void legacy(unsigned offset, unsigned width, std::uint64_t value) {
        put(ports, io + offset, width, value);
    }

    DriverQueue queue(unsigned n = 0) const {
        const auto base = ring + 0x1000ull * n;
        return {const_cast<FlatMemory&>(memory), base, base + 0x100, base + 0x200}; // NOLINT(*-const-cast)
    }
    /// 3.1.1 with these features; false when FEATURES_OK did not stay.
    bool start_modern(std::uint64_t features, unsigned queues = 1) {
        common(20, 1, 0);
        common(20, 1, 1);
        common(20, 1, 3);
        for (unsigned half = 0; half < 2; ++half) {
            common(8, 4, half);
            common(12, 4, features >> (32 * half) & 0xffffffff);
        }
        common(20, 1, 11);
        if ((common(20, 1) & 8) == 0)
            return false;
        for (unsigned n = 0; n < queues; ++n) {
            const auto q = queue(n);
            common(22, 2, n);
            common(24, 2, DriverQueue::entries);
            common(26, 2, n + 1);
            common(32, 4, q.descriptors);
            common(36, 4, 0);
            common(40, 8, q.available);
            common(48, 4, q.used);
            common(52, 4, 0);
            common(28, 2, 1);
        }
        common(20, 1, 15);
        return true;
    }
    void notify(unsigned n = 0) { put(memory_bus, modern + 0x3000 + 4 * n, 2, n); }

    void put_header(std::uint32_t type, std::uint64_t sector, std::uint64_t at = header) {
        auto m = memory.bytes();
        store_le<std::uint32_t>(m, at, type);
        store_le<std::uint32_t>(m, at + 4, 0);
        store_le<std::uint64_t>(m, at + 8, sector);
        m[status] = 0xff;
    }
    std::uint8_t status_byte() { return memory.bytes()[status]; }
    Bytes guest_bytes(std::uint64_t at, std::size_t size) {
        const auto view = memory.bytes().subspan(at, size);
        return {view.begin(), view.end()};
    }
    Bytes image(std::size_t at, std::size_t size) {
        const auto from = backend.bytes.begin() + static_cast<std::ptrdiff_t>(at);
        return {from, from + static_cast<std::ptrdiff_t>(size)};
    }

    Bus ports{"port", 0x10000};
    Bus memory_bus{"memory", std::uint64_t{1} << 40};
    FlatMemory memory{8 << 20};
    ManualClock clock;
    Wire irq;
    std::vector<std::pair<std::uint64_t, std::uint32_t>> messages;
    MemoryBackend& backend;
    VirtioPci card;
};

} // namespace escalus::test
