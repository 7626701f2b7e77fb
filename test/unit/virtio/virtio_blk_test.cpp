// SPDX-License-Identifier: GPL-2.0-or-later
// The virtio disk: every request, its errors, flushes, pauses, resets, and a guest that means harm.
#include "test/unit/virtio/virtio_rig.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

namespace {
enum : std::uint32_t { in = 0, out = 1, flush = 4, get_id = 8, discard = 11, write_zeroes = 13 };
constexpr auto everything = VirtioRig::version_1 | VirtioRig::flush_feature | VirtioRig::cache_switch |
                            VirtioRig::discard_feature | VirtioRig::zero_feature;
constexpr auto target = VirtioRig::target;

struct Disk : VirtioRig {
    explicit Disk(bool deferred = false, std::uint64_t features = everything, bool read_only = false)
        : VirtioRig{4096, read_only} {
        REQUIRE(start_modern(features & (read_only ? ~0x6000ull : ~0ull)));
        backend.deferred = deferred;
    }
    /// One request to its end; returns its status.
    unsigned run(std::uint32_t type, std::uint64_t sector, std::vector<DriverQueue::Part> data) {
        put_header(type, sector);
        data.insert(data.begin(), {header, 16});
        data.push_back({status, 1, true});
        q.add(0, data);
        notify();
        backend.complete_all();
        REQUIRE(q.used_index() == static_cast<std::uint16_t>(q.seen + 1));
        length = q.reap().second;
        return status_byte();
    }
    void fill(std::uint64_t at, const Bytes& data) {
        std::ranges::copy(data, memory.bytes().begin() + static_cast<std::ptrdiff_t>(at));
    }
    void range(std::uint64_t sector, std::uint32_t sectors, std::uint32_t flags, unsigned n = 0) {
        store_le<std::uint64_t>(memory.bytes(), target + 16 * n, sector);
        store_le<std::uint32_t>(memory.bytes(), target + 16 * n + 8, sectors);
        store_le<std::uint32_t>(memory.bytes(), target + 16 * n + 12, flags);
    }
    DriverQueue q = queue();
    std::uint32_t length = 0;
};
} // namespace

TEST_CASE("virtio disk: configuration") {
    Disk disk;
    const auto device = VirtioRig::modern + 0x2000;
    CHECK(disk.get(disk.memory_bus, device, 8) == 4096);
    CHECK(disk.get(disk.memory_bus, device + 12, 4) == 510); // pieces a request
    CHECK(disk.get(disk.memory_bus, device + 20, 4) == 512);
    CHECK(disk.get(disk.memory_bus, device + 34, 2) == 2);
    CHECK(disk.get(disk.memory_bus, device + 58, 8) == 0); // partly beyond the end
    CHECK(disk.run(get_id, 0, {{target, 20, true}}) == 0);
    CHECK(disk.guest_bytes(target, 5) == Bytes{'x', 'v', 'd', 'a', 0});
    CHECK(disk.length == 21);
}

TEST_CASE("virtio disk: reads and writes of all sizes and shapes") {
    const bool deferred = GENERATE(false, true);
    Disk disk{deferred};
    CHECK(disk.run(in, 8, {{target, 100, true}, {target + 0x1000, 412, true}}) == 0);
    CHECK(disk.length == 513);
    auto got = disk.guest_bytes(target, 100);
    const auto rest = disk.guest_bytes(target + 0x1000, 412);
    got.insert(got.end(), rest.begin(), rest.end());
    CHECK(got == disk.image(8 * 512, 512));
    // Larger than a chunk.
    CHECK(disk.run(in, 1, {{target, 600 * 512, true}}) == 0);
    CHECK(disk.guest_bytes(target, 600 * 512) == disk.image(512, 600 * 512));
    CHECK(disk.backend.straight_reads == (deferred ? 0 : 2));
    const auto data = pattern(600 * 512, 0x3c);
    disk.fill(target, data);
    CHECK(disk.run(out, 77, {{target, 1000}, {target + 1000, 600 * 512 - 1000}}) == 0);
    CHECK(disk.image(77 * 512, 600 * 512) == data);
    CHECK(disk.backend.straight_writes == 1); // straight from guest memory
    CHECK(disk.backend.writes == 0);
    CHECK(disk.length == 1);
    CHECK(disk.backend.flushes == 0);
    CHECK(disk.run(flush, 0, {}) == 0);
    CHECK(disk.backend.flushes == 1);
    CHECK(disk.irq.level);
}

