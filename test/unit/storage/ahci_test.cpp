// SPDX-License-Identifier: GPL-2.0-or-later
// The AHCI controller as a driver uses it: probing, commands of each kind, queues, errors, resets, bad
// tables.
#include "test/unit/storage/ahci_rig.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;
using namespace escalus::ahci;

namespace {
struct Disk : AhciRig {
    explicit Disk(bool deferred = false) : backend{add_disk(0, 8192)} {
        power_on();
        start_port();
        backend.deferred = deferred;
    }
    Bytes sectors(std::size_t lba, std::size_t count) {
        const auto from = backend.bytes.begin() + static_cast<std::ptrdiff_t>(lba * 512);
        return {from, from + static_cast<std::ptrdiff_t>(count * 512)};
    }
    void fill(std::uint32_t at, const Bytes& data) { std::ranges::copy(data, memory.bytes().begin() + at); }
    MemoryBackend& backend;
};

struct Cdrom : AhciRig {
    Cdrom() {
        auto medium = std::make_unique<MemoryBackend>(64 * 2048, true);
        medium->bytes = pattern(64 * 2048, 5);
        content = medium->bytes;
        auto owned = std::make_unique<AtapiCdrom>(std::move(medium));
        drive = owned.get();
        ahci.attach(1, std::move(owned));
        power_on();
        start_port(1);
    }
    std::uint32_t packet(std::vector<std::uint8_t> cdb, const std::vector<Region>& regions, bool dma) {
        prepare(0, {.code = 0xa0, .lba = 0x080000, .feature = dma ? 1u : 0u, .device = 0xa0}, regions, false,
                std::move(cdb));
        issue(1, 1);
        const auto status = port_get(port_is, 1);
        port_put(port_is, status, 1);
        return status;
    }
    Bytes content;
    AtapiCdrom* drive;
};
} // namespace

TEST_CASE("AHCI: what a driver finds") {
    AhciRig rig;
    rig.add_disk(0, 64);
    rig.power_on();
    CHECK(rig.config_read(0, 4) == 0x29228086);
    CHECK(rig.config_read(8, 4) == 0x01060102);
    CHECK((rig.config_read(6, 2) & 0x10) != 0);
    CHECK(rig.config_read(0x34, 1) == 0x80);
    CHECK((rig.config_read(0x80, 4) & 0xffff) == 0xa805); // MSI, then
    CHECK((rig.config_read(0xa8, 4) & 0xffff) == 0x0012); // the index-data pair
    CHECK(rig.get(reg_cap) == 0xc1241f00 + 5 + 0x8000 - 0x0);
    CHECK(rig.get(reg_pi) == 0x3f);
    CHECK(rig.get(reg_vs) == 0x00010200);
    CHECK(rig.get(reg_ghc) == 0x80000000);
    CHECK(rig.port_get(port_ssts) == 0x123);
    CHECK(rig.port_get(port_sig) == 0x00000101);
    CHECK(rig.port_get(port_tfd) == 0x0150);
    CHECK(rig.port_get(port_ssts, 1) == 0);
    CHECK(rig.port_get(port_sig, 1) == 0xffffffff);
    CHECK(rig.port_get(port_tfd, 1) == 0x7f);
    CHECK(rig.port_get(port_cmd) == 6);
    // Beyond the ports; wide and narrow accesses.
    CHECK(rig.get(0x400) == 0);
    std::array<std::uint8_t, 8> wide{};
    rig.memory_bus.read(AhciRig::bar, wide);
    CHECK(load_le<std::uint32_t>(wide, 4) == 0x80000000);
    rig.memory_bus.write(AhciRig::bar + 0x100, wide);
    CHECK(rig.port_get(port_clbu) == 0x80000000);
    const std::uint8_t one = 2;
    rig.memory_bus.write(AhciRig::bar + 4, {&one, 1});
    CHECK(rig.get(reg_ghc) == 0x80000000);
    // The index-data pair.
    const std::array<std::uint8_t, 4> index{0x24, 0x01};
    rig.ports.write(AhciRig::io_bar + 0x10, index);
    std::array<std::uint8_t, 4> signature{};
    rig.ports.read(AhciRig::io_bar + 0x14, signature);
    CHECK(load_le<std::uint32_t>(signature) == 0x0101);
}

