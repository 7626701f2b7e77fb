// SPDX-License-Identifier: GPL-2.0-or-later
// The NVMe controller: its states, queues, admin commands, events and interrupts.
#include "test/unit/storage/nvme_rig.hpp"

using namespace escalus;
using namespace escalus::test;

namespace {
constexpr auto target = NvmeRig::target;
enum : std::uint8_t {
    delete_sq = 0,
    create_sq = 1,
    log_page = 2,
    delete_cq = 4,
    create_cq = 5,
    identify = 6
};
enum : std::uint8_t { abort_command = 8, set_features = 9, get_features = 10, event_request = 12 };
} // namespace

TEST_CASE("NVMe: what PCI shows") {
    NvmeRig rig;
    CHECK(rig.config_get(8, 4) == 0x01080202);
    unsigned found = 0;
    for (auto at = rig.config_get(0x34, 1); at != 0; at = rig.config_get(at + 1, 1))
        found += rig.config_get(at, 1) == 0x11 || rig.config_get(at, 1) == 1 ? 1u : 0u;
    CHECK(found == 2);
}

TEST_CASE("NVMe: enabled, disabled, shut down") {
    NvmeRig rig;
    CHECK(rig.get(8) == 0x00010400);
    CHECK((rig.get(0) & 0xffff) == 1023);
    CHECK((rig.get(4) >> 5 & 1) == 1); // the NVM command set
    CHECK(rig.get(0x1c) == 0);
    rig.enable();
    CHECK(rig.get(0x1c) == 1);
    CHECK(rig.get(0x14) == 0x00460001);
    SECTION("a shutdown flushes first") {
        rig.backend.deferred = true;
        rig.put(0x14, 0x00464001);
        CHECK(rig.get(0x1c) == 5);
        rig.backend.complete_all();
        CHECK(rig.get(0x1c) == 9);
        CHECK(rig.backend.flushes == 1);
        rig.put(0x14, 0);
        CHECK(rig.get(0x1c) == 0);
        rig.enable();
        CHECK(rig.get(0x1c) == 1);
    }
    SECTION("queues end with a reset of the controller") {
        rig.create_queues();
        rig.put(0x14, 0x00460000);
        CHECK(rig.get(0x1c) == 0);
        CHECK(rig.get(0x28) == NvmeRig::admin_sq);
        rig.enable();
        rig.create_queues();
    }
}

TEST_CASE("NVMe: a configuration that cannot be") {
    NvmeRig rig;
    SECTION("command set") {
        rig.enable(0x00460011);
    }
    SECTION("arbitration") {
        rig.enable(0x00460801);
    }
    SECTION("page size") {
        rig.enable(0x00460281);
    }
    SECTION("no admin queue") {
        rig.put(0x24, 0);
        rig.put(0x14, 0x00460001);
    }
    CHECK(rig.get(0x1c) == 2);
    rig.put(0x14, 0);
    CHECK(rig.get(0x1c) == 0);
}