TEST_CASE("virtio disk: a mebibyte of scattered pages is one request") {
    constexpr unsigned pages = 256;
    constexpr std::uint64_t table = 0x30000, step = 2 * 4096;
    Disk disk;
    const auto page_of = [](unsigned i) { return target + i * step; };
    const auto run = [&](std::uint32_t type) {
        std::vector<DriverQueue::Part> parts{{VirtioRig::header, 16}};
        for (unsigned i = 0; i < pages; ++i)
            parts.push_back({page_of(i), 4096, type == in});
        parts.push_back({VirtioRig::status, 1, true});
        disk.put_header(type, 8);
        disk.q.link(0, parts, table);
        disk.q.put_descriptor(disk.q.descriptors, 0, {table, static_cast<std::uint32_t>(16 * parts.size())},
                              4, 0);
        disk.q.offer(0);
        disk.notify();
        CHECK(disk.status_byte() == 0);
        return disk.q.reap().second;
    };
    CHECK(run(in) == pages * 4096 + 1);
    CHECK(disk.backend.straight_reads == 1);
    for (const unsigned i : {0u, 1u, pages - 1})
        CHECK(disk.guest_bytes(page_of(i), 4096) == disk.image((i + 1) * 4096, 4096));
    disk.fill(page_of(pages - 1), pattern(4096, 0x77));
    CHECK(run(out) == 1);
    CHECK(disk.image(pages * 4096, 4096) == pattern(4096, 0x77));
}

TEST_CASE("virtio disk: layouts that only 1.0 allows") {
    Disk disk;
    disk.put_header(in, 3);
    // The header in two pieces, the status at the end of the data's piece.
    disk.q.add(0, {{VirtioRig::header, 3}, {VirtioRig::header + 3, 13}, {target, 513, true}});
    disk.notify();
    CHECK(disk.guest_bytes(target, 512) == disk.image(3 * 512, 512));
    CHECK(disk.memory.bytes()[target + 512] == 0);
}

TEST_CASE("virtio disk: several at once, on two queues") {
    VirtioRig rig;
    REQUIRE(rig.start_modern(VirtioRig::version_1, 2));
    rig.backend.deferred = true;
    auto first = rig.queue(0), second = rig.queue(1);
    rig.put_header(in, 10);
    rig.put_header(in, 20, VirtioRig::header + 32);
    first.add(0, {{VirtioRig::header, 16}, {target, 512, true}, {VirtioRig::status, 1, true}});
    second.add(0,
               {{VirtioRig::header + 32, 16}, {target + 512, 512, true}, {VirtioRig::status + 1, 1, true}});
    rig.notify(0);
    rig.notify(1);
    CHECK(rig.backend.waiting() == 2);
    CHECK(first.used_index() == 0);
    rig.backend.complete_all();
    CHECK(first.used_index() == 1);
    CHECK(second.used_index() == 1);
    CHECK(rig.guest_bytes(target, 512) == rig.image(10 * 512, 512));
    CHECK(rig.guest_bytes(target + 512, 512) == rig.image(20 * 512, 512));
}

TEST_CASE("virtio disk: discard and write zeroes") {
    Disk disk{GENERATE(false, true)};
    disk.range(8, 8, 0);
    disk.range(32, 1, 0, 1);
    CHECK(disk.run(discard, 0, {{target, 32}}) == 0);
    CHECK(disk.backend.discards == 2);
    disk.range(100, 4, 1);
    CHECK(disk.run(write_zeroes, 0, {{target, 16}}) == 0);
    CHECK(disk.image(100 * 512, 4 * 512) == Bytes(2048, 0));
    CHECK(disk.image(104 * 512, 16) != Bytes(16, 0));
    disk.range(100, 4, 2);
    CHECK(disk.run(write_zeroes, 0, {{target, 16}}) == 2);
    disk.range(100, 4, 1);
    CHECK(disk.run(discard, 0, {{target, 16}}) == 2);
    disk.range(4095, 2, 0);
    CHECK(disk.run(discard, 0, {{target, 16}}) == 1);
    disk.range(~0ull, 0xffffffff, 0);
    CHECK(disk.run(write_zeroes, 0, {{target, 16}}) == 1);
    CHECK(disk.run(discard, 0, {{target, 8}}) == 1);
    CHECK(disk.run(discard, 0, {}) == 1);
    CHECK(disk.run(discard, 0, {{target, 33 * 16}}) == 1);
}

TEST_CASE("virtio disk: write-through") {
    SECTION("flush was not negotiated") {
        Disk disk{GENERATE(false, true), VirtioRig::version_1};
        CHECK(disk.run(out, 0, {{target, 512}}) == 0);
        CHECK(disk.backend.flushes == 1);
        disk.range(8, 8, 0);
        CHECK(disk.run(discard, 0, {{target, 16}}) == 2); // nor was this
    }
    SECTION("the driver switches the cache off") {
        Disk disk;
        const auto writeback = VirtioRig::modern + 0x2000 + 32;
        CHECK(disk.get(disk.memory_bus, writeback, 1) == 1);
        disk.put(disk.memory_bus, writeback, 1, 0);
        CHECK(disk.get(disk.memory_bus, writeback, 1) == 0);
        CHECK(disk.run(out, 0, {{target, 512}}) == 0);
        CHECK(disk.backend.flushes == 1);
        disk.backend.fail_flush = true;
        CHECK(disk.run(out, 0, {{target, 512}}) == 1);
    }
}