TEST_CASE("AHCI: IDENTIFY by PIO ends with a PIO setup frame") {
    Disk disk;
    disk.prepare(3, {.code = 0xec}, {{AhciRig::target, 512}});
    disk.issue(1 << 3);
    CHECK(disk.port_get(port_ci) == 0);
    CHECK(disk.port_get(port_is) == is_pio_setup);
    CHECK(disk.port_get(port_tfd) == 0x50);
    CHECK(disk.irq.level);
    CHECK(disk.get(reg_is) == 1);
    CHECK(disk.prdbc(3) == 512);
    const auto id = disk.guest_bytes(AhciRig::target, 512);
    CHECK(load_le<std::uint32_t>(id, 120) == 8192);
    CHECK(load_le<std::uint16_t>(id, 150) == 31);              // queue depth
    CHECK((load_le<std::uint16_t>(id, 152) & 0x100) == 0x100); // queueing
    CHECK(load_le<std::uint16_t>(id, 186) == 0);               // not parallel
    CHECK(std::accumulate(id.begin(), id.end(), 0u) % 256 == 0);
    const auto frame = disk.guest_bytes(AhciRig::fis + received_pio_setup, 20);
    CHECK(frame[0] == 0x5f);
    CHECK(frame[1] == 0x60);
    CHECK(frame[15] == 0x50);
    CHECK(load_le<std::uint16_t>(frame, 16) == 512);
    disk.port_put(port_is, is_pio_setup);
    CHECK(disk.irq.level); // IS keeps it
    disk.put(reg_is, 1);
    CHECK_FALSE(disk.irq.level);
}

TEST_CASE("AHCI: reads and writes by DMA and PIO") {
    const bool deferred = GENERATE(false, true), pio = GENERATE(false, true);
    Disk disk{deferred};
    constexpr auto target = AhciRig::target;
    disk.prepare(0, {.code = static_cast<std::uint8_t>(pio ? 0x24 : 0x25), .lba = 100, .count = 520},
                 {{target, 1000}, {target + 0x1000, 131072}, {target + 0x30000, 520 * 512}});
    disk.issue(1);
    if (deferred) {
        CHECK((disk.port_get(port_tfd) & 0x80) != 0);
        CHECK(disk.port_get(port_ci) == 1);
        disk.backend.complete_all();
    }
    CHECK(disk.port_get(port_ci) == 0);
    CHECK(disk.port_get(port_is) == (pio ? is_pio_setup : is_d2h));
    CHECK(disk.prdbc(0) == 520 * 512);
    auto got = disk.guest_bytes(target, 1000);
    for (const auto& part : {disk.guest_bytes(target + 0x1000, 131072),
                             disk.guest_bytes(target + 0x30000, 520 * 512 - 1000 - 131072)})
        got.insert(got.end(), part.begin(), part.end());
    CHECK(got == disk.sectors(100, 520));

    disk.port_put(port_is, ~0u);
    const auto data = pattern(64 * 512, 0x5a);
    disk.fill(target, data);
    disk.prepare(1, {.code = static_cast<std::uint8_t>(pio ? 0x34 : 0x35), .lba = 7, .count = 64},
                 {{target, 64 * 512}}, true);
    disk.issue(2);
    disk.backend.complete_all();
    CHECK(disk.port_get(port_is) == is_d2h);
    CHECK(disk.sectors(7, 64) == data);
    // Verify moves nothing.
    disk.port_put(port_is, ~0u);
    disk.prepare(2, {.code = 0x42, .lba = 7, .count = 64}, {});
    disk.issue(4);
    disk.backend.complete_all();
    CHECK(disk.port_get(port_is) == is_d2h);
    CHECK(disk.prdbc(2) == 0);
    // A flush.
    disk.prepare(0, {.code = 0xea}, {});
    disk.issue(1);
    disk.backend.complete_all();
    CHECK(disk.backend.flushes == 1);
    CHECK(disk.port_get(port_ci) == 0);
}

