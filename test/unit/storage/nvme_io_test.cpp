// SPDX-License-Identifier: GPL-2.0-or-later
// The NVMe disk: every command, its errors, flushes, pauses, resets, and a guest that means harm.
#include "test/unit/storage/nvme_rig.hpp"

using namespace escalus;
using namespace escalus::test;

namespace {
constexpr auto target = NvmeRig::target;
namespace op {
enum : std::uint8_t { flush = 0, write = 1, read = 2, compare = 5, zeroes = 8, dataset = 9 };
}
constexpr std::uint32_t unit_access = 1u << 30, deallocate = 1u << 25;
} // namespace

TEST_CASE("NVMe disk: reads and writes of all sizes and shapes") {
    const bool deferred = GENERATE(false, true);
    NvmeDisk disk{deferred};
    for (const std::uint32_t count : {1u, 7u, 8u, 9u, 16u, 17u, 600u, 2048u}) {
        for (const std::uint64_t address : {target, target + 512, target + 4}) {
            CAPTURE(count, address);
            REQUIRE(disk.transfer(op::read, count, count, address) == 0);
            REQUIRE(disk.guest_bytes(address, count * 512) == disk.image(count * 512, count * 512));
        }
    }
    CHECK((disk.backend.straight_reads != 0) == !deferred);
    const auto data = pattern(600 * 512, 0x3c);
    disk.fill(target, data);
    CHECK(disk.transfer(op::write, 77, 600) == 0);
    CHECK(disk.image(77 * 512, 600 * 512) == data);
    CHECK(disk.backend.flushes == 0);
    CHECK(disk.run(disk.io, {.opcode = op::flush}).code() == 0);
    CHECK(disk.run(disk.io, {.opcode = op::flush, .nsid = 0xffffffff}).code() == 0);
    CHECK(disk.backend.flushes == 2);
}

TEST_CASE("NVMe disk: lists of pages that go on elsewhere") {
    NvmeDisk disk;
    auto m = disk.memory.bytes();
    // The list begins with the last two places of a page: one region, then where the list goes on.
    const std::uint64_t list = NvmeRig::page + 4096 - 16;
    store_le<std::uint64_t>(m, list, target + 3 * 4096);
    store_le<std::uint64_t>(m, list + 8, NvmeRig::page + 4096);
    for (unsigned i = 0; i < 4; ++i)
        store_le<std::uint64_t>(m, NvmeRig::page + 4096 + 8ull * i, target + (16 - i) * 4096);
    CHECK(disk.run(disk.io, {.opcode = op::read, .prp1 = target, .prp2 = list, .words = {0, 0, 47}}).code() ==
          0);
    CHECK(disk.guest_bytes(target, 4096) == disk.image(0, 4096));
    CHECK(disk.guest_bytes(target + 3 * 4096, 4096) == disk.image(4096, 4096));
    for (unsigned i = 0; i < 4; ++i)
        CHECK(disk.guest_bytes(target + (16 - i) * 4096, 4096) == disk.image((i + 2) * 4096, 4096));
    // A list that leads to itself ends with the data.
    store_le<std::uint64_t>(m, list + 8, list & ~0xfffull);
    disk.run(disk.io, {.opcode = op::read, .prp1 = target, .prp2 = list + 8, .words = {0, 0, 2047}});
}

TEST_CASE("NVMe disk: regions that cannot be") {
    NvmeDisk disk;
    const auto run = [&](std::uint64_t prp1, std::uint64_t prp2, std::uint32_t blocks) {
        return disk
            .run(disk.io, {.opcode = op::read, .prp1 = prp1, .prp2 = prp2, .words = {0, 0, blocks - 1}})
            .code();
    };
    CHECK(run(target + 2, 0, 1) == 0x13);
    CHECK(run(target, target + 8, 16) == 0x13);
    CHECK(run(target, target + 4, 64) == 0x13);
    store_le<std::uint64_t>(disk.memory.bytes(), NvmeRig::page, target + 4096);
    store_le<std::uint64_t>(disk.memory.bytes(), NvmeRig::page + 8, target + 8200);
    CHECK(run(target, NvmeRig::page, 24) == 0x13);
    CHECK(run(0x7fffffff000, 0, 1) == 4);
    CHECK(run(target, 0x7fffffff000, 16) == 4);
    CHECK(run(target, 0x7fffffff000, 64) == 4);
    CHECK(run(NvmeRig::bar, 0, 1) == 4);
    CHECK(run(~0ull & ~3ull, 0, 8) == 4);
    CHECK(run(target, 0, 2049) == 2);
    CHECK(run(target, target + 4096, 8) == 0);
}