TEST_CASE("virtio disk: errors") {
    Disk disk{GENERATE(false, true)};
    CHECK(disk.run(in, 4095, {{target, 1024, true}}) == 1);
    CHECK(disk.run(in, ~0ull, {{target, 512, true}}) == 1);
    CHECK(disk.run(in, 0, {{target, 500, true}}) == 1);
    CHECK(disk.run(99, 0, {}) == 2);
    disk.backend.bad_offset = 1300 * 512;
    CHECK(disk.run(in, 1000, {{target, 512 * 512, true}}) == 1);
    CHECK(disk.run(out, 1300, {{target, 512}}) == 1);
    disk.backend.bad_offset.reset();
    // Data that is not memory.
    CHECK(disk.run(in, 0, {{0x7fffffff0000, 512, true}}) == 1);
    CHECK(disk.run(out, 0, {{VirtioRig::modern, 512}}) == 1);
    CHECK(disk.run(get_id, 0, {{0x7fffffff0000, 20, true}}) == 1);
    CHECK(disk.run(in, 0, {{target, 512, true}}) == 0);
}

TEST_CASE("virtio disk: requests that are none") {
    Disk disk;
    disk.put_header(in, 0);
    disk.q.add(0, {{VirtioRig::header, 16}});                              // no status
    disk.q.add(1, {{VirtioRig::header, 8}, {VirtioRig::status, 1, true}}); // half a header
    disk.notify();
    CHECK(disk.q.used_index() == 2);
    CHECK(disk.q.reap() == std::pair{0u, 0u});
    CHECK(disk.status_byte() == 1);
    disk.q.seen = 2;
    CHECK(disk.run(in, 0, {{target, 512, true}}) == 0);
}

TEST_CASE("virtio disk: a read-only image") {
    Disk disk{false, everything, true};
    CHECK(disk.run(out, 0, {{target, 512}}) == 1);
    CHECK(disk.run(in, 0, {{target, 512, true}}) == 0);
    disk.common(0, 4, 0);
    CHECK((disk.common(4, 4) & 0x6020) == 0x20);
}

TEST_CASE("virtio disk: reset with requests under way") {
    Disk disk{true};
    disk.put_header(in, 5);
    disk.q.add(0, {{VirtioRig::header, 16}, {target, 512, true}, {VirtioRig::status, 1, true}});
    disk.notify();
    CHECK(disk.backend.waiting() == 1);
    disk.common(20, 1, 0);
    disk.backend.complete_all();
    CHECK(disk.q.used_index() == 0);
    CHECK(disk.guest_bytes(target, 16) == Bytes(16, 0));
    CHECK(disk.status_byte() == 0xff);
    // A queue of its own again.
    std::ranges::fill(disk.memory.bytes().subspan(VirtioRig::ring, 0x1000), std::uint8_t{0});
    REQUIRE(disk.start_modern(everything));
    disk.q.offered = disk.q.seen = 0;
    CHECK(disk.run(in, 5, {{target, 512, true}}) == 0);
}

TEST_CASE("virtio disk: pause and resume") {
    Disk disk{true};
    disk.put_header(in, 0);
    disk.q.add(0, {{VirtioRig::header, 16}, {target, 300 * 512, true}, {VirtioRig::status, 1, true}});
    disk.notify();
    disk.card.pause();
    disk.backend.complete_all();
    CHECK(disk.backend.waiting() == 0);
    CHECK(disk.guest_bytes(target, 16) == Bytes(16, 0));
    CHECK_FALSE(disk.irq.level);
    disk.card.resume();
    disk.backend.complete_all();
    CHECK(disk.q.used_index() == 1);
    CHECK(disk.irq.level);
    CHECK(disk.guest_bytes(target, 300 * 512) == disk.image(0, 300 * 512));
}

TEST_CASE("virtio disk: a device that goes away with requests under way") {
    Disk disk{true};
    disk.put_header(in, 0);
    disk.q.add(0, {{VirtioRig::header, 16}, {target, 512, true}, {VirtioRig::status, 1, true}});
    disk.notify();
    CHECK(disk.backend.waiting() == 1);
}

TEST_CASE("virtio disk: no more requests at once than there are buffers for") {
    VirtioRig rig;
    rig.legacy(18, 1, 3);
    rig.legacy(8, 4, VirtioRig::ring / 4096);
    rig.legacy(18, 1, 7);
    rig.backend.deferred = true;
    auto m = rig.memory.bytes();
    DriverQueue q{rig.memory, VirtioRig::ring, VirtioRig::ring + 4096, VirtioRig::ring + 8192};
    rig.put_header(in, 0);
    q.link(0, {{VirtioRig::header, 16}, {target, 512, true}, {VirtioRig::status, 1, true}}, q.descriptors);
    for (unsigned i = 0; i < 100; ++i) // the same chain, a hundred times
        store_le<std::uint16_t>(m, q.available + 4 + 2 * i, 0);
    store_le<std::uint16_t>(m, q.available + 2, 100);
    rig.legacy(16, 2, 0);
    CHECK(rig.backend.waiting() == 32);
    rig.backend.complete_all();
    CHECK(q.used_index() == 100);
}
