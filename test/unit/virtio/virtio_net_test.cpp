// SPDX-License-Identifier: GPL-2.0-or-later
// The virtio network card, as a driver uses it: legacy and 1.0, both directions, filters, link, and misuse.
#include "devmodel/devices/virtio/virtio_net.hpp"
#include "devmodel/devices/virtio/virtio_pci.hpp"
#include "test/unit/net/fake_cable.hpp"
#include "test/unit/virtio/virtio_rig.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

namespace {
constexpr MacAddress own{0x00, 0x16, 0x3e, 0x11, 0x22, 0x33};
enum Feature : std::uint64_t {
    checksum = 1,
    guest_checksum = 2,
    switch_offloads = 4,
    guest_tcp4 = 1 << 7,
    guest_tcp6 = 1 << 8,
    host_tcp4 = 1 << 11,
    host_tcp6 = 1 << 12,
    mergeable = 1 << 15,
    has_status = 1 << 16,
    has_control = 1 << 17,
    control_receive = 1 << 18,
    control_vlan = 1 << 19,
    control_mac = 1 << 23,
    event_index = 1ull << 29,
    version_1 = 1ull << 32,
};
constexpr std::uint64_t all = checksum | guest_checksum | switch_offloads | guest_tcp4 | guest_tcp6 |
                              host_tcp4 | host_tcp6 | mergeable | has_status | has_control | control_receive |
                              control_vlan | control_mac | version_1;

struct Card {
    static constexpr std::uint32_t io = 0xc000, msix = 0xfe000000, modern = 0xfe004000;
    static constexpr std::uint64_t ring = 0x10000, buffers = 0x40000, out = 0x100000;
    static constexpr std::uint64_t config = modern + 0x2000;

    explicit Card(std::uint64_t features = all) {
        card.connect_intx(IrqLine{irq, 0});
        card.reset(ResetKind::PowerOn);
        config_put(0x10, 4, io);
        config_put(0x14, 4, msix);
        config_put(0x20, 4, modern);
        config_put(0x04, 2, 7);
        if ((features & version_1) != 0)
            start(features);
        else
            start_legacy(features);
    }
    void config_put(unsigned offset, unsigned width, std::uint32_t value) {
        std::array<std::uint8_t, 4> bytes{};
        store_le(bytes, 0, value);
        card.config_write(offset, std::span{bytes}.first(width));
    }
    std::uint64_t get(std::uint64_t address, unsigned width, bool port = false) {
        std::array<std::uint8_t, 8> bytes{};
        (port ? ports : memory_bus).read(address, std::span{bytes}.first(width));
        return load_some(bytes);
    }
    void put(std::uint64_t address, unsigned width, std::uint64_t value, bool port = false) {
        std::array<std::uint8_t, 8> bytes{};
        store_some(bytes, value);
        (port ? ports : memory_bus).write(address, std::span{bytes}.first(width));
    }
    void common(unsigned offset, unsigned width, std::uint64_t value) { put(modern + offset, width, value); }
    DriverQueue queue(unsigned n) {
        const auto base = ring + 0x4000ull * n;
        return {memory, base, base + 0x100, base + 0x200};
    }
    void start(std::uint64_t features) {
        common(20, 1, 0);
        common(20, 1, 3);
        for (unsigned half = 0; half < 2; ++half) {
            common(8, 4, half);
            common(12, 4, features >> (32 * half) & 0xffffffff);
        }
        common(20, 1, 11);
        REQUIRE((get(modern + 20, 1) & 8) != 0);
        for (unsigned n = 0; n < 3; ++n) {
            common(22, 2, n);
            common(24, 2, DriverQueue::entries);
            common(32, 8, queue(n).descriptors);
            common(40, 8, queue(n).available);
            common(48, 8, queue(n).used);
            common(28, 2, 1);
        }
        common(20, 1, 15);
    }
    void start_legacy(std::uint64_t features) {
        put(io + 18, 1, 3, true);
        put(io + 4, 4, features, true);
        for (unsigned n = 0; n < 3; ++n) {
            put(io + 14, 2, n, true);
            put(io + 8, 4, (ring + 0x4000ull * n) / 4096, true);
        }
        put(io + 18, 1, 7, true);
    }
    void notify(unsigned n) { put(modern + 0x3000 + 4 * n, 2, n); }