TEST_CASE("NVMe disk: compare") {
    NvmeDisk disk{GENERATE(false, true)};
    disk.fill(target, disk.image(512, 600 * 512));
    CHECK(disk.transfer(op::compare, 1, 600) == 0);
    disk.memory.bytes()[target + 599 * 512] ^= 1;
    CHECK(disk.transfer(op::compare, 1, 600) == 0x285);
    CHECK(disk.transfer(op::compare, 1, 599) == 0);
}

TEST_CASE("NVMe disk: zeroes and deallocation") {
    NvmeDisk disk{GENERATE(false, true)};
    CHECK(disk.run(disk.io, {.opcode = op::zeroes, .words = {100, 0, 3}}).code() == 0);
    CHECK(disk.image(100 * 512, 2048) == Bytes(2048, 0));
    CHECK(disk.image(104 * 512, 16) != Bytes(16, 0));
    CHECK(disk.run(disk.io, {.opcode = op::zeroes, .words = {200, 0, 1 | deallocate}}).code() == 0);
    CHECK(disk.run(disk.io, {.opcode = op::zeroes, .words = {8190, 0, 2}}).code() == 0x80);
    CHECK(disk.backend.discards == 0);
    const auto range = [&](unsigned n, std::uint32_t blocks, std::uint64_t lba) {
        store_le<std::uint32_t>(disk.memory.bytes(), target + 16 * n, 0);
        store_le<std::uint32_t>(disk.memory.bytes(), target + 16 * n + 4, blocks);
        store_le<std::uint64_t>(disk.memory.bytes(), target + 16 * n + 8, lba);
    };
    range(0, 8, 8);
    range(1, 0, 0);
    range(2, 1, 8191);
    CHECK(disk.run(disk.io, {.opcode = op::dataset, .prp1 = target, .words = {2, 4}}).code() == 0);
    CHECK(disk.backend.discards == 2);
    CHECK(disk.image(8 * 512, 4096) == Bytes(4096, 0));
    CHECK(disk.run(disk.io, {.opcode = op::dataset, .prp1 = target, .words = {2, 1}}).code() == 0); // a hint
    CHECK(disk.backend.discards == 2);
    range(0, 2, 8191);
    CHECK(disk.run(disk.io, {.opcode = op::dataset, .prp1 = target, .words = {0, 4}}).code() == 0x80);
    range(0, 0xffffffff, ~0ull);
    CHECK(disk.run(disk.io, {.opcode = op::dataset, .prp1 = target, .words = {0, 4}}).code() == 0x80);
    CHECK(disk.run(disk.io, {.opcode = op::dataset, .prp1 = 0x7fffffff000, .words = {255, 4}}).code() == 4);
}

TEST_CASE("NVMe disk: no cache, and past it") {
    NvmeDisk disk{GENERATE(false, true)};
    CHECK(disk.transfer(op::write, 0, 1, target, unit_access) == 0);
    CHECK(disk.backend.flushes == 1);
    CHECK(disk.transfer(op::read, 0, 1, target, unit_access) == 0);
    CHECK(disk.backend.flushes == 2);
    CHECK(disk.run(disk.admin, {.opcode = 9, .words = {6, 0}}).code() == 0);
    CHECK(disk.backend.flushes == 3);
    CHECK(disk.transfer(op::write, 0, 1) == 0);
    CHECK(disk.backend.flushes == 4);
    CHECK(disk.run(disk.io, {.opcode = op::zeroes}).code() == 0);
    CHECK(disk.backend.flushes == 5);
    disk.backend.fail_flush = true;
    CHECK(disk.transfer(op::write, 0, 1) == 0x280);
}