TEST_CASE("AHCI: queued commands") {
    const bool deferred = GENERATE(false, true);
    Disk disk{deferred};
    constexpr auto target = AhciRig::target;
    const auto data = pattern(8 * 512, 0x77);
    disk.fill(target, data);
    disk.queued(0, true, 50, 8, {{target, 4096}});
    disk.queued(31, false, 200, 16, {{target + 0x10000, 8192}});
    disk.queued(5, false, 50, 8, {{target + 0x20000, 4096}});
    disk.issue(1u << 31 | 1u << 5 | 1);
    CHECK(disk.port_get(port_ci) == 0); // all taken
    CHECK((disk.port_get(port_tfd) & 0x88) == 0);
    if (deferred) {
        CHECK(disk.port_get(port_sact) == (1u << 31 | 1u << 5 | 1));
        disk.backend.complete_one();
        CHECK(disk.port_get(port_sact) == (1u << 31 | 1u << 5));
        CHECK(disk.port_get(port_is) == is_device_bits);
        const auto frame = disk.guest_bytes(AhciRig::fis + received_device_bits, 8);
        CHECK(frame[0] == 0xa1);
        CHECK(load_le<std::uint32_t>(frame, 4) == 1);
        // One more while the drive works.
        disk.queued(0, false, 300, 1, {{target + 0x30000, 512}});
        disk.issue(1);
        disk.backend.complete_all();
        CHECK(disk.guest_bytes(target + 0x30000, 512) == disk.sectors(300, 1));
    }
    CHECK(disk.port_get(port_sact) == 0);
    CHECK(disk.port_get(port_is) == is_device_bits);
    CHECK(disk.sectors(50, 8) == data);
    CHECK(disk.guest_bytes(target + 0x10000, 8192) == disk.sectors(200, 16));
    CHECK(disk.guest_bytes(target + 0x20000, 4096) == data);
    // Forced unit access.
    disk.queued(1, true, 50, 8, {{target, 4096}}, 0xc0);
    disk.issue(2);
    disk.backend.complete_all();
    CHECK(disk.backend.flushes == 1);
    CHECK(disk.port_get(port_sact) == 0);
}

TEST_CASE("AHCI: an error in the queue, and the log that tells whose it was") {
    Disk disk{GENERATE(false, true)};
    constexpr auto target = AhciRig::target;
    disk.backend.bad_offset = 1002 * 512;
    disk.queued(4, false, 10, 1, {{target, 512}});
    disk.queued(7, false, 1000, 8, {{target, 4096}});
    disk.queued(9, false, 10, 1, {{target, 512}});
    disk.issue(1 << 4 | 1 << 7 | 1 << 9);
    disk.backend.complete_all();
    CHECK(disk.port_get(port_sact) == (1 << 7 | 1 << 9));
    CHECK((disk.port_get(port_is) & is_task_file) != 0);
    CHECK((disk.port_get(port_tfd) & 0xff01) == 0x4001);
    // Nothing runs until ST has been cleared.
    disk.prepare(0, {.code = 0xe7}, {});
    disk.issue(1);
    CHECK(disk.port_get(port_ci) == 1);
    disk.stop_port();
    CHECK(disk.port_get(port_ci) == 0);
    CHECK(disk.port_get(port_sact) == 0);
    CHECK((disk.port_get(port_cmd) & cmd_running) == 0);
    disk.start_port();
    disk.prepare(0, {.code = 0x2f, .lba = 0x10, .count = 1}, {{target, 512}});
    disk.issue(1);
    disk.backend.complete_all();
    const auto log = disk.guest_bytes(target, 512);
    CHECK(log[0] == 7);
    CHECK(log[2] == 0x51);
    CHECK(log[3] == 0x40);
    CHECK(load_le<std::uint16_t>(log, 4) == 1002);
    CHECK(std::accumulate(log.begin(), log.end(), 0u) % 256 == 0);
    // And it goes on.
    disk.queued(2, false, 20, 1, {{target, 512}});
    disk.issue(1 << 2);
    disk.backend.complete_all();
    CHECK(disk.port_get(port_sact) == 0);
    CHECK(disk.guest_bytes(target, 512) == disk.sectors(20, 1));
}

