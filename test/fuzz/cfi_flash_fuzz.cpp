// SPDX-License-Identifier: GPL-2.0-or-later
// A hostile guest at the flash chip: the input is a program of accesses of every width, commands more often
// than not, with time and resets in between. Nothing may crash; what the backend was told, what the array
// reads and what is mapped must agree.
#include "devmodel/devices/chipset/cfi_flash.hpp"
#include "devmodel/machine/address_space.hpp"
#include "devmodel/machine/flat_memory.hpp"
#include "devmodel/machine/manual_clock.hpp"
#include "test/fuzz/fuzz_input.hpp"

#include <algorithm>
#include <cstdlib>

namespace {
using namespace escalus;
using fuzz::Input;

constexpr std::uint64_t end = 0xffc00000, size = 3 * CfiFlash::block_size, base = end - size;

struct Machine {
    Machine() { flash.reset(ResetKind::PowerOn); }

    void finish() {
        flash.reset(ResetKind::System);
        check();
    }
    void step(Input& in) {
        constexpr std::array<std::uint8_t, 16> commands{0x01, 0x10, 0x20, 0x40, 0x50, 0x60, 0x70, 0x90,
                                                        0x98, 0xb0, 0xd0, 0xe8, 0xff, 0xd0, 0x10, 0x00};
        const auto op = in.byte();
        const auto width = std::size_t{1} << (op >> 4 & 3);
        const auto offset = std::min((in.byte() | in.byte() << 8) % size, size - width);
        std::array<std::uint8_t, 8> bytes{};
        switch (op & 15) {
        case 0:
            bus.read(base + offset, std::span{bytes}.first(width));
            break;
        case 1:
            clock.advance(in.byte() * 1'000'000);
            break;
        case 2:
            flash.reset(ResetKind::System);
            check();
            break;
        case 3:
            kept.broken = (op & 0x80) != 0;
            break;
        case 4: // a whole buffer
            for (unsigned i = 0; i <= op; ++i)
                bus.write(base + offset, std::span<const std::uint8_t>{&op, 1});
            break;
        case 5:
        case 6:
        case 7:
            for (auto& byte : std::span{bytes}.first(width))
                byte = in.byte();
            bus.write(base + offset, std::span{bytes}.first(width));
            break;
        default:
            bus.write(base + offset, std::span{&commands[in.byte() & 15], 1});
        }
    }
    void check() {
        const auto mapped = space.at(GuestPhys{base}, size, Access::Read);
        if (!std::ranges::equal(mapped, kept.contents()))
            std::abort();
    }

    TestMemoryMap engine;
    AddressSpace space{engine};
    Bus bus{"memory", 1ull << 46};
    ManualClock clock;
    std::unique_ptr<MemoryNvram> owned = std::make_unique<MemoryNvram>(std::vector<std::uint8_t>(size, 0xff));
    MemoryNvram& kept = *owned;
    CfiFlash flash{bus, space, clock, end, std::move(owned)};
};
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t length) {
    return fuzz::run<Machine>(bytes, length);
}
