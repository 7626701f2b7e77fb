// SPDX-License-Identifier: GPL-2.0-or-later
// A hostile guest at the AHCI controller: the input is a program of register accesses, structures in memory,
// late completions and resets. Nothing may crash, hang, or touch memory that is not the guest's.
#include "devmodel/backends/block/memory_backend.hpp"
#include "devmodel/devices/storage/ahci.hpp"
#include "devmodel/devices/storage/ata_disk.hpp"
#include "devmodel/devices/storage/atapi_cdrom.hpp"
#include "devmodel/machine/flat_memory.hpp"
#include "devmodel/machine/little_endian.hpp"
#include "test/fuzz/fuzz_input.hpp"

namespace {
using namespace escalus;
using fuzz::Input;

constexpr std::uint32_t bar = 0xfe000000, io_bar = 0xc000, memory_bytes = 256 * 1024;
constexpr std::uint32_t list = 0x400, frames = 0x800, tables = 0x1000;

struct Machine {
    Machine() {
        const auto add = [&](unsigned port, bool cdrom, std::size_t size) {
            auto backend = std::make_unique<MemoryBackend>(size, cdrom);
            backends.push_back(backend.get());
            if (cdrom)
                ahci.attach(port, std::make_unique<AtapiCdrom>(std::move(backend)));
            else
                ahci.attach(port, std::make_unique<AtaDisk>(std::move(backend)));
        };
        add(0, false, 700 * 512);
        add(1, true, 300 * 2048 + 100);
        ahci.connect_messages([](std::uint64_t, std::uint32_t) {});
        power_on();
    }
    void power_on() {
        ahci.reset(ResetKind::System);
        config(0x20, io_bar);
        config(0x24, bar);
        config(0x04, 7);
        for (unsigned port = 0; port < 2; ++port) {
            put(port, ahci::port_clb, list);
            put(port, ahci::port_fb, frames);
            put(port, ahci::port_ie, ~0u);
            put(port, ahci::port_cmd, ahci::cmd_fis_receive | ahci::cmd_start);
        }
    }
    void config(unsigned offset, std::uint32_t value) {
        std::array<std::uint8_t, 4> data{};
        store_le(data, 0, value);
        ahci.config_write(offset, data);
    }
    void put(unsigned port, unsigned reg, std::uint32_t value) {
        std::array<std::uint8_t, 4> data{};
        store_le(data, 0, value);
        memory_bus.write(bar + 0x100 + 0x80 * port + reg, data);
    }
    /// A command that means something, but for what the input says.
    void command(Input& in) {
        const unsigned slot = in.byte() & 3, port = in.byte() & 1, table = tables + slot * 0x400;
        const auto regions = in.byte() & 7u;
        auto m = memory.bytes();
        store_le<std::uint32_t>(m, list + slot * 32, (in.byte() & 0xe5u) | 5 | regions << 16);
        store_le<std::uint64_t>(m, list + slot * 32 + 8, table);
        m[table] = 0x27;
        m[table + 1] = 0x80;
        for (unsigned i = 2; i < 14; ++i)
            m[table + i] = in.byte();
        if ((m[table + 2] & 0xfe) == 0x60)
            m[table + 12] = static_cast<std::uint8_t>(slot << 3);
        for (unsigned i = 0; i < 12; ++i)
            m[table + 0x40 + i] = port == 1 ? in.byte() : std::uint8_t{0};
        for (unsigned i = 0; i < regions; ++i) {
            store_le<std::uint64_t>(m, table + 0x80 + 16 * i, in.byte() * 1024u + in.byte());
            store_le<std::uint32_t>(m, table + 0x80 + 16 * i + 12, in.byte() * 512u + in.byte());
        }
        if ((m[table + 2] & 0xfe) == 0x60)
            put(port, ahci::port_sact, 1u << slot);
        put(port, ahci::port_ci, 1u << slot);
    }
    void step(Input& in) {
        const auto op = in.byte(), selector = in.byte();
        switch (op & 15) {
        case 0:
        case 1:
        case 2:
            put(selector >> 6 & 1, (selector & 31u) * 4, in.dword());
            break;
        case 3: {
            std::array<std::uint8_t, 8> data{};
            for (auto& byte : data)
                byte = in.byte();
            memory_bus.write(bar + selector * 4u + (op >> 6), std::span{data}.first(1u << (op >> 4 & 3)));
            break;
        }
        case 4: {
            std::array<std::uint8_t, 8> data{};
            memory_bus.read(bar + selector * 8u + (op >> 6), std::span{data}.first(1u << (op >> 4 & 3)));
            break;
        }
        case 5:
        case 6:
        case 7:
        case 8:
            command(in);
            break;
        case 9: // a piece of a structure
            store_le<std::uint32_t>(memory.bytes(), (selector * 64u + (op >> 4) * 4) % (memory_bytes - 4),
                                    in.dword());
            break;
        case 10:
            for (auto* backend : backends)
                backend->deferred = (selector & 1) != 0;
            break;
        case 11:
            backends[selector % backends.size()]->complete_one();
            break;
        case 12: {
            const auto value = in.byte();
            ahci.config_write(selector, {&value, 1});
            break;
        }
        case 13:
            if ((selector & 7) == 0)
                power_on();
            else if ((selector & 7) == 1)
                ahci.pause();
            else
                ahci.resume();
            break;
        case 14:
            backends[selector % backends.size()]->bad_offset = in.byte() * 512u;
            break;
        default: { // the index-data pair
            std::array<std::uint8_t, 4> data{};
            store_le(data, 0, in.dword());
            ports.write(io_bar + 0x10 + (selector & 4), data);
            ports.read(io_bar + (selector & 31), std::span{data}.first(1));
        }
        }
    }

    Bus ports{"port", 0x10000};
    Bus memory_bus{"memory", std::uint64_t{1} << 40};
    FlatMemory memory{memory_bytes};
    Ahci ahci{{ports, memory_bus}, memory};
    std::vector<MemoryBackend*> backends;
};
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    return fuzz::run<Machine>(bytes, size);
}