TEST_CASE("NVMe: identify") {
    NvmeRig rig;
    rig.enable();
    const auto ask = [&](std::uint32_t what, std::uint32_t nsid) {
        std::ranges::fill(rig.memory.bytes().subspan(target, 8192), std::uint8_t{0xcc});
        return rig
            .run(rig.admin, {.opcode = identify,
                             .nsid = nsid,
                             .prp1 = target + 1024,
                             .prp2 = target + 4096,
                             .words = {what}})
            .code();
    };
    const auto told = [&](unsigned at) {
        return load_le<std::uint32_t>(rig.memory.bytes(), target + 1024 + at);
    };
    REQUIRE(ask(1, 0) == 0);
    CHECK(rig.guest_bytes(target + 1024 + 4, 20) == Bytes{'n', 'v', 'm', 'e', '0', 'n', '1', ' ', ' ', ' ',
                                                          ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' '});
    CHECK((told(76) >> 8 & 0xff) == 8); // up to 1 MiB at once
    CHECK(told(80) == 0x00010400);
    CHECK((told(512) & 0xffff) == 0x4466);
    CHECK(told(516) == 1);
    CHECK(told(520) == 0x0d);
    CHECK((told(524) >> 8 & 0xff) == 7); // write cache
    CHECK(told(768) == 0x2e6e716e);      // "nqn."
    REQUIRE(ask(0, 1) == 0);
    CHECK(told(0) == 8192);
    CHECK(told(128) == 0x00090000);
    CHECK(told(96) >> 24 == 0);
    REQUIRE(ask(2, 0) == 0);
    CHECK(told(0) == 1);
    CHECK(told(4) == 0);
    REQUIRE(ask(2, 1) == 0);
    CHECK(told(0) == 0);
    REQUIRE(ask(3, 1) == 0);
    CHECK(told(0) == 0x1003);
    CHECK(told(4) == 0xefbeadde);
    CHECK(ask(0, 2) == 0x0b);
    CHECK(ask(0, 0xffffffff) == 0x0b);
    CHECK(ask(2, 0xffffffff) == 0x0b);
    CHECK(ask(3, 0) == 0x0b);
    CHECK(ask(0x55, 1) == 2);
    CHECK(rig.run(rig.admin, {.opcode = identify, .prp1 = 0x7fffff000, .words = {1}}).code() == 4);
    CHECK(rig.run(rig.admin, {.opcode = identify, .prp1 = target + 1, .words = {1}}).code() == 0x13);
    CHECK(rig.run(rig.admin, {.opcode = 0x99}).status == (1 | NvmeRig::do_not_retry));
}

TEST_CASE("NVMe: a read-only image says so") {
    NvmeRig rig{64, true};
    rig.enable();
    REQUIRE(rig.run(rig.admin, {.opcode = identify, .prp1 = target}).code() == 0);
    CHECK(rig.memory.bytes()[target + 99] == 1);
    REQUIRE(rig.run(rig.admin, {.opcode = identify, .prp1 = target, .words = {1}}).code() == 0);
    CHECK(rig.memory.bytes()[target + 520] == 1);
}