    /// Gives the card `count` buffers.
    void refill(unsigned count, std::uint32_t bytes) {
        for (unsigned i = 0; i < count; ++i) {
            rx.add(i, {{buffers + 0x4000ull * i, bytes, true}});
        }
        notify(0);
    }
    Bytes at(std::uint64_t address, std::size_t size) {
        const auto view = memory.bytes().subspan(address, size);
        return {view.begin(), view.end()};
    }
    void write(std::uint64_t address, const Bytes& bytes) {
        std::ranges::copy(bytes, memory.bytes().begin() + static_cast<std::ptrdiff_t>(address));
    }
    void send(const Bytes& header, const Bytes& frame) {
        write(out, header);
        write(out + 0x100, frame);
        const auto size = static_cast<std::uint32_t>(frame.size());
        tx.add(0, {{out, static_cast<std::uint32_t>(header.size())}, {out + 0x100, size}});
        notify(1);
    }
    unsigned command(const Bytes& bytes) {
        write(out, bytes);
        memory.bytes()[out + 0x8000] = 0xff;
        ctrl.add(
            0, {{out, 2}, {out + 2, static_cast<std::uint32_t>(bytes.size() - 2)}, {out + 0x8000, 1, true}});
        notify(2);
        return memory.bytes()[out + 0x8000];
    }
    /// A frame from the cable; false when it was not taken.
    bool arrives(const Bytes& frame, const NetOffload& offload = {}) {
        const auto before = rx.used_index();
        cable.card->receive(frame, offload);
        cable.card->end_of_frames();
        return rx.used_index() != before;
    }

    Bus ports{"port", 0x10000};
    Bus memory_bus{"memory", std::uint64_t{1} << 40};
    FlatMemory memory{4 << 20};
    ManualClock clock;
    Wire irq;
    FakeCable cable;
    VirtioPci card{{ports, memory_bus}, memory, std::make_unique<VirtioNet>(clock, cable, own)};
    DriverQueue rx = queue(0), tx = queue(1), ctrl = queue(2);
};

Bytes frame_to(const MacAddress& to, std::size_t size = 100) {
    auto frame = pattern(size, 9);
    std::ranges::copy(to, frame.begin());
    frame[12] = 8;
    frame[13] = 0;
    return frame;
}
constexpr MacAddress broadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, group{0x01, 0, 0x5e, 0, 0, 1},
    other{0x52, 0x54, 0, 1, 2, 3};
} // namespace

TEST_CASE("virtio net: configuration") {
    Card net;
    CHECK(net.card.device().class_code() == 0x020000);
    for (unsigned i = 0; i < 6; ++i)
        CHECK(net.get(Card::config + i, 1) == own.at(i));
    CHECK(net.get(Card::config + 6, 2) == 1);
    net.put(Card::config, 1, 0x02); // read-only with 1.0
    CHECK(net.get(Card::config, 1) == 0);
    CHECK(net.cable.offloads == 7);
    net.common(20, 1, 0);
    CHECK(net.cable.offloads == 0);
}

TEST_CASE("virtio net: the legacy driver sets the address in the configuration") {
    Card net{0};
    net.put(Card::io + 20, 1, 0x02, true);
    CHECK(net.get(Card::io + 20, 6, true) == 0x3322113e1602);
}

