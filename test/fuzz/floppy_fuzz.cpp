// SPDX-License-Identifier: GPL-2.0-or-later
// A hostile guest at the floppy controller and the DMA controllers: the input is a program of port accesses,
// passing time, late completions, changes of disk, pauses and resets. Nothing may crash, hang, or touch
// memory that is not the guest's.
#include "devmodel/backends/block/memory_backend.hpp"
#include "devmodel/devices/chipset/i8237.hpp"
#include "devmodel/devices/storage/floppy_controller.hpp"
#include "devmodel/machine/flat_memory.hpp"
#include "devmodel/machine/manual_clock.hpp"
#include "test/fuzz/fuzz_input.hpp"

#include <memory>

namespace {
using namespace escalus;
using fuzz::Input;

struct Machine {
    Machine() {
        floppy.attach(0, FloppyDriveType::Hd35);
        floppy.attach(1, FloppyDriveType::Hd525);
        dma.reset(ResetKind::PowerOn);
        floppy.reset(ResetKind::PowerOn);
        dma.open_cascade();
        insert(0, 0);
        insert(1, 3);
        out(0x3f2, 0x1c);
        clock.advance(1'000'000);
    }
    void out(std::uint64_t port, std::uint8_t value) { ports.write(port, {&value, 1}); }
    void insert(unsigned unit, unsigned which) {
        constexpr std::array<std::uint16_t, 4> kib{1440, 720, 360, 1200};
        auto medium = std::make_unique<MemoryBackend>(kib[which & 3] * std::size_t{1024}, (which & 4) != 0);
        auto* fresh = medium.get();
        fresh->deferred = (which & 8) != 0;
        try {
            floppy.insert(unit, std::move(medium));
            disk[unit] = fresh;
        } catch (const std::invalid_argument&) { // does not fit
        }
    }
    void step(Input& in) {
        const auto op = in.byte();
        const unsigned unit = op >> 4 & 1;
        switch (op & 15) {
        case 0:
        case 1:
        case 2:
            out(0x3f5, in.byte());
            break;
        case 3: // a whole command
            for (unsigned i = 0; i < 9; ++i)
                out(0x3f5, in.byte());
            break;
        case 4:
        case 5: {
            std::array<std::uint8_t, 64> data{};
            ports.read_repeated(0x3f5, 1, std::span{data}.first(1 + (op >> 4) * 4u));
            break;
        }
        case 6:
            out(0x3f2 + (in.byte() & 3), in.byte());
            break;
        case 7: {
            std::array<std::uint8_t, 4> data{};
            const unsigned width = 1u << (op >> 4 & 3) & 7;
            ports.read(0x3f0 + (in.byte() & 7), std::span{data}.first(width == 0 ? 1 : width));
            break;
        }
        case 8:
            out(in.byte() & 0x0f, in.byte());
            break;
        case 9:
            out(0xc0 + (in.byte() & 0x1f), in.byte());
            break;
        case 10:
            out(0x81 + (in.byte() & 7), in.byte() & 3);
            break;
        case 11:
            clock.advance(in.byte() * 1000);
            break;
        case 12:
            if (disk[unit] != nullptr)
                disk[unit]->complete_one();
            break;
        case 13:
            if (disk[unit] != nullptr) {
                disk[unit]->bad_offset = in.byte() * 512u;
                disk[unit]->deferred = (op & 0x20) != 0;
            }
            break;
        case 14:
            if ((op & 0x20) != 0) {
                insert(unit, in.byte());
            } else {
                floppy.eject(unit);
                disk[unit] = nullptr;
            }
            break;
        default:
            if ((op & 0x30) == 0)
                floppy.reset(ResetKind::System);
            else if ((op & 0x30) == 0x10)
                floppy.pause();
            else
                floppy.resume();
        }
    }

    ManualClock clock;
    Bus ports{"port", 0x10000};
    FlatMemory memory{256 * 1024};
    I8237Pair dma{ports, memory};
    FloppyController floppy{clock, ports, {}, DmaLine{dma, 2}};
    std::array<MemoryBackend*, 2> disk{};
};
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    return fuzz::run<Machine>(bytes, size);
}