TEST_CASE("NVMe: queues are made and deleted") {
    NvmeRig rig;
    rig.enable();
    const auto admin = [&](std::uint8_t opcode, std::uint32_t dword10, std::uint32_t dword11 = 0,
                           std::uint64_t at = NvmeRig::io_cq) {
        return rig.run(rig.admin, {.opcode = opcode, .nsid = 0, .prp1 = at, .words = {dword10, dword11}})
            .code();
    };
    constexpr std::uint32_t entries = 7u << 16;
    CHECK(admin(create_cq, entries | 0, 1) == 0x101);
    CHECK(admin(create_cq, entries | 17, 1) == 0x101);
    CHECK(admin(create_cq, 1, 1) == 0x102);                   // a single entry
    CHECK(admin(create_cq, 0x0400'0001, 1) == 0x102);         // 1025
    CHECK(admin(create_cq, entries | 1, 0) == 2);             // not contiguous
    CHECK(admin(create_cq, entries | 1, 1, 0x13010) == 0x13); // not at a page
    CHECK(admin(create_cq, entries | 1, 17 << 16 | 3) == 0x108);
    CHECK(admin(create_cq, entries | 1, 1 << 16 | 3) == 0x108); // without MSI-X
    CHECK(admin(create_sq, entries | 1, 1 << 16 | 1) == 0x100); // its other end is missing
    CHECK(admin(create_cq, entries | 1, 3) == 0);
    CHECK(admin(create_cq, entries | 1, 3) == 0x101);
    CHECK(admin(create_sq, entries | 0, 1 << 16 | 1) == 0x101);
    CHECK(admin(create_sq, entries | 1, 0 << 16 | 1) == 0x100);
    CHECK(admin(create_sq, entries | 2, 1 << 16 | 1) == 0);
    CHECK(admin(create_sq, entries | 2, 1 << 16 | 1) == 0x101);
    CHECK(admin(delete_cq, 1) == 0x10c);
    CHECK(admin(delete_cq, 0) == 0x101);
    CHECK(admin(delete_sq, 0) == 0x101);
    CHECK(admin(delete_sq, 1) == 0x101);
    CHECK(admin(delete_sq, 2) == 0);
    CHECK(admin(delete_cq, 1) == 0);
    CHECK(admin(delete_cq, 1) == 0x101);
}

TEST_CASE("NVMe: a queue with commands under way is deleted when they end") {
    NvmeDisk disk{true};
    disk.submit(disk.io, {.opcode = 2, .prp1 = target, .words = {8, 0, 0}});
    CHECK(disk.backend.waiting() == 1);
    disk.submit(disk.admin, {.opcode = delete_sq, .words = {1}, .id = 99});
    CHECK_FALSE(disk.peek(disk.admin));
    // Nothing more is taken from it.
    disk.submit(disk.io, {.opcode = 2, .prp1 = target, .words = {8, 0, 0}});
    CHECK(disk.backend.waiting() == 1);
    disk.backend.complete_all();
    CHECK(disk.reap(disk.io));
    CHECK_FALSE(disk.reap(disk.io));
    const auto deleted = disk.reap(disk.admin);
    REQUIRE(deleted);
    CHECK(deleted->id == 99);
    CHECK(deleted->status == 0);
}

TEST_CASE("NVMe: features") {
    NvmeRig rig;
    rig.enable();
    const auto set = [&](std::uint32_t feature, std::uint32_t value) {
        return rig.run(rig.admin, {.opcode = set_features, .words = {feature, value}});
    };
    const auto get = [&](std::uint32_t feature, std::uint32_t value = 0) {
        return rig.run(rig.admin, {.opcode = get_features, .words = {feature, value}});
    };
    CHECK(set(7, 3 << 16 | 1).result == (3 << 16 | 1));
    CHECK(get(7).result == (3 << 16 | 1));
    CHECK(set(7, 99 << 16 | 99).result == (15 << 16 | 15));
    CHECK(set(7, 0xffff).code() == 2);
    CHECK(get(6).result == 1);
    CHECK(set(6, 0).code() == 0);
    CHECK(rig.backend.flushes == 1);
    CHECK(get(6).result == 0);
    CHECK(set(6, 1).code() == 0);
    CHECK(set(8, 0x0103).code() == 0);
    CHECK(get(8).result == 0x0103);
    CHECK(set(9, 0x10003).code() == 0);
    CHECK(get(9, 3).result == 0x10003);
    CHECK(get(9, 4).result == 4);
    CHECK(get(9, 17).code() == 2);
    CHECK(set(9, 17).code() == 2);
    CHECK(set(2, 0).code() == 0);
    CHECK(set(2, 1).code() == 2);
    CHECK(get(4).result == 343);
    CHECK(get(4, 1 << 20).result == 0);
    CHECK(set(4, 1 << 16).code() == 2);
    CHECK(set(0x80, 0).code() == 2);
    CHECK(get(0x80).code() == 2);
    CHECK(get(0x107).code() == 2);             // another than the current value
    CHECK(set(0x80000007, 0).code() == 0x10d); // nothing is saved
    rig.create_queues();
    CHECK(set(7, 0).code() == 0x0c);
    rig.put(0x14, 0);
    rig.enable();
    CHECK(get(8).result == 0);
    rig.backend.fail_flush = true;
    CHECK(set(6, 0).code() == 0x280);
}

TEST_CASE("NVMe: logs") {
    NvmeDisk disk;
    const auto ask = [&](std::uint32_t page, std::uint32_t bytes, std::uint32_t offset = 0,
                         std::uint32_t nsid = 0xffffffff) {
        return disk
            .run(disk.admin, {.opcode = log_page,
                              .nsid = nsid,
                              .prp1 = target,
                              .words = {page | (bytes / 4 - 1) << 16, 0, offset}})
            .code();
    };
    const auto told = [&](unsigned at) { return load_le<std::uint32_t>(disk.memory.bytes(), target + at); };
    CHECK(disk.transfer(2, 0, 16) == 0);
    CHECK(disk.transfer(1, 0, 8) == 0);
    CHECK(disk.transfer(2, 8190, 8) == 0x80);
    REQUIRE(ask(2, 512) == 0);
    CHECK(disk.memory.bytes()[target] == 0);
    CHECK((told(0) >> 8 & 0xffff) == 300);
    CHECK(told(32) == 1);
    CHECK(told(64) == 1);
    CHECK(told(80) == 1);
    CHECK(told(176) == 1);
    REQUIRE(ask(1, 128) == 0);
    CHECK(told(0) == 1);
    CHECK((told(8) & 0xffff) == 1);
    CHECK((told(12) & 0xffff) == 0x80 << 1);
    CHECK(told(16) == 8190);
    REQUIRE(ask(1, 64, 64) == 0);
    CHECK(told(0) == 0);
    REQUIRE(ask(3, 512) == 0);
    CHECK(told(0) == 1);
    CHECK(ask(2, 512, 2) == 2);
    CHECK(ask(2, 512, 516) == 2);
    CHECK(ask(2, 512, 0, 5) == 0x0b);
    CHECK(ask(0x70, 512) == 0x109);
    REQUIRE(
        disk.run(disk.admin, {.opcode = log_page, .prp1 = target, .words = {0xffff0002u, 0x1fff}}).code() ==
        2);
}

TEST_CASE("NVMe: asynchronous events") {
    NvmeDisk disk;
    for (std::uint16_t i = 0; i < 4; ++i)
        disk.submit(disk.admin, {.opcode = event_request, .id = static_cast<std::uint16_t>(50 + i)});
    CHECK_FALSE(disk.peek(disk.admin));
    CHECK(disk.run(disk.admin, {.opcode = event_request}).code() == 0x105);
    disk.put(0x1000 + 8 * 5, 0); // there is no such queue
    auto event = disk.reap(disk.admin);
    REQUIRE(event);
    CHECK(event->id == 50);
    CHECK(event->result == 0x010000);
    disk.put(0x1000 + 8, 8); // beyond the queue: not told until the log has been read
    CHECK_FALSE(disk.peek(disk.admin));
    CHECK(disk.run(disk.admin, {.opcode = log_page, .nsid = 0, .prp1 = target, .words = {1}}).code() == 0);
    disk.put(0x1000 + 8, 8);
    event = disk.reap(disk.admin);
    REQUIRE(event);
    CHECK(event->result == 0x010100);
    // A threshold below what it is.
    CHECK(disk.run(disk.admin, {.opcode = set_features, .words = {4, 290}}).code() == 0);
    CHECK_FALSE(disk.peek(disk.admin));
    CHECK(disk.run(disk.admin, {.opcode = set_features, .words = {4, 343}}).code() == 0);
    CHECK(disk.run(disk.admin, {.opcode = set_features, .words = {11, 0xff}}).code() == 0);
    disk.submit(disk.admin, {.opcode = set_features, .words = {4, 290}});
    event = disk.reap(disk.admin);
    REQUIRE(event);
    CHECK(event->result == 0x020101);
}

TEST_CASE("NVMe: abort is answered") {
    NvmeDisk disk;
    CHECK(disk.run(disk.admin, {.opcode = abort_command, .words = {1}}).result == 1);
}

TEST_CASE("NVMe: interrupts by wire") {
    NvmeDisk disk;
    CHECK_FALSE(disk.irq.level);
    disk.submit(disk.io, {.opcode = 2, .prp1 = target});
    CHECK(disk.irq.level);
    disk.put(0x0c, 1);
    CHECK(disk.get(0x0c) == 1);
    CHECK_FALSE(disk.irq.level);
    disk.put(0x10, 1);
    CHECK(disk.irq.level);
    REQUIRE(disk.reap(disk.io));
    CHECK_FALSE(disk.irq.level);
    CHECK(disk.messages.empty());
}

TEST_CASE("NVMe: interrupts by message") {
    NvmeRig rig;
    rig.enable();
    rig.config_put(0x42, 2, 0x8000);
    for (unsigned i = 0; i < 17; ++i) {
        rig.put(0x2000 + 16 * i, 0xfee00000);
        rig.put(0x2000 + 16 * i + 8, 0x30 + i);
        rig.put(0x2000 + 16 * i + 12, 0);
    }
    rig.create_queues(3);
    rig.messages.clear();
    CHECK(rig.transfer(2, 0, 1) == 0);
    REQUIRE(rig.messages.size() == 1);
    CHECK(rig.messages[0] == std::pair{std::uint64_t{0xfee00000}, 0x33u});
    CHECK_FALSE(rig.irq.level);
    CHECK(rig.run(rig.admin, {.opcode = abort_command}).code() == 0);
    CHECK(rig.messages.at(1).second == 0x30);
    CHECK(rig.get(0x2800) == 0);
}
