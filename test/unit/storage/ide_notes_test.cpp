// SPDX-License-Identifier: GPL-2.0-or-later
// The same accesses to two controllers alike: to one directly, to the other as a guest has them whose port
// accesses the monitor serves by the device's notes. Nobody may see a difference.
#include "ide_rig.hpp"
#include "vmm/guest/port_notes.hpp"

#include <random>

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

namespace {
constexpr std::size_t sectors = 512;

struct NotedRig : IdeRig {
    PortNotes notes;
    std::unique_ptr<abi::VcpuPage> page = std::make_unique<abi::VcpuPage>();
    vmm::Vcpu vcpu;
    unsigned served = 0, exits = 0;

    NotedRig() {
        vcpu.page = page.get();
        vcpu.posted_vcpus = &page->posted_vcpus;
        notes.attach({page.get()});
        ide.leave_notes(notes);
    }
    bool serve(std::uint16_t port, unsigned width, bool in, std::uint64_t& rax) {
        const bool done =
            vmm::serve_port(vcpu, port, static_cast<std::uint8_t>(width), in, rax, [] { return false; });
        ++(done ? served : exits);
        if (!done && notes.waiting() != 0)
            notes.carry_out(ports);
        return done;
    }
    std::uint8_t guest_in(std::uint16_t port) {
        std::uint64_t rax = 0;
        return serve(port, 1, true, rax) ? static_cast<std::uint8_t>(rax) : inb(port);
    }
    void guest_out(std::uint16_t port, unsigned width, std::uint32_t value) {
        std::uint64_t rax = value;
        if (serve(port, width, false, rax))
            return;
        width == 1 ? outb(port, value) : outl(port, value);
    }
};

struct Pair {
    IdeRig direct;
    NotedRig noted;

    Pair() {
        for (IdeRig* rig : {&direct, static_cast<IdeRig*>(&noted)}) {
            rig->add_disk(0, 0, sectors);
            rig->add_disk(0, 1, sectors);
            rig->add_disk(1, 0, sectors);
            rig->power_on();
        }
    }
    void out(std::uint16_t port, std::uint32_t value, unsigned width = 1) {
        width == 1 ? direct.outb(port, value) : direct.outl(port, value);
        noted.guest_out(port, width, value);
    }
    std::uint8_t in(std::uint16_t port) {
        const auto expected = direct.inb(port);
        const auto got = noted.guest_in(port);
        if (expected != got)
            FAIL("port " << port << ": " << unsigned{got} << " instead of " << unsigned{expected});
        return got;
    }
    /// Both interrupt lines, which the noted one may show only after an exit.
    void compare_lines() {
        (void)in(0x3f4); // nobody's: an exit
        for (unsigned channel : {0u, 1u})
            CHECK(direct.irq.at(channel).level == noted.irq.at(channel).level);
    }
};
} // namespace

TEST_CASE_METHOD(Pair, "a driver's way through a transfer by DMA: few accesses need the device") {
    constexpr std::uint32_t table = 0x1000, buffer = 0x2000;
    for (auto* memory : {&direct.memory, &noted.memory}) {
        const std::array<std::uint8_t, 8> prd{0, 0x20, 0, 0, 0, 0x10, 0, 0x80}; // 4096 bytes to 0x2000
        REQUIRE(memory->write(GuestPhys{table}, prd));
    }
    (void)in(0x1f7);
    const auto exits_before = noted.exits;
    for (unsigned round = 0; round < 10; ++round) { // as Linux' libata goes about it
        (void)in(0x1f7);
        out(0x1f6, 0xe0);
        (void)in(0x3f6);
        (void)in(0x1f7);
        for (const auto& [port, value] : {std::pair<std::uint16_t, unsigned>{0x1f1, 0},
                                          {0x1f2, 0},
                                          {0x1f3, 0},
                                          {0x1f4, 0},
                                          {0x1f5, 0},
                                          {0x1f1, 0},
                                          {0x1f2, 8},
                                          {0x1f3, round},
                                          {0x1f4, 0},
                                          {0x1f5, 0},
                                          {0x1f6, 0xe0}})
            out(port, value);
        (void)in(0x1f7);
        out(0xc004, table, 4);
        (void)in(0xc000);
        out(0xc000, 8);
        out(0x1f7, 0x25);
        (void)in(0x3f6);
        (void)in(0xc000);
        out(0xc000, 9);
        CHECK(noted.irq[0].level);
        CHECK((in(0xc002) & 4) != 0);
        (void)in(0xc000);
        out(0xc000, 8);
        (void)in(0x3f6);
        (void)in(0x3f6);
        CHECK(in(0x1f7) == 0x50);
        CHECK_FALSE(noted.irq[0].level);
        CHECK((in(0xc002) & 4) != 0);
        out(0xc002, 4);
        Bytes one(4096), other(4096);
        REQUIRE(direct.memory.read(GuestPhys{buffer}, one));
        REQUIRE(noted.memory.read(GuestPhys{buffer}, other));
        CHECK(one == other);
        CHECK(std::equal(one.begin(), one.end(), pattern(sectors * 512).begin() + round * 512));
    }
    CHECK(noted.exits - exits_before <= 11 * 10); // of 33 accesses each
}

