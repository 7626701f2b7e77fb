// SPDX-License-Identifier: GPL-2.0-or-later
// A hostile guest at the NVMe controller: the input is a program of register and doorbell accesses, commands,
// queue and list contents, late completions and resets. Nothing may crash, hang, or touch memory that is not
// the guest's.
#include "devmodel/backends/block/memory_backend.hpp"
#include "devmodel/devices/storage/nvme.hpp"
#include "devmodel/machine/flat_memory.hpp"
#include "devmodel/machine/little_endian.hpp"
#include "devmodel/machine/manual_clock.hpp"
#include "test/fuzz/fuzz_input.hpp"

namespace {
using namespace escalus;
using fuzz::Input;

constexpr std::uint32_t bar = 0xfe000000, memory_bytes = 256 * 1024;
constexpr std::uint32_t queues = 0x4000, queue_step = 0x1000, lists = 0x10000, data = 0x18000;
constexpr unsigned entries = 8, pairs = 3;

struct Machine {
    Machine() {
        card.connect_messages([](std::uint64_t, std::uint32_t) {});
        power_on();
    }
    void power_on() {
        card.reset(ResetKind::System);
        config(0x10, bar);
        config(0x04, 6);
    }
    void config(unsigned offset, std::uint32_t value) {
        std::array<std::uint8_t, 4> bytes{};
        store_le(bytes, 0, value);
        card.config_write(offset, bytes);
    }
    void put(unsigned offset, std::uint32_t value) {
        std::array<std::uint8_t, 4> bytes{};
        store_le(bytes, 0, value);
        memory_bus.write(bar + offset, bytes);
    }
    static std::uint32_t sq(unsigned n) { return queues + 2 * n * queue_step; }
    static std::uint32_t cq(unsigned n) { return sq(n) + queue_step; }
    void command(unsigned n, std::uint8_t opcode, std::uint32_t nsid, std::uint64_t prp1, std::uint64_t prp2,
                 std::array<std::uint32_t, 4> words) {
        auto m = memory.bytes().subspan(sq(n) + tail[n] * 64, 64);
        std::ranges::fill(m, std::uint8_t{0});
        m[0] = opcode;
        store_le<std::uint32_t>(m, 4, nsid);
        store_le<std::uint64_t>(m, 24, prp1);
        store_le<std::uint64_t>(m, 32, prp2);
        for (unsigned i = 0; i < 4; ++i)
            store_le<std::uint32_t>(m, 40 + 4 * i, words[i]);
        tail[n] = (tail[n] + 1) % entries;
        put(0x1000 + 8 * n, tail[n]);
    }
    /// As a driver does it.
    void start() {
        put(0x14, 0);
        tail = head = {};
        put(0x24, (entries - 1) << 16 | (entries - 1));
        put(0x28, sq(0));
        put(0x30, cq(0));
        put(0x14, 0x00460001);
        for (unsigned n = 1; n < pairs; ++n) {
            command(0, 5, 0, cq(n), 0, {(entries - 1) << 16 | n, 3, 0, 0});
            command(0, 1, 0, sq(n), 0, {(entries - 1) << 16 | n, n << 16 | 1, 0, 0});
            take(0, 2);
        }
    }
    void take(unsigned n, unsigned count) {
        head[n] = (head[n] + count) % entries;
        put(0x1004 + 8 * n, head[n]);
    }
    /// Something that means something, but for what the input says.
    void request(Input& in) {
        constexpr std::array<std::uint8_t, 8> io{0, 1, 2, 5, 8, 9, 1, 2}, admin{0, 2, 4, 6, 8, 9, 10, 12};
        const auto how = in.byte();
        const auto n = how % pairs;
        const auto opcode = (how & 0x40) != 0 ? in.byte() : (n == 0 ? admin : io)[how >> 3 & 7];
        const auto place = in.byte();
        const std::uint64_t prp1 = data + place * 128u, prp2 = lists + in.byte() * 8u;
        if (n == 0)
            command(n, opcode, in.byte() & 1, prp1, prp2, {in.dword(), in.dword(), in.byte(), 0});
        else
            command(n, opcode, 1, prp1, (how & 0x80) != 0 ? data + place * 4096u % 0x20000 : prp2,
                    {in.byte() * 4u, 4, in.dword() & 0xc20007ff, 0});
    }
    void step(Input& in) {
        const auto op = in.byte(), selector = in.byte();
        std::array<std::uint8_t, 8> bytes{};
        const auto width = std::size_t{1} << (op >> 4 & 3);
        switch (op & 15) {
        case 0:
            put(selector & 0x3c, in.dword());
            break;
        case 1:
            put(0x1000 + (selector & 63) * 4u, in.byte());
            break;
        case 2:
            store_le(bytes, 0, in.dword());
            memory_bus.write(bar + (op >> 6) * 0x1000u + selector * 8u, std::span{bytes}.first(width));
            break;
        case 3:
            memory_bus.read(bar + (op >> 6) * 0x1000u + selector * 8u, std::span{bytes}.first(width));
            break;
        case 4:
        case 5:
        case 6:
        case 7:
            request(in);
            break;
        case 8: // what queues hold
            store_le<std::uint32_t>(memory.bytes(), queues + selector * 64u + (op >> 4) * 4u, in.dword());
            break;
        case 9: // and lists
            store_le<std::uint64_t>(memory.bytes(), lists + selector * 8u,
                                    (in.dword() & 0x3ffff) & ~(in.byte() & 1 ? 0u : 0xfffu));
            break;
        case 10:
            backend->deferred = (selector & 1) != 0;
            break;
        case 11:
            backend->complete_one();
            clock.advance(1);
            break;
        case 12: {
            const auto value = in.byte();
            card.config_write(selector, {&value, 1});
            card.config_read(selector & 0xfc, std::span{bytes}.first(4));
            break;
        }
        case 13:
            if ((selector & 7) == 0)
                power_on();
            else if ((selector & 7) == 1)
                card.pause();
            else if ((selector & 7) == 2)
                card.resume();
            else
                start();
            break;
        case 14:
            backend->bad_offset = in.byte() * 512u;
            break;
        default:
            take(selector % pairs, selector >> 6);
        }
    }

    Bus ports{"port", 0x10000};
    Bus memory_bus{"memory", std::uint64_t{1} << 40};
    FlatMemory memory{memory_bytes};
    ManualClock clock;
    std::array<unsigned, pairs> tail{}, head{};
    std::unique_ptr<MemoryBackend> owned = std::make_unique<MemoryBackend>(1500 * 512);
    MemoryBackend* backend = owned.get();
    Nvme card{{ports, memory_bus}, memory, clock, std::move(owned), {.serial = "fuzz"}};
};
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    return fuzz::run<Machine>(bytes, size);
}