TEST_CASE("NVMe disk: errors of the image") {
    NvmeDisk disk{GENERATE(false, true)};
    disk.backend.bad_offset = 1300 * 512;
    CHECK(disk.transfer(op::read, 1000, 512) == 0x281);
    CHECK(disk.transfer(op::write, 1300, 1) == 0x280);
    CHECK(disk.transfer(op::compare, 1300, 1) == 0x281);
    CHECK(disk.run(disk.io, {.opcode = op::zeroes, .words = {1300}}).code() == 0x280);
    disk.backend.fail_flush = true;
    const auto result = disk.run(disk.io, {.opcode = op::flush});
    CHECK(result.status == (0x280 | NvmeRig::do_not_retry | NvmeRig::more));
    disk.backend.bad_offset.reset();
    CHECK(disk.transfer(op::read, 1000, 512) == 0);
}

TEST_CASE("NVMe disk: commands that cannot be") {
    NvmeDisk disk;
    CHECK(disk.transfer(op::read, 8192, 1) == 0x80);
    CHECK(disk.transfer(op::read, ~0ull, 1) == 0x80);
    CHECK(disk.transfer(op::write, 8191, 2) == 0x80);
    CHECK(disk.run(disk.io, {.opcode = op::read, .nsid = 2, .prp1 = target}).code() == 0x0b);
    CHECK(disk.run(disk.io, {.opcode = op::read, .nsid = 0xffffffff, .prp1 = target}).code() == 0x0b);
    CHECK(disk.run(disk.io, {.opcode = 0x42}).code() == 1);
    // Fused, and with scatter-gather lists.
    for (const std::uint8_t flags : {0x01, 0x40}) {
        disk.submit(disk.io, {.opcode = op::read, .prp1 = target}, false);
        disk.memory.bytes()[NvmeRig::io_sq + (disk.io.tail + 7) % 8 * 64 + 1] = flags;
        disk.ring(disk.io);
        CHECK(disk.reap(disk.io)->code() == 2);
    }
}

TEST_CASE("NVMe disk: a read-only image") {
    NvmeDisk disk{false, true};
    CHECK(disk.transfer(op::write, 0, 1) == 0x20);
    CHECK(disk.run(disk.io, {.opcode = op::zeroes}).code() == 0x20);
    CHECK(disk.run(disk.io, {.opcode = op::dataset, .prp1 = target, .words = {0, 4}}).code() == 0x20);
    CHECK(disk.transfer(op::read, 0, 1) == 0);
}

TEST_CASE("NVMe disk: several at once, and no room for their completions") {
    NvmeDisk disk{true};
    for (std::uint16_t i = 0; i < 7; ++i)
        disk.submit(disk.io, {.opcode = op::read, .prp1 = target + i * 4096u, .words = {i}, .id = i});
    CHECK(disk.backend.waiting() == 7);
    disk.backend.complete_all();
    // Seven fill the queue: the entries of these wait for the driver.
    for (std::uint16_t i = 0; i < 3; ++i)
        disk.submit(
            disk.io,
            {.opcode = op::read, .prp1 = target, .words = {i}, .id = static_cast<std::uint16_t>(10 + i)});
    disk.backend.complete_all();
    for (std::uint16_t i = 0; i < 7; ++i)
        CHECK(disk.reap(disk.io, i == 6)->id == i);
    disk.backend.complete_all();
    for (std::uint16_t i = 0; i < 3; ++i) {
        const auto result = disk.reap(disk.io);
        REQUIRE(result);
        CHECK(result->id == 10 + i);
    }
    CHECK_FALSE(disk.reap(disk.io));
    CHECK(disk.guest_bytes(target + 4096, 512) == disk.image(512, 512));
}