TEST_CASE_METHOD(Pair, "whatever a guest does, it sees no difference") {
    for (unsigned seed = 0; seed < 40; ++seed) {
        std::mt19937 random{seed};
        const auto any = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
        for (unsigned step = 0; step < 2000; ++step) {
            const auto base = static_cast<std::uint16_t>(any(4) != 0 ? 0x1f0 : 0x170);
            const auto engine = static_cast<std::uint16_t>(base == 0x1f0 ? 0xc000 : 0xc008);
            switch (any(12)) {
            case 0:
            case 1:
                (void)in(static_cast<std::uint16_t>(base + (any(2) != 0 ? 7 : any(8))));
                break;
            case 2:
                (void)in(static_cast<std::uint16_t>(base + 0x206));
                break;
            case 3:
                (void)in(static_cast<std::uint16_t>(engine + any(8)));
                break;
            case 4:
            case 5:
            case 6:
                if (any(50) == 0)
                    out(static_cast<std::uint16_t>(base + 1 + any(4)), any(1 << 24), 4);
                else
                    out(static_cast<std::uint16_t>(base + 1 + any(6)), any(256));
                break;
            case 7: {
                constexpr std::array<std::uint8_t, 12> commands{0xe7, 0xe7, 0x00, 0x10, 0xef, 0x90,
                                                                0x40, 0xe5, 0xc8, 0x25, 0x20, 0xec};
                out(static_cast<std::uint16_t>(base + 7), commands.at(any(commands.size())));
                break;
            }
            case 8:
                out(engine, any(3) == 0 ? any(256) : 8); // with bit 0 it runs until it is stopped
                break;
            case 9:
                out(static_cast<std::uint16_t>(engine + 2), any(256));
                break;
            case 10:
                out(static_cast<std::uint16_t>(engine + 4), any(0x4000), 4);
                break;
            default:
                if (any(10) == 0)
                    out(static_cast<std::uint16_t>(base + 0x206), any(4) == 0 ? 4 : any(2) * 2);
                else
                    compare_lines();
            }
        }
        compare_lines();
        direct.ide.reset(ResetKind::System);
        noted.ide.reset(ResetKind::System);
        for (IdeRig* rig : {&direct, static_cast<IdeRig*>(&noted)}) {
            rig->config_write(0x20, 4, IdeRig::bus_master);
            rig->config_write(0x04, 2, 5);
            rig->config_write(0x40, 2, 0x8000);
            rig->config_write(0x42, 2, 0x8000);
        }
    }
    CHECK(noted.served > 10'000);
    CHECK(noted.exits > 10'000);
}

TEST_CASE("while a command is under way nothing is answered from notes") {
    NotedRig rig;
    auto& image = rig.add_disk(0, 0, sectors);
    rig.power_on();
    CHECK(rig.guest_in(0x1f7) == 0x50);
    image.deferred = true;
    rig.guest_out(0x1f6, 1, 0xe0);
    rig.guest_out(0x1f2, 1, 1);
    rig.guest_out(0x1f7, 1, 0x20);
    for (unsigned i = 0; i < 3; ++i)
        CHECK((rig.guest_in(0x3f6) & IdeRig::busy) != 0);
    image.complete_all();
    CHECK(rig.guest_in(0x3f6) == 0x58);
}

TEST_CASE_METHOD(Pair, "ports that do not answer any more have no notes") {
    CHECK(in(0x1f7) == 0x50);
    const auto before = noted.served;
    CHECK(in(0x1f7) == 0x50);
    CHECK(noted.served == before + 1);
    for (IdeRig* rig : {&direct, static_cast<IdeRig*>(&noted)})
        rig->config_write(0x40, 2, 0);
    CHECK(in(0x1f7) == 0xff);
    CHECK(in(0x177) == 0x50); // the other channel goes on
    for (IdeRig* rig : {&direct, static_cast<IdeRig*>(&noted)})
        rig->config_write(0x20, 4, 0xd000);
    CHECK(in(0xc002) == 0xff);
    CHECK((in(0xd002) & 4) == 0);
}
