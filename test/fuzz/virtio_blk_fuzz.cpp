// SPDX-License-Identifier: GPL-2.0-or-later
// A hostile guest at the virtio disk: the input is a program of register accesses through all BARs, ring and
// descriptor contents, late completions and resets. Nothing may crash, hang, or touch memory that is not the
// guest's.
#include "devmodel/backends/block/memory_backend.hpp"
#include "devmodel/devices/virtio/virtio_blk.hpp"
#include "devmodel/devices/virtio/virtio_pci.hpp"
#include "devmodel/machine/flat_memory.hpp"
#include "devmodel/machine/little_endian.hpp"
#include "devmodel/machine/manual_clock.hpp"
#include "test/fuzz/fuzz_input.hpp"

namespace {
using namespace escalus;
using fuzz::Input;

constexpr std::uint32_t io = 0xc000, msix = 0xfe000000, modern = 0xfe004000, memory_bytes = 256 * 1024;
constexpr std::uint32_t ring = 0x4000, data = 0x8000;
constexpr unsigned entries = 8;

struct Machine {
    Machine() {
        card.connect_messages([](std::uint64_t, std::uint32_t) {});
        power_on();
    }
    void power_on() {
        card.reset(ResetKind::System);
        config(0x10, io);
        config(0x14, msix);
        config(0x20, modern);
        config(0x04, 7);
    }
    void config(unsigned offset, std::uint32_t value) {
        std::array<std::uint8_t, 4> bytes{};
        store_le(bytes, 0, value);
        card.config_write(offset, bytes);
    }
    void common(unsigned offset, unsigned width, std::uint64_t value) {
        std::array<std::uint8_t, 8> bytes{};
        store_some(bytes, value);
        memory_bus.write(modern + offset, std::span{bytes}.first(width));
    }
    /// As a driver does it, with features that the input chooses.
    void start(std::uint8_t features) {
        common(20, 1, 0);
        common(8, 4, 0);
        common(12, 4,
               (features & 1u) << 29 | 1u << 28 | (features & 2u) << 8 | 0x6000u | (features & 4u) << 9);
        common(8, 4, 1);
        common(12, 4, 1);
        common(20, 1, 11);
        for (unsigned n = 0; n < 2; ++n) {
            common(22, 2, n);
            common(24, 2, entries);
            common(32, 8, ring + n * 0x1000);
            common(40, 8, ring + n * 0x1000 + 0x100);
            common(48, 8, ring + n * 0x1000 + 0x200);
            common(28, 2, 1);
        }
        common(20, 1, 15);
    }
    /// A request that means something, but for what the input says.
    void request(Input& in) {
        constexpr std::array<std::uint32_t, 8> types{0, 1, 4, 8, 11, 13, 0, 1};
        const auto n = in.byte() & 1u, parts = in.byte() % 4u;
        const auto base = ring + n * 0x1000;
        const auto type = types[in.byte() & 7];
        auto m = memory.bytes();
        store_le<std::uint32_t>(m, data, type);
        store_le<std::uint64_t>(m, data + 8, in.byte());
        const auto put = [&](unsigned i, std::uint64_t address, std::uint32_t bytes, unsigned flags) {
            store_le<std::uint64_t>(m, base + 16 * i, address);
            store_le<std::uint32_t>(m, base + 16 * i + 8, bytes);
            store_le<std::uint16_t>(m, base + 16 * i + 12, static_cast<std::uint16_t>(flags));
            store_le<std::uint16_t>(m, base + 16 * i + 14, static_cast<std::uint16_t>(i + 1));
        };
        put(0, data, 16, 1);
        for (unsigned i = 1; i <= parts; ++i)
            put(i, data + in.byte() * 256u, in.byte() * (in.byte() & 1 ? 512u : 16u),
                1 | (type == 0 || type == 8 ? 2u : 0u));
        put(parts + 1, data + 0x20, 1, 2);
        const auto index = load_le<std::uint16_t>(m, base + 0x102);
        store_le<std::uint16_t>(m, base + 0x104 + 2 * (index % entries), 0);
        store_le<std::uint16_t>(m, base + 0x102, static_cast<std::uint16_t>(index + 1));
        common(0x3000 + 4 * n, 2, n);
    }
    void step(Input& in) {
        const auto op = in.byte(), selector = in.byte();
        const unsigned width = 1u << (op >> 4 & 3);
        std::array<std::uint8_t, 8> bytes{};
        switch (op & 15) {
        case 0:
        case 1:
            common(selector & 63, width, in.dword());
            break;
        case 2:
            store_le(bytes, 0, in.dword());
            ports.write(io + (selector & 127), std::span{bytes}.first(std::min(width, 4u)));
            break;
        case 3:
            store_le(bytes, 0, in.dword());
            memory_bus.write(msix + selector * 8u, std::span{bytes}.first(width));
            memory_bus.read(msix + selector * 16u, std::span{bytes}.first(width));
            break;
        case 4:
            memory_bus.read(modern + (op >> 6) * 0x1000u + selector, std::span{bytes}.first(width));
            ports.read(io + (selector & 127), std::span{bytes}.first(std::min(width, 4u)));
            break;
        case 5:
        case 6:
        case 7:
            request(in);
            break;
        case 8: // what rings and descriptors hold
        case 9:
            store_le<std::uint32_t>(memory.bytes(), ring + (op >> 7) * 0x1000u + selector * 4u, in.dword());
            break;
        case 10:
            backend->deferred = (selector & 1) != 0;
            break;
        case 11:
            backend->complete_one();
            clock.advance(1);
            break;
        case 12: {
            const auto value = in.byte();
            card.config_write(selector, {&value, 1});
            card.config_read(selector & 0xfc, std::span{bytes}.first(4));
            break;
        }
        case 13:
            if ((selector & 7) == 0)
                power_on();
            else if ((selector & 7) == 1)
                card.pause();
            else if ((selector & 7) == 2)
                card.resume();
            else
                start(in.byte());
            break;
        case 14:
            backend->bad_offset = in.byte() * 512u;
            break;
        default:
            common(0x3000 + 4 * (selector & 3u), 2, selector & 3u);
        }
    }

    Bus ports{"port", 0x10000};
    Bus memory_bus{"memory", std::uint64_t{1} << 40};
    FlatMemory memory{memory_bytes};
    ManualClock clock;
    std::unique_ptr<MemoryBackend> owned = std::make_unique<MemoryBackend>(700 * 512);
    MemoryBackend* backend = owned.get();
    VirtioPci card{
        {ports, memory_bus}, memory, std::make_unique<VirtioBlk>(clock, std::move(owned), "fuzz", 2)};
};
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    return fuzz::run<Machine>(bytes, size);
}