TEST_CASE("NVMe disk: a head that is ahead of what was posted is refused") {
    NvmeDisk disk;
    disk.submit(disk.admin, {.opcode = 12});
    disk.put(0x100c, 3);
    CHECK(disk.reap(disk.admin)->result == 0x010100);
    CHECK(disk.transfer(op::read, 0, 1) == 0);
}

TEST_CASE("NVMe disk: reset with commands under way") {
    NvmeDisk disk{true};
    disk.submit(disk.io, {.opcode = op::read, .prp1 = target});
    CHECK(disk.backend.waiting() == 1);
    SECTION("of the controller") {
        disk.put(0x14, 0);
    }
    SECTION("of the machine") {
        disk.card.reset(ResetKind::System);
        disk.config_put(0x10, 4, NvmeRig::bar);
        disk.config_put(0x04, 2, 6);
    }
    disk.backend.complete_all();
    CHECK_FALSE(disk.peek(disk.io));
    CHECK(disk.guest_bytes(target, 16) == Bytes(16, 0));
    CHECK_FALSE(disk.irq.level);
    disk.enable();
    disk.create_queues();
    CHECK(disk.transfer(op::read, 5, 1) == 0);
    CHECK(disk.guest_bytes(target, 512) == disk.image(5 * 512, 512));
}

TEST_CASE("NVMe disk: a guest that resets all the time gets no more memory for it") {
    NvmeDisk disk{true};
    for (unsigned round = 0; round < 40; ++round) {
        for (unsigned i = 0; i < 7; ++i)
            disk.submit(disk.io, {.opcode = op::write, .prp1 = target, .words = {i}});
        disk.put(0x14, 0);
        disk.enable();
        disk.create_queues();
    }
    CHECK(disk.backend.waiting() == 32);
    disk.submit(disk.io, {.opcode = op::read, .prp1 = target});
    disk.backend.complete_all();
    CHECK(disk.reap(disk.io)->code() == 0);
}

TEST_CASE("NVMe disk: pause and resume") {
    NvmeDisk disk{true};
    disk.submit(disk.io, {.opcode = op::read, .prp1 = target, .prp2 = target + 4096, .words = {0, 0, 15}});
    disk.card.pause();
    disk.backend.complete_all();
    CHECK_FALSE(disk.peek(disk.io));
    CHECK(disk.guest_bytes(target, 16) == Bytes(16, 0));
    disk.submit(disk.io, {.opcode = op::flush});
    CHECK(disk.backend.waiting() == 0);
    disk.card.resume();
    disk.backend.complete_all();
    CHECK(disk.reap(disk.io)->code() == 0);
    CHECK(disk.reap(disk.io)->code() == 0);
    CHECK(disk.guest_bytes(target, 8192) == disk.image(0, 8192));
}

TEST_CASE("NVMe disk: without the bus nothing is fetched") {
    NvmeDisk disk;
    disk.config_put(0x04, 2, 2);
    disk.submit(disk.io, {.opcode = op::read, .prp1 = target});
    CHECK_FALSE(disk.peek(disk.io));
    disk.config_put(0x04, 2, 6);
    CHECK(disk.reap(disk.io)->code() == 0);
}

TEST_CASE("NVMe disk: queues that are not memory stop the controller") {
    NvmeDisk disk;
    disk.put(0x14, 0);
    disk.put(0x24, 15 << 16 | 15);
    SECTION("submissions") {
        disk.put_wide(0x28, 0x7ffff0000000);
    }
    SECTION("completions") {
        disk.put_wide(0x30, NvmeRig::bar);
    }
    disk.put(0x14, 0x00460001);
    disk.put(0x1000, 1);
    CHECK(disk.get(0x1c) == 3);
    disk.put(0x14, 0);
    CHECK(disk.get(0x1c) == 0);
}

TEST_CASE("NVMe disk: a device that goes away with commands under way") {
    NvmeDisk disk{true};
    disk.submit(disk.io, {.opcode = op::read, .prp1 = target});
    CHECK(disk.backend.waiting() == 1);
}
