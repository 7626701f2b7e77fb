// SPDX-License-Identifier: GPL-2.0-or-later
// A guest that writes anything anywhere, at any time: no device may crash, hang or lose its mind. The
// sanitizers judge; what is checked here is that host timers stay bounded.
#include "devmodel/devices/chipset/hpet.hpp"
#include "devmodel/devices/chipset/i8254.hpp"
#include "devmodel/devices/chipset/i8259.hpp"
#include "devmodel/devices/chipset/io_apic.hpp"
#include "devmodel/devices/chipset/mc146818.hpp"
#include "test/unit/chipset/apic_fixture.hpp"

#include <random>

#include <catch2/catch.hpp>

using namespace escalus;

namespace {

/// The whole board, wired as a PC.
struct Pc : test::ApicBoard {
    IrqFanOut intr, isa0, isa8;
    I8259Pair pic{board.ports, IrqLine{intr, 0}};
    IoApic io_apic{board.memory, bus, 2};
    LegacyRouting legacy{IrqLine{isa0, 0}, IrqLine{isa8, 0}};
    I8254 pit{board.clock, board.ports, IrqLine{legacy, LegacyRouting::pit}};
    Mc146818 rtc{board.clock, board.ports, IrqLine{legacy, LegacyRouting::rtc}, {}};
    Hpet hpet{board.clock, board.memory, legacy, io_apic, 0x00f00000};

    Pc() : ApicBoard{2} {
        for (auto& one : apic)
            intr.connect(*one, LocalApic::lint0);
        intr.connect(io_apic, 0);
        isa0.connect(pic, 0);
        isa0.connect(io_apic, 2);
        isa8.connect(pic, 8);
        isa8.connect(io_apic, 8);
        for (Device* device : std::initializer_list<Device*>{&pic, &io_apic, &pit, &rtc, &hpet})
            device->reset(ResetKind::PowerOn);
    }
};

} // namespace

TEST_CASE("the PC's wiring: a PIT tick through the 8259 pair to LINT0, and through the I/O APIC") {
    Pc pc;
    pc.enable_all();
    for (const auto& [port, value] : {std::pair{0x20, 0x11},
                                      {0x21, 0x20},
                                      {0x21, 4},
                                      {0x21, 1},
                                      {0x43, 0x34},
                                      {0x40, 0xa9},
                                      {0x40, 0x04}})
        pc.board.out(static_cast<std::uint16_t>(port), static_cast<unsigned>(value));
    pc.set(0x350, 0x8700); // LINT0: ExtINT
    pc.board.clock.advance(2'000'000);
    REQUIRE(pc[0].pic_interrupt_pending());
    REQUIRE_FALSE(pc[1].pic_interrupt_pending());
    REQUIRE(pc.pic.acknowledge() == 0x20);
    REQUIRE_FALSE(pc[0].pic_interrupt_pending());
    pc.set(0x350, 0x10700);
    pc.board.write<std::uint32_t>(pc.board.memory, IoApic::mmio_base, 0x14);
    pc.board.write<std::uint32_t>(pc.board.memory, IoApic::mmio_base + 0x10, 0x30);
    pc.board.clock.advance(1'000'000);
    REQUIRE(pc[0].pending_interrupt() == 0x30);
}

TEST_CASE("hostile guest") {
    Pc pc;
    std::mt19937_64 random{20'091'231};
    const auto below = [&](std::uint64_t limit) { return random() % limit; };
    constexpr std::array<std::uint16_t, 13> ports{0x20, 0x21, 0xa0,  0xa1,  0x40, 0x41, 0x42,
                                                  0x43, 0x61, 0x4d0, 0x4d1, 0x70, 0x71};
    constexpr std::array<std::uint32_t, 6> msrs{0x1b, 0x6e0, 0x80f, 0x830, 0x832, 0x838};
    for (int step = 0; step < 100'000; ++step) {
        std::array<std::uint8_t, 8> bytes{};
        for (auto& byte : bytes)
            byte = static_cast<std::uint8_t>(random());
        const std::span data = std::span{bytes}.first(std::size_t{1} << below(4));
        LocalApic& apic = pc[static_cast<unsigned>(below(2))];
        const bool write = below(3) != 0;
        switch (below(6)) {
        case 0:
        case 1: {
            const std::uint16_t port = ports.at(below(ports.size()));
            write ? pc.board.ports.write(port, data.first(std::min<std::size_t>(data.size(), 4)))
                  : pc.board.ports.read(port, data.first(std::min<std::size_t>(data.size(), 4)));
            break;
        }
        case 2: {
            const std::uint64_t address = Hpet::mmio_base + below(0x180);
            write ? pc.board.memory.write(address, data) : pc.board.memory.read(address, data);
            break;
        }
        case 3: {
            const std::uint64_t address = IoApic::mmio_base + 0x10 * below(5);
            write ? pc.board.memory.write(address, data) : pc.board.memory.read(address, data);
            break;
        }
        case 4: {
            const std::uint64_t offset = 0x10 * below(0x40);
            write ? apic.write_mmio(offset, data) : apic.read_mmio(offset, data);
            break;
        }
        default: {
            const std::uint32_t index = below(2) != 0 ? msrs.at(below(msrs.size()))
                                                      : static_cast<std::uint32_t>(0x800 + below(0x100));
            const std::uint64_t value = below(2) != 0 ? random() : 0xfee00800 | below(4) << 8;
            if (write)
                static_cast<void>(apic.write_msr(index, value));
            else
                static_cast<void>(apic.read_msr(index));
        }
        }
        if (const auto vector = apic.pending_interrupt(); vector && below(2) != 0)
            apic.accept(*vector);
        if (apic.pic_interrupt_pending() && below(2) != 0) {
            static_cast<void>(pc.pic.acknowledge());
            apic.pic_interrupt_taken();
        }
        if (below(8) == 0)
            pc.board.clock.advance(static_cast<GuestTime>(below(1ull << below(24))));
        if (below(5000) == 0)
            for (Device* device : std::initializer_list<Device*>{
                     &pc.pic, &pc.io_apic, &pc.pit, &pc.rtc, &pc.hpet, pc.apic[0].get(), pc.apic[1].get()})
                device->reset(ResetKind::System);
    }
    // Whatever it left running: ten seconds of it are a bounded number of timer events.
    pc.board.clock.advance(10 * ns_per_second);
}
