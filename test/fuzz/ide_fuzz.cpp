// SPDX-License-Identifier: GPL-2.0-or-later
// A hostile guest at the IDE controller: the input is a program of port accesses, memory writes, late
// completions and resets. Nothing may crash, hang, or touch memory that is not the guest's.
#include "devmodel/backends/block/memory_backend.hpp"
#include "devmodel/devices/storage/ata_disk.hpp"
#include "devmodel/devices/storage/atapi_cdrom.hpp"
#include "devmodel/devices/storage/piix_ide.hpp"
#include "devmodel/machine/flat_memory.hpp"
#include "test/fuzz/fuzz_input.hpp"

#include <memory>

namespace {
using namespace escalus;

constexpr std::uint32_t bus_master = 0xc000, memory_bytes = 256 * 1024;

using fuzz::Input;

struct Machine {
    Machine() {
        auto add = [&](unsigned channel, unsigned unit, bool cdrom, std::size_t size) {
            auto backend = std::make_unique<MemoryBackend>(size, cdrom);
            backends.push_back(backend.get());
            if (cdrom)
                ide.attach(channel, unit, std::make_unique<AtapiCdrom>(std::move(backend)));
            else
                ide.attach(channel, unit, std::make_unique<AtaDisk>(std::move(backend)));
        };
        add(0, 0, false, 700 * 512);
        add(0, 1, true, 300 * 2048 + 100);
        add(1, 0, false, 10 * 512);
        power_on();
    }
    void power_on() {
        ide.reset(ResetKind::System);
        config(0x20, bus_master);
        config(0x04, 5);
        config(0x40, 0x80008000);
    }
    void config(unsigned offset, std::uint32_t value) {
        std::array<std::uint8_t, 4> data{};
        for (unsigned i = 0; i < 4; ++i)
            data[i] = static_cast<std::uint8_t>(value >> (8 * i));
        ide.config_write(offset, data);
    }
    static std::uint16_t port(std::uint8_t selector) {
        switch (selector >> 4 & 3) {
        case 0:
            return static_cast<std::uint16_t>(0x1f0 + (selector & 7));
        case 1:
            return static_cast<std::uint16_t>(0x170 + (selector & 7));
        case 2:
            return static_cast<std::uint16_t>(bus_master + (selector & 15));
        default:
            return (selector & 1) != 0 ? 0x3f6 : 0x376;
        }
    }
    void step(Input& in) {
        const auto op = in.byte(), selector = in.byte();
        const unsigned width = 1u << (op >> 4 & 3) & 7;
        std::array<std::uint8_t, 4096> data{};
        const auto size = width == 0 ? 1 : width;
        switch (op & 15) {
        case 0:
        case 1:
        case 2:
        case 3:
        case 4:
            for (unsigned i = 0; i < size; ++i)
                data[i] = in.byte();
            ports.write(port(selector), std::span{data}.first(size));
            break;
        case 5:
        case 6:
            ports.read(port(selector), std::span{data}.first(size));
            break;
        case 7:
            ports.read_repeated(port(selector), size,
                                std::span{data}.first((1u + in.byte()) * 16 / size * size));
            break;
        case 8: {
            const auto n = std::min<std::size_t>(1u + in.byte(), 64);
            for (std::size_t i = 0; i < n; ++i)
                data[i] = in.byte();
            ports.write_repeated(port(selector), size, std::span{data}.first((n + size - 1) / size * size));
            break;
        }
        case 9: // a PRD
            for (unsigned i = 0; i < 8; ++i)
                memory.bytes()[(selector * 8u + i) % memory_bytes] = in.byte();
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
            ide.config_write(selector, {&value, 1});
            break;
        }
        case 13:
            if ((selector & 7) == 0)
                power_on();
            else if ((selector & 7) == 1)
                ide.pause();
            else
                ide.resume();
            break;
        case 14:
            backends[selector % backends.size()]->bad_offset = in.byte() * 512u;
            break;
        default:
            ports.write(port(0x10 | 7), std::array<std::uint8_t, 1>{selector});
        }
    }

    Bus ports{"port", 0x10000};
    Bus memory_bus{"memory", std::uint64_t{1} << 40};
    FlatMemory memory{memory_bytes};
    PiixIde ide{{ports, memory_bus}, memory, {}, {}};
    std::vector<MemoryBackend*> backends;
};
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    return fuzz::run<Machine>(bytes, size);
}