TEST_CASE("AHCI: errors of commands") {
    Disk disk;
    SECTION("an address beyond the disk") {
        disk.prepare(0, {.code = 0x25, .lba = 8190, .count = 4}, {{AhciRig::target, 2048}});
        disk.issue(1);
        CHECK(disk.port_get(port_tfd) == 0x1051);
    }
    SECTION("an unknown command") {
        disk.prepare(0, {.code = 0x11 + 0x70}, {});
        disk.issue(1);
        CHECK(disk.port_get(port_tfd) == 0x0451);
    }
    CHECK((disk.port_get(port_is) & (is_task_file | is_d2h)) == (is_task_file | is_d2h));
    CHECK(disk.port_get(port_ci) == 1);
    CHECK((disk.port_get(port_cmd) >> 8 & 31) == 0);
    disk.stop_port();
    disk.start_port();
    disk.prepare(0, {.code = 0xec}, {{AhciRig::target, 512}});
    disk.issue(1);
    CHECK(disk.port_get(port_ci) == 0);
}

TEST_CASE("AHCI: structures that are not memory, or that loop, or are too short") {
    const bool deferred = GENERATE(false, true);
    Disk disk{deferred};
    constexpr auto target = AhciRig::target;
    std::uint32_t expected = is_bus_fatal;
    SECTION("the command list") {
        disk.stop_port();
        disk.port_put(port_clb, 0xfffffc00);
        disk.port_put(port_clbu, 0xffffffff);
        disk.port_put(port_cmd, cmd_fis_receive | cmd_start);
    }
    SECTION("the command table") {
        disk.prepare(0, {.code = 0x25, .count = 1}, {{target, 512}});
        store_le<std::uint64_t>(disk.memory.bytes(), AhciRig::list + 8, 0xffffffffffffff80);
    }
    SECTION("a region to be written") {
        disk.prepare(0, {.code = 0x25, .count = 1}, {{AhciRig::bar, 512}});
    }
    SECTION("a region that wraps at the end of the address space") {
        disk.prepare(0, {.code = 0x25, .count = 1}, {{0xffffffffffffff00, 512}});
    }
    SECTION("a region to be read") {
        disk.prepare(0, {.code = 0x35, .count = 1}, {{0x7fffffffffff0000, 512}}, true);
    }
    SECTION("too few regions") {
        disk.prepare(0, {.code = 0x25, .count = 4}, {{target, 1024}});
        expected = is_overflow;
    }
    SECTION("no regions") {
        disk.prepare(0, {.code = 0x25, .count = 4}, {});
        expected = is_overflow;
    }
    disk.issue(1);
    disk.backend.complete_all();
    CHECK(disk.port_get(port_is) == expected);
    CHECK(disk.port_get(port_ci) == 1);
    CHECK(disk.backend.writes == 0);
    // A reset of the link brings the drive back.
    disk.stop_port();
    disk.port_put(port_sctl, 1);
    CHECK(disk.port_get(port_ssts) == 1);
    disk.port_put(port_sctl, 0);
    CHECK(disk.port_get(port_ssts) == 0x123);
    CHECK((disk.port_get(port_is) & is_connect) != 0);
    CHECK(disk.port_get(port_tfd) == 0x150);
    disk.start_port();
    disk.prepare(0, {.code = 0x25, .lba = 9, .count = 1}, {{target, 512}});
    disk.issue(1);
    disk.backend.complete_all();
    CHECK(disk.port_get(port_is) == is_d2h);
    CHECK(disk.guest_bytes(target, 512) == disk.sectors(9, 1));
}

TEST_CASE("AHCI: received frames that have no memory") {
    Disk disk;
    disk.stop_port();
    disk.port_put(port_fb, 0x80000000);
    disk.port_put(port_cmd, cmd_fis_receive | cmd_start);
    disk.prepare(0, {.code = 0xe7}, {});
    disk.issue(1);
    CHECK((disk.port_get(port_is) & is_bus_fatal) != 0);
}

TEST_CASE("AHCI: tags that lie") {
    Disk disk;
    disk.prepare(3, {.code = 0x60, .count = 4 << 3, .feature = 1}, {{AhciRig::target, 512}});
    disk.port_put(port_sact, 1 << 3);
    disk.issue(1 << 3);
    CHECK((disk.port_get(port_is) & is_task_file) != 0);
    CHECK(disk.port_get(port_tfd) == 0x0451);
}