TEST_CASE("virtio net: sending") {
    Card net;
    const auto frame = frame_to(other, 1000);
    SECTION("as it is") {
        net.send(Bytes(12, 0), frame);
        REQUIRE(net.cable.sent.size() == 1);
        CHECK(net.cable.sent[0].frame == frame);
        CHECK_FALSE(net.cable.sent[0].offload.unfinished());
        CHECK(net.tx.reap() == std::pair{0u, 0u});
        CHECK(net.irq.level);
    }
    SECTION("with work left") {
        net.send({1, 4 | 0x80, 54, 0, 0xb4, 5, 34, 0, 16, 0, 0, 0}, frame);
        REQUIRE(net.cable.sent.size() == 1);
        const auto& offload = net.cable.sent[0].offload;
        CHECK(offload.needs_checksum);
        CHECK(offload.segmentation == NetOffload::Segmentation::Tcp6);
        CHECK(offload.has_ecn);
        CHECK(offload.header_bytes == 54);
        CHECK(offload.segment_bytes == 1460);
        CHECK(offload.checksum_start == 34);
        CHECK(offload.checksum_offset == 16);
    }
    SECTION("header and frame in one buffer, and in many") {
        Bytes whole(12, 0);
        whole.insert(whole.end(), frame.begin(), frame.end());
        net.write(Card::out, whole);
        net.tx.add(0, {{Card::out, 1012}});
        net.tx.add(1, {{Card::out, 5}, {Card::out + 5, 500}, {Card::out + 505, 507}});
        net.notify(1);
        REQUIRE(net.cable.sent.size() == 2);
        CHECK(net.cable.sent[0].frame == frame);
        CHECK(net.cable.sent[1].frame == frame);
    }
    SECTION("nonsense is given back and not sent") {
        net.send(Bytes(12, 0), {});
        net.send(Bytes(6, 0), Bytes(6, 0));
        net.send({0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, frame); // UDP fragmentation
        net.tx.add(0, {{Card::out, 12}, {0x7fffffff0000, 60}});
        net.tx.add(4, {{Card::out, 70000}});
        net.notify(1);
        CHECK(net.tx.used_index() == 5);
        CHECK(net.cable.sent.empty());
    }
    SECTION("not without a link") {
        net.cable.pull(false);
        net.send(Bytes(12, 0), frame);
        CHECK(net.cable.sent.empty());
        CHECK(net.tx.used_index() == 1);
    }
}

TEST_CASE("virtio net: offloads that were not negotiated are not asked for") {
    Card net{version_1};
    net.send({1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0, 0, 0}, frame_to(other));
    REQUIRE(net.cable.sent.size() == 1);
    CHECK_FALSE(net.cable.sent[0].offload.unfinished());
}

TEST_CASE("virtio net: a legacy header has ten bytes") {
    Card net{has_status};
    // The rings of the legacy layout, of 256 entries.
    const auto legacy = [&](std::uint64_t base) {
        return DriverQueue{net.memory, base, base + 4096, base + 8192};
    };
    auto rx = legacy(Card::ring), tx = legacy(Card::ring + 0x4000);
    const auto frame = frame_to(other);
    net.write(Card::out, Bytes(10, 0));
    net.write(Card::out + 0x100, frame);
    tx.link(0, {{Card::out, 10}, {Card::out + 0x100, 100}}, tx.descriptors);
    store_le<std::uint16_t>(net.memory.bytes(), tx.available + 2, 1);
    net.put(Card::io + 16, 2, 1, true);
    REQUIRE(net.cable.sent.size() == 1);
    CHECK(net.cable.sent[0].frame == frame);

    rx.link(0, {{Card::buffers, 10, true}, {Card::buffers + 0x1000, 1514, true}}, rx.descriptors);
    store_le<std::uint16_t>(net.memory.bytes(), rx.available + 2, 1);
    net.put(Card::io + 16, 2, 0, true);
    net.cable.card->receive(frame_to(own), {});
    CHECK(rx.used_index() == 1);
    CHECK(net.at(Card::buffers, 10) == Bytes(10, 0));
    CHECK(net.at(Card::buffers + 0x1000, 100) == frame_to(own));
}

TEST_CASE("virtio net: receiving") {
    Card net;
    net.refill(4, 1024);
    CHECK(net.cable.ready >= 1);
    CHECK(net.cable.card->can_receive()); // half of the ring is there
    const auto frame = frame_to(own, 200);
    SECTION("into one buffer") {
        CHECK(net.arrives(frame, {.checksum_is_good = true}));
        CHECK(net.rx.reap() == std::pair{0u, 212u});
        Bytes header(12, 0);
        header[0] = 2;
        header[10] = 1;
        CHECK(net.at(Card::buffers, 12) == header);
        CHECK(net.at(Card::buffers + 12, 200) == frame);
        CHECK(net.irq.level);
    }
    SECTION("merged from several") {
        const auto large = frame_to(own, 3000);
        CHECK(net.arrives(large, {.needs_checksum = true,
                                  .segmentation = NetOffload::Segmentation::Tcp4,
                                  .header_bytes = 54,
                                  .segment_bytes = 1460,
                                  .checksum_start = 34,
                                  .checksum_offset = 16}));
        CHECK(net.rx.used_index() == 3);
        CHECK(net.at(Card::buffers, 12) == Bytes{1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0, 3, 0});
        auto got = net.at(Card::buffers + 12, 1012);
        for (const auto& [from, size] : {std::pair{0x4000u, 1024u}, std::pair{0x8000u, 964u}}) {
            const auto part = net.at(Card::buffers + from, size);
            got.insert(got.end(), part.begin(), part.end());
        }
        CHECK(got == large);
        CHECK(net.rx.reap() == std::pair{0u, 1024u});
        CHECK(net.rx.reap() == std::pair{1u, 1024u});
        CHECK(net.rx.reap() == std::pair{2u, 964u});
    }
    SECTION("one that does not fit is lost, and the next is not") {
        CHECK_FALSE(net.arrives(frame_to(own, 5000)));
        CHECK(net.arrives(frame));
    }
    SECTION("none when the buffers are used up, until there are more") {
        for (unsigned i = 0; i < 4; ++i)
            CHECK(net.arrives(frame));
        CHECK_FALSE(net.cable.card->can_receive());
        CHECK_FALSE(net.arrives(frame));
        const auto before = net.cable.ready;
        net.refill(4, 1024);
        CHECK(net.cable.ready == before + 1);
        CHECK(net.arrives(frame));
    }
}

TEST_CASE("virtio net: without merging a frame has one buffer") {
    Card net{version_1};
    net.refill(8, 200);
    CHECK_FALSE(net.arrives(frame_to(own, 200)));
    CHECK(net.arrives(frame_to(own, 188)));
    CHECK(net.at(Card::buffers, 12)[10] == 1);
    CHECK_FALSE(net.arrives(frame_to(own, 100), {.needs_checksum = true, .checksum_start = 34}));
}

TEST_CASE("virtio net: without its features a driver hears nothing of checksums") {
    Card net{version_1};
    net.refill(8, 1600);
    CHECK(net.arrives(frame_to(own), {.checksum_is_good = true}));
    CHECK(net.at(Card::buffers, 1)[0] == 0);
}

TEST_CASE("virtio net: with large frames to come it waits for room, but not for ever") {
    Card net;
    net.refill(1, 2048);
    CHECK_FALSE(net.cable.card->can_receive());
    net.rx.add(1, {{Card::buffers, 0x10000, true}, {Card::buffers, 100, true}});
    CHECK(net.cable.card->can_receive());
}

TEST_CASE("virtio net: filters") {
    Card net;
    net.refill(8, 1600);
    CHECK(net.arrives(frame_to(other))); // promiscuous at first
    CHECK(net.command({0, 0, 0}) == 0);
    CHECK_FALSE(net.arrives(frame_to(other)));
    CHECK_FALSE(net.arrives(frame_to(group)));
    CHECK(net.arrives(frame_to(broadcast)));
    CHECK(net.arrives(frame_to(own)));
    SECTION("modes") {
        CHECK(net.command({0, 1, 1}) == 0);
        CHECK(net.arrives(frame_to(group)));
        CHECK(net.command({0, 2, 1}) == 0);
        CHECK(net.arrives(frame_to(other)));
        for (const std::uint8_t mode : {3, 4, 5})
            CHECK(net.command({0, mode, 1}) == 0);
        for (const auto& to : {own, group, broadcast})
            CHECK_FALSE(net.arrives(frame_to(to)));
        CHECK(net.command({0, 6, 1}) == 1);
        CHECK(net.command({0, 0, 1, 1}) == 1);
    }
    SECTION("the table") {
        Bytes table{1, 0, 1, 0, 0, 0};
        table.insert(table.end(), other.begin(), other.end());
        table.insert(table.end(), {1, 0, 0, 0});
        table.insert(table.end(), group.begin(), group.end());
        CHECK(net.command(table) == 0);
        CHECK(net.arrives(frame_to(other)));
        CHECK(net.arrives(frame_to(group)));
        table[2] = 0xff; // more than there are
        CHECK(net.command(table) == 1);
        CHECK(net.arrives(frame_to(other)));
        CHECK(net.command({1, 0, 0, 0, 0, 0, 0, 0, 0, 0}) == 0);
        CHECK_FALSE(net.arrives(frame_to(other)));
        Bytes many{1, 0, 65, 0, 0, 0};
        many.resize(many.size() + 65 * 6 + 4);
        CHECK(net.command(many) == 0);
        CHECK(net.arrives(frame_to(other))); // too many to be told apart
    }
    SECTION("the address") {
        Bytes set{1, 1};
        set.insert(set.end(), other.begin(), other.end());
        CHECK(net.command(set) == 0);
        CHECK(net.arrives(frame_to(other)));
        CHECK_FALSE(net.arrives(frame_to(own)));
        CHECK(net.get(Card::config, 1) == other[0]);
        net.card.reset(ResetKind::System);
        net.config_put(0x20, 4, Card::modern);
        net.config_put(0x04, 2, 7);
        CHECK(net.get(Card::config, 6) == 0x3322113e1600);
    }
    SECTION("VLANs") {
        auto tagged = frame_to(own);
        tagged[12] = 0x81;
        tagged[13] = 0;
        tagged[14] = 0x60 | 1;
        tagged[15] = 0x23;
        CHECK_FALSE(net.arrives(tagged));
        CHECK(net.command({2, 0, 0x23, 1}) == 0);
        CHECK(net.arrives(tagged));
        CHECK(net.command({2, 1, 0x23, 1}) == 0);
        CHECK_FALSE(net.arrives(tagged));
        CHECK(net.command({2, 0, 0x00, 0x10}) == 1);
    }
}

TEST_CASE("virtio net: offloads are switched while it runs") {
    Card net;
    CHECK(net.command({5, 0, 2, 0, 0, 0, 0, 0, 0, 0}) == 0);
    CHECK(net.cable.offloads == 1);
    CHECK(net.command({5, 0, 0x80, 0, 0, 0, 0, 0, 0, 0}) == 0); // segmentation needs checksums
    CHECK(net.cable.offloads == 0);
    CHECK(net.command({5, 0, 0, 4, 0, 0, 0, 0, 0, 0}) == 1);
    CHECK(net.command({9, 0, 0}) == 1);
}

TEST_CASE("virtio net: the link goes down and up") {
    Card net;
    const auto generation = net.get(Card::modern + 21, 1);
    net.cable.pull(false);
    CHECK(net.get(Card::config + 6, 2) == 0);
    CHECK(net.irq.level);
    CHECK(net.get(Card::modern + 0x1000, 1) == 2);
    CHECK(net.get(Card::modern + 21, 1) != generation);
    net.cable.pull(true);
    CHECK(net.get(Card::config + 6, 2) == 1);
}

TEST_CASE("virtio net: a notification for each frame only when it waits for one") {
    Card net{all | event_index};
    const auto event = [&] { return load_le<std::uint16_t>(net.memory.bytes(), net.tx.used + 4 + 8 * 8); };
    net.send(Bytes(12, 0), frame_to(other));
    CHECK(net.cable.sent.size() == 1);
    CHECK(event() == 0); // it looks for more by itself first
    net.tx.add(0, {{Card::out, 112}});
    net.clock.advance(100'000);
    CHECK(net.cable.sent.size() == 1); // not too soon, when there could hardly be any
    net.clock.advance(50'000);
    CHECK(net.cable.sent.size() == 2);
    CHECK(event() == 0);
    net.clock.advance(150'000);
    CHECK(event() == 2); // nothing came any more
    // Receive buffers are there: refills need not be told.
    const auto rx_event = [&] { return load_le<std::uint16_t>(net.memory.bytes(), net.rx.used + 4 + 8 * 8); };
    net.refill(8, 1600);
    CHECK(net.cable.card->can_receive());
    CHECK(net.arrives(frame_to(own)));
    CHECK(rx_event() != 8);
    for (unsigned i = 0; i < 7; ++i)
        CHECK(net.arrives(frame_to(own)));
    CHECK_FALSE(net.cable.card->can_receive());
    CHECK(rx_event() == 8);
}

TEST_CASE("virtio net: frames that come together cost one interrupt") {
    Card net;
    net.refill(8, 1600);
    net.cable.card->receive(frame_to(own), {});
    net.cable.card->receive(frame_to(own), {});
    CHECK(net.rx.used_index() == 2);
    CHECK_FALSE(net.irq.level);
    net.cable.card->end_of_frames();
    CHECK(net.irq.level);
    net.get(Card::modern + 0x1000, 1);
    net.cable.card->end_of_frames();
    CHECK_FALSE(net.irq.level);
}

TEST_CASE("virtio net: a guest that never stops sending does not keep the thread") {
    Card net;
    // The same frame over and over: the ring of 8 is filled anew by a cable that plays the other processor.
    struct Busy final : NetBackend {
        explicit Busy(Card& c) : card{c} {}
        [[nodiscard]] std::string description() const override { return {}; }
        void connect(NetCard*) override {}
        void card_ready() override {}
        void send(std::span<const std::uint8_t>, const NetOffload&) override {
            if (++count < 600)
                q.offer(0);
        }
        Card& card;
        DriverQueue q = card.queue(1);
        unsigned count = 0;
    };
    Busy busy{net};
    VirtioPci card{
        {net.ports, net.memory_bus}, net.memory, std::make_unique<VirtioNet>(net.clock, busy, own)};
    net.config_put(0x04, 2, 0);
    net.card.reset(ResetKind::System);
    card.reset(ResetKind::PowerOn);
    std::array<std::uint8_t, 4> bytes{};
    store_le<std::uint32_t>(bytes, 0, Card::modern);
    card.config_write(0x20, bytes);
    bytes = {7, 0, 0, 0};
    card.config_write(0x04, bytes);
    busy.q.link(0, {{Card::out, 100}}, busy.q.descriptors);
    busy.q.offer(0);
    net.start(version_1);
    CHECK(busy.count == 256);
    net.clock.advance(1);
    CHECK(busy.count == 600);
}

TEST_CASE("virtio net: pause and resume") {
    Card net;
    net.refill(8, 1600);
    net.card.pause();
    CHECK_FALSE(net.cable.card->can_receive());
    net.send(Bytes(12, 0), frame_to(other));
    CHECK(net.cable.sent.empty());
    const auto before = net.cable.ready;
    net.card.resume();
    CHECK(net.cable.sent.size() == 1);
    CHECK(net.cable.ready == before + 1);
    CHECK(net.arrives(frame_to(own)));
}

TEST_CASE("virtio net: before the driver is ready, and after a reset, frames are lost") {
    Card net;
    net.refill(8, 1600);
    CHECK(net.cable.card->can_receive());
    net.common(20, 1, 0);
    CHECK_FALSE(net.cable.card->can_receive());
    CHECK_FALSE(net.arrives(frame_to(own)));
}

TEST_CASE("virtio net: receive buffers that are none") {
    Card net;
    net.rx.add(0, {{Card::out, 100}});             // readable
    net.rx.add(1, {{0x7fffffff0000, 2000, true}}); // not memory
    net.rx.add(2, {{Card::buffers, 5, true}});     // shorter than the header
    net.rx.add(3, {{Card::buffers, 1600, true}});
    net.notify(0);
    for (unsigned i = 0; i < 3; ++i)
        net.cable.card->receive(frame_to(own), {});
    CHECK(net.rx.used_index() <= 4);
    // A ring whose chains are offered for ever.
    for (unsigned i = 0; i < 1000; ++i) {
        net.rx.offer(3);
        static_cast<void>(net.cable.card->can_receive());
    }
    for (unsigned i = 0; i < 2000; ++i)
        net.cable.card->receive(frame_to(own), {});
    CHECK(net.rx.used_index() <= 1004);
}
