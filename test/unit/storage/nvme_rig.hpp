// SPDX-License-Identifier: GPL-2.0-or-later
// An NVMe controller on a memory bus, and the habits of a guest's driver (as Linux' nvme has them).
#pragma once

#include "devmodel/devices/storage/nvme.hpp"
#include "devmodel/machine/little_endian.hpp"
#include "devmodel/machine/manual_clock.hpp"
#include "test/unit/storage/ide_rig.hpp"

#include <catch2/catch.hpp>

namespace escalus::test {

struct NvmeRig {
    static constexpr std::uint64_t bar = 0xfe000000, admin_sq = 0x10000, admin_cq = 0x11000, io_sq = 0x12000,
                                   io_cq = 0x13000, page = 0x14000, target = 0x100000;
    static constexpr std::uint32_t admin_entries = 16, io_entries = 8;
    static constexpr std::uint16_t do_not_retry = 0x4000, more = 0x2000;

    /// One pair of queues, the driver's side.
    struct Queue {
        std::uint16_t id;
        std::uint64_t sq, cq;
        std::uint32_t entries;
        std::uint32_t tail = 0, head = 0;
        bool phase = true;
    };
    struct Entry {
        std::uint8_t opcode = 0;
        std::uint32_t nsid = 1;
        std::uint64_t prp1 = 0, prp2 = 0;
        std::array<std::uint32_t, 6> words{};
        std::uint16_t id = 7;
    };
    struct Result {
        std::uint32_t result;
        std::uint16_t head, queue, id, status;
        [[nodiscard]] unsigned code() const { return status & 0x7ffu; }
    };

    explicit NvmeRig(std::size_t sectors = 8192, bool read_only = false)
        : backend{*new MemoryBackend(sectors * 512, read_only)}, // NOLINT(*-owning-memory): the device's
          card{{ports, memory_bus},
               memory,
               clock,
               std::unique_ptr<BlockBackend>{&backend},
               {.serial = "nvme0n1", .uuid = {0xde, 0xad, 0xbe, 0xef}}} {
        backend.bytes = pattern(sectors * 512);
        card.connect_intx(IrqLine{irq, 0});
        card.connect_messages([this](std::uint64_t a, std::uint32_t d) { messages.emplace_back(a, d); });
        card.reset(ResetKind::PowerOn);
        config_put(0x10, 4, bar);
        config_put(0x04, 2, 6);
    }
    void config_put(unsigned offset, unsigned width, std::uint32_t value) {
        std::array<std::uint8_t, 4> bytes{};
        store_le(bytes, 0, value);
        card.config_write(offset, std::span{bytes}.first(width));
    }
    std::uint32_t config_get(unsigned offset, unsigned width) {
        std::array<std::uint8_t, 4> bytes{};
        card.config_read(offset, std::span{bytes}.first(width));
        return load_le<std::uint32_t>(bytes);
    }
    std::uint32_t get(unsigned offset) {
        std::array<std::uint8_t, 4> bytes{};
        memory_bus.read(bar + offset, bytes);
        return load_le<std::uint32_t>(bytes);
    }
    void put(unsigned offset, std::uint32_t value) {
        std::array<std::uint8_t, 4> bytes{};
        store_le(bytes, 0, value);
        memory_bus.write(bar + offset, bytes);
    }
    void put_wide(unsigned offset, std::uint64_t value) {
        std::array<std::uint8_t, 8> bytes{};
        store_le(bytes, 0, value);
        memory_bus.write(bar + offset, bytes);
    }