TEST_CASE("AHCI: another command waits for the end of the queue") {
    Disk disk{true};
    disk.queued(0, false, 0, 1, {{AhciRig::target, 512}});
    disk.issue(1);
    disk.prepare(1, {.code = 0xea}, {});
    disk.issue(2);
    CHECK(disk.port_get(port_ci) == 2);
    CHECK(disk.backend.flushes == 0);
    disk.backend.complete_all();
    CHECK(disk.backend.flushes == 1);
    CHECK(disk.port_get(port_ci) == 0);
    CHECK(disk.port_get(port_is) == (is_d2h | is_device_bits));
}

TEST_CASE("AHCI: resets with a command under way") {
    Disk disk{true};
    disk.prepare(0, {.code = 0x25, .lba = 9, .count = 1}, {{AhciRig::target, 512}});
    disk.issue(1);
    SECTION("ST is cleared: the task file stays busy until it is overridden") {
        disk.stop_port();
        CHECK((disk.port_get(port_tfd) & 0x80) != 0);
        disk.port_put(port_cmd, cmd_fis_receive | cmd_clear_busy);
        CHECK((disk.port_get(port_tfd) & 0x88) == 0);
        CHECK((disk.port_get(port_cmd) & cmd_clear_busy) == 0);
    }
    SECTION("the link") {
        disk.port_put(port_sctl, 1);
        disk.port_put(port_sctl, 0);
        disk.stop_port();
    }
    SECTION("the controller") {
        disk.put(reg_ghc, ghc_reset);
        CHECK(disk.get(reg_ghc) == ghc_ahci);
        CHECK(disk.port_get(port_ie) == 0);
        CHECK(disk.port_get(port_sig) == 0x101);
    }
    SECTION("the machine") {
        disk.power_on();
        CHECK(disk.port_get(port_clb) == 0);
    }
    disk.backend.complete_all(); // of the abandoned command
    CHECK(disk.guest_bytes(AhciRig::target, 512) == Bytes(512, 0));
    disk.start_port();
    disk.prepare(0, {.code = 0x25, .lba = 10, .count = 1}, {{AhciRig::target, 512}});
    disk.issue(1);
    disk.backend.complete_all();
    CHECK(disk.port_get(port_ci) == 0);
    CHECK(disk.guest_bytes(AhciRig::target, 512) == disk.sectors(10, 1));
}

TEST_CASE("AHCI: software reset") {
    Disk disk;
    disk.prepare(0, {}, {});
    auto m = disk.memory.bytes();
    // As libahci: the first frame with reset and clear-busy, the second without.
    m[AhciRig::tables + 1] = 0;
    m[AhciRig::tables + 15] = 4;
    store_le<std::uint32_t>(m, AhciRig::list, 5 | 0x100 | header_clear_busy);
    disk.issue(1);
    CHECK(disk.port_get(port_ci) == 0);
    m[AhciRig::tables + 15] = 0;
    store_le<std::uint32_t>(m, AhciRig::list, 5);
    disk.issue(1);
    CHECK(disk.port_get(port_ci) == 0);
    CHECK(disk.port_get(port_sig) == 0x101);
    CHECK(disk.port_get(port_tfd) == 0x150);
    CHECK(disk.guest_bytes(AhciRig::fis + received_d2h, 1) == Bytes{0x34});
}

TEST_CASE("AHCI: pause and resume") {
    Disk disk{true};
    disk.prepare(0, {.code = 0x25, .lba = 0, .count = 384}, {{AhciRig::target, 384 * 512}});
    disk.issue(1);
    disk.ahci.pause();
    disk.backend.complete_all();
    disk.prepare(1, {.code = 0xea}, {});
    disk.issue(2);
    CHECK(disk.backend.waiting() == 0);
    CHECK(disk.guest_bytes(AhciRig::target, 16) == Bytes(16, 0));
    disk.ahci.resume();
    disk.backend.complete_all();
    CHECK(disk.port_get(port_ci) == 0);
    CHECK(disk.backend.flushes == 1);
    CHECK(disk.guest_bytes(AhciRig::target, 384 * 512) == disk.sectors(0, 384));
}

TEST_CASE("AHCI: nothing moves without bus mastering") {
    Disk disk;
    disk.config_write(4, 2, 3);
    disk.prepare(0, {.code = 0x25, .count = 1}, {{AhciRig::target, 512}});
    disk.issue(1);
    CHECK(disk.port_get(port_ci) == 1);
    disk.config_write(4, 2, 7);
    CHECK(disk.port_get(port_ci) == 0);
}

