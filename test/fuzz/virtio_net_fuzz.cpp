// SPDX-License-Identifier: GPL-2.0-or-later
// A hostile guest at the virtio network card: the input is a program of register accesses, ring and
// descriptor contents, frames sent and received, commands, and resets. What is sent is finished in software,
// as for a backend without offloads. Nothing may crash, hang, or touch memory that is not the guest's.
#include "devmodel/backends/net/finish_frame.hpp"
#include "devmodel/devices/virtio/virtio_net.hpp"
#include "devmodel/devices/virtio/virtio_pci.hpp"
#include "devmodel/machine/flat_memory.hpp"
#include "devmodel/machine/little_endian.hpp"
#include "devmodel/machine/manual_clock.hpp"
#include "test/fuzz/fuzz_input.hpp"

namespace {
using namespace escalus;
using fuzz::Input;

constexpr std::uint32_t io = 0xc000, msix = 0xfe000000, modern = 0xfe004000, memory_bytes = 256 * 1024;
constexpr std::uint32_t ring = 0x4000, data = 0x8000;
constexpr unsigned entries = 8;

struct Cable final : NetBackend {
    [[nodiscard]] std::string description() const override { return "fuzz"; }
    void connect(NetCard* new_card) override { card = new_card; }
    void send(std::span<const std::uint8_t> frame, const NetOffload& offload) override {
        if (frame.size() > longest_frame_bytes)
            __builtin_trap();
        if (!finisher.begin(frame, offload))
            return;
        while (!finisher.done()) {
            const auto whole = finisher.next();
            bytes += whole.size();
            if (whole.size() > frame.size())
                __builtin_trap();
        }
    }
    void card_ready() override {}
    NetCard* card = nullptr;
    FrameFinisher finisher;
    std::uint64_t bytes = 0;
};

struct Machine {
    Machine() {
        card.connect_messages([](std::uint64_t, std::uint32_t) {});
        power_on();
    }
    void power_on() {
        card.reset(ResetKind::System);
        config(0x10, io);
        config(0x14, msix);
        config(0x20, modern);
        config(0x04, 7);
    }
    void config(unsigned offset, std::uint32_t value) {
        std::array<std::uint8_t, 4> bytes{};
        store_le(bytes, 0, value);
        card.config_write(offset, bytes);
    }
    void common(unsigned offset, unsigned width, std::uint64_t value) {
        std::array<std::uint8_t, 8> bytes{};
        store_some(bytes, value);
        memory_bus.write(modern + offset, std::span{bytes}.first(width));
    }
    /// As a driver does it, with features that the input chooses.
    void start(std::uint32_t features) {
        common(20, 1, 0);
        common(8, 4, 0);
        common(12, 4, features & 0x309fbba7u);
        common(8, 4, 1);
        common(12, 4, 1);
        common(20, 1, 11);
        for (unsigned n = 0; n < 3; ++n) {
            common(22, 2, n);
            common(24, 2, entries);
            common(32, 8, ring + n * 0x1000);
            common(40, 8, ring + n * 0x1000 + 0x100);
            common(48, 8, ring + n * 0x1000 + 0x200);
            common(28, 2, 1);
        }
        common(20, 1, 15);
    }
    /// A chain that means something, but for what the input says.
    void chain(Input& in, unsigned n) {
        const auto parts = 1 + in.byte() % 4u;
        const auto base = ring + n * 0x1000;
        auto m = memory.bytes();
        for (unsigned i = 0; i < parts; ++i) {
            const bool write = n == 0 || (n == 2 && i + 1 == parts);
            store_le<std::uint64_t>(m, base + 16 * i, data + in.byte() * 256u);
            store_le<std::uint32_t>(m, base + 16 * i + 8, in.byte() * (in.byte() & 1 ? 512u : 1u));
            store_le<std::uint16_t>(m, base + 16 * i + 12,
                                    static_cast<std::uint16_t>((i + 1 < parts ? 1 : 0) | (write ? 2 : 0)));
            store_le<std::uint16_t>(m, base + 16 * i + 14, static_cast<std::uint16_t>(i + 1));
        }
        const auto index = load_le<std::uint16_t>(m, base + 0x102);
        store_le<std::uint16_t>(m, base + 0x104 + 2 * (index % entries), 0);
        store_le<std::uint16_t>(m, base + 0x102, static_cast<std::uint16_t>(index + 1));
        common(0x3000 + 4 * n, 2, n);
    }
    /// A frame of TCP that is to be segmented, perhaps.
    void headers(Input& in) {
        constexpr std::array<std::uint8_t, 12> vnet{1, 1, 54, 0, 100, 0, 34, 0, 16, 0, 0, 0};
        auto m = memory.bytes().subspan(data + in.byte() * 256u);
        std::ranges::copy(vnet, m.begin());
        m[1] = in.byte();
        m[4] = in.byte();
        m[12 + 12] = in.byte() & 1 ? 0x86 : 8;
        m[12 + 13] = m[12 + 12] == 8 ? 0 : 0xdd;
        m[12 + 14] = in.byte();
        m[12 + 23] = 6;
        m[12 + 46] = in.byte();
    }
    void step(Input& in) {
        const auto op = in.byte(), selector = in.byte();
        const unsigned width = 1u << (op >> 4 & 3);
        std::array<std::uint8_t, 8> bytes{};
        switch (op & 15) {
        case 0:
            common(selector & 63, width, in.dword());
            break;
        case 1:
            common(0x2000 + (selector & 15), width, in.dword());
            break;
        case 2:
            store_le(bytes, 0, in.dword());
            ports.write(io + (selector & 127), std::span{bytes}.first(std::min(width, 4u)));
            break;
        case 3:
            memory_bus.read(modern + (op >> 6) * 0x1000u + selector, std::span{bytes}.first(width));
            ports.read(io + (selector & 127), std::span{bytes}.first(std::min(width, 4u)));
            break;
        case 4:
        case 5:
        case 6:
            chain(in, selector % 3u);
            break;
        case 7:
            headers(in);
            break;
        case 8: // what rings and descriptors hold
            store_le<std::uint32_t>(memory.bytes(), ring + (op >> 6) * 0x1000u + selector * 4u, in.dword());
            break;
        case 9: // what buffers and commands hold
            store_le<std::uint32_t>(memory.bytes(), data + selector * 256u + (op >> 4) * 4u, in.dword());
            break;
        case 10:
        case 11: {
            const std::vector<std::uint8_t> frame(std::size_t{selector} * (op >> 4), in.byte());
            if (cable.card->can_receive() || (selector & 1) != 0)
                cable.card->receive(frame, {.needs_checksum = (op & 0x20) != 0});
            if ((op & 0x40) == 0) // or more of them come together
                cable.card->end_of_frames();
            break;
        }
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
                start(in.dword());
            break;
        case 14:
            cable.card->link_changed((selector & 1) != 0);
            break;
        default:
            clock.advance(1);
            common(0x3000 + 4 * (selector & 3u), 2, selector & 3u);
        }
    }

    Bus ports{"port", 0x10000};
    Bus memory_bus{"memory", std::uint64_t{1} << 40};
    FlatMemory memory{memory_bytes};
    ManualClock clock;
    Cable cable;
    VirtioPci card{{ports, memory_bus},
                   memory,
                   std::make_unique<VirtioNet>(clock, cable, MacAddress{0, 0x16, 0x3e, 1, 2, 3})};
};
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    return fuzz::run<Machine>(bytes, size);
}