    void enable(std::uint32_t configuration = 0x00460001) {
        put(0x24, (admin_entries - 1) << 16 | (admin_entries - 1));
        put_wide(0x28, admin_sq);
        put_wide(0x30, admin_cq);
        std::ranges::fill(memory.bytes().subspan(admin_sq, 0x4000), std::uint8_t{0});
        admin = {0, admin_sq, admin_cq, admin_entries};
        put(0x14, configuration);
    }
    void create_queues(std::uint16_t vector = 0) {
        io = {1, io_sq, io_cq, io_entries};
        REQUIRE(run(admin, {.opcode = 5,
                            .nsid = 0,
                            .prp1 = io_cq,
                            .words = {(io_entries - 1) << 16 | 1, std::uint32_t{vector} << 16 | 3}})
                    .status == 0);
        REQUIRE(
            run(admin,
                {.opcode = 1, .nsid = 0, .prp1 = io_sq, .words = {(io_entries - 1) << 16 | 1, 1 << 16 | 1}})
                .status == 0);
    }
    void submit(Queue& queue, const Entry& entry, bool ring_bell = true) {
        auto m = memory.bytes().subspan(queue.sq + queue.tail * 64, 64);
        std::ranges::fill(m, std::uint8_t{0});
        m[0] = entry.opcode;
        store_le<std::uint16_t>(m, 2, entry.id);
        store_le<std::uint32_t>(m, 4, entry.nsid);
        store_le<std::uint64_t>(m, 24, entry.prp1);
        store_le<std::uint64_t>(m, 32, entry.prp2);
        for (unsigned i = 0; i < 6; ++i)
            store_le<std::uint32_t>(m, 40 + 4 * i, entry.words[i]);
        queue.tail = (queue.tail + 1) % queue.entries;
        if (ring_bell)
            ring(queue);
    }
    void ring(const Queue& queue) { put(0x1000 + 8u * queue.id, queue.tail); }
    std::optional<Result> peek(const Queue& queue) {
        const auto m = memory.bytes().subspan(queue.cq + queue.head * 16, 16);
        const auto status = load_le<std::uint16_t>(m, 14);
        if ((status & 1) != (queue.phase ? 1 : 0))
            return {};
        return Result{load_le<std::uint32_t>(m), load_le<std::uint16_t>(m, 8), load_le<std::uint16_t>(m, 10),
                      load_le<std::uint16_t>(m, 12), static_cast<std::uint16_t>(status >> 1)};
    }
    std::optional<Result> reap(Queue& queue, bool ring_bell = true) {
        const auto result = peek(queue);
        if (!result)
            return {};
        queue.head = (queue.head + 1) % queue.entries;
        queue.phase ^= queue.head == 0;
        if (ring_bell)
            put(0x1004 + 8u * queue.id, queue.head);
        return result;
    }
    /// One command to its end.
    Result run(Queue& queue, const Entry& entry) {
        submit(queue, entry);
        if (!peek(queue))
            backend.complete_all();
        const auto result = reap(queue);
        REQUIRE(result);
        CHECK(result->id == entry.id);
        CHECK(result->queue == queue.id);
        CHECK(result->head == queue.tail);
        return *result;
    }
    /// A read or write of contiguous memory.
    unsigned transfer(std::uint8_t opcode, std::uint64_t lba, std::uint32_t blocks,
                      std::uint64_t address = target, std::uint32_t flags = 0) {
        Entry entry{.opcode = opcode,
                    .prp1 = address,
                    .words = {static_cast<std::uint32_t>(lba), static_cast<std::uint32_t>(lba >> 32),
                              (blocks - 1) | flags}};
        list(entry, blocks * 512);
        return run(io, entry).code();
    }
    /// The second region or the list of regions for data that is contiguous from prp1 on.
    void list(Entry& entry, std::uint64_t bytes) {
        const auto first = 4096 - entry.prp1 % 4096;
        if (bytes <= first)
            return;
        const auto next = entry.prp1 + first;
        if (bytes - first <= 4096) {
            entry.prp2 = next;
            return;
        }
        entry.prp2 = page;
        for (std::uint64_t i = 0; i * 4096 < bytes - first; ++i)
            store_le<std::uint64_t>(memory.bytes(), page + 8 * i, next + 4096 * i);
    }
    Bytes guest_bytes(std::uint64_t at, std::size_t size) {
        const auto view = memory.bytes().subspan(at, size);
        return {view.begin(), view.end()};
    }
    Bytes image(std::size_t at, std::size_t size) {
        const auto from = backend.bytes.begin() + static_cast<std::ptrdiff_t>(at);
        return {from, from + static_cast<std::ptrdiff_t>(size)};
    }
    void fill(std::uint64_t at, const Bytes& data) {
        std::ranges::copy(data, memory.bytes().begin() + static_cast<std::ptrdiff_t>(at));
    }

    Bus ports{"port", 0x10000};
    Bus memory_bus{"memory", std::uint64_t{1} << 40};
    FlatMemory memory{8 << 20};
    ManualClock clock;
    CountingIrq irq;
    std::vector<std::pair<std::uint64_t, std::uint32_t>> messages;
    Queue admin{}, io{};
    MemoryBackend& backend;
    Nvme card;
};

/// Enabled, with one pair of I/O queues.
struct NvmeDisk : NvmeRig {
    explicit NvmeDisk(bool deferred = false, bool read_only = false) : NvmeRig{8192, read_only} {
        enable();
        create_queues();
        backend.deferred = deferred;
    }
};

} // namespace escalus::test