TEST_CASE("AHCI: message-signalled interrupts") {
    Disk disk;
    disk.config_write(0x84, 4, 0xfee01000);
    disk.config_write(0x8c, 2, 0x4051);
    disk.config_write(0x82, 2, 1);
    disk.prepare(0, {.code = 0xe7}, {});
    disk.issue(1);
    REQUIRE(disk.messages.size() == 1);
    CHECK(disk.messages[0].address == 0xfee01000);
    CHECK(disk.messages[0].data == 0x4051);
    CHECK_FALSE(disk.irq.level);
    CHECK((disk.config_read(6, 2) & 8) != 0);
    // A second event before IS is cleared: told when it is.
    disk.port_put(port_is, ~0u);
    disk.issue(1);
    CHECK(disk.messages.size() == 1);
    disk.put(reg_is, 1);
    CHECK(disk.messages.size() == 2);
    disk.port_put(port_is, ~0u);
    disk.put(reg_is, 1);
    CHECK(disk.messages.size() == 2);
    CHECK(disk.get(reg_is) == 0);
    // The wire can be disabled, too.
    disk.config_write(0x82, 2, 0);
    disk.issue(1);
    CHECK(disk.irq.level);
    disk.config_write(4, 2, 0x407);
    CHECK_FALSE(disk.irq.level);
}

TEST_CASE("AHCI: a CD-ROM") {
    Cdrom cd;
    constexpr auto target = AhciRig::target;
    CHECK(cd.port_get(port_sig, 1) == 0xeb140101);
    // IDENTIFY DEVICE tells that it is none; IDENTIFY PACKET DEVICE is right.
    cd.prepare(0, {.code = 0xec}, {{target, 512}});
    cd.issue(1, 1);
    CHECK((cd.port_get(port_is, 1) & is_task_file) != 0);
    cd.stop_port(1);
    cd.start_port(1);
    cd.prepare(0, {.code = 0xa1}, {{target, 512}});
    cd.issue(1, 1);
    CHECK(cd.port_get(port_ci, 1) == 0);
    CHECK(load_le<std::uint16_t>(cd.guest_bytes(target, 2)) == 0x85c0);
    cd.port_put(port_is, ~0u, 1);
    // The unit attention of power-on, then sense data by PIO.
    CHECK((cd.packet({0}, {}, false) & is_task_file) != 0);
    cd.stop_port(1);
    cd.start_port(1);
    CHECK(cd.packet({3, 0, 0, 0, 18}, {{target, 18}}, false) == (is_pio_setup | is_d2h));
    CHECK(cd.guest_bytes(target, 13)[12] == 0x29);
    CHECK(cd.prdbc(0) == 18);
    // READ(10), by DMA and by PIO.
    const bool dma = GENERATE(false, true);
    cd.packet({0x28, 0, 0, 0, 0, 3, 0, 0, 40}, {{target, 40 * 2048}}, dma);
    CHECK(cd.port_get(port_ci, 1) == 0);
    CHECK(cd.guest_bytes(target, 40 * 2048) ==
          Bytes(cd.content.begin() + 3 * 2048, cd.content.begin() + 43 * 2048));
    // A packet command without a packet never ends, and a reset ends that.
    cd.prepare(0, {.code = 0xa0}, {});
    cd.issue(1, 1);
    CHECK(cd.port_get(port_ci, 1) == 1);
    cd.stop_port(1);
    cd.port_put(port_sctl, 1, 1);
    cd.port_put(port_sctl, 0, 1);
    CHECK(cd.port_get(port_sig, 1) == 0xeb140101);
    cd.start_port(1);
    cd.prepare(0, {.code = 0xa1}, {{target, 512}});
    cd.issue(1, 1);
    CHECK(cd.port_get(port_ci, 1) == 0);
}

TEST_CASE("AHCI: a place is taken once, and there are six") {
    AhciRig rig;
    rig.add_disk(0, 8);
    CHECK_THROWS_AS(rig.add_disk(0, 8), std::logic_error);
    CHECK_THROWS_AS(rig.add_disk(6, 8), std::out_of_range);
}
