// SPDX-License-Identifier: GPL-2.0-or-later
// Backends over a descriptor, with a pair of sockets, and the dump of what passes.
#include "devmodel/backends/net/descriptor_net.hpp"
#include "devmodel/backends/net/pcap_dump.hpp"
#include "devmodel/backends/net/vnet_header.hpp"
#include "devmodel/machine/little_endian.hpp"
#include "test/unit/net/frames.hpp"
#include "test/unit/net/test_card.hpp"

#include <array>
#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

using namespace escalus;
using namespace escalus::test;

namespace {
struct Cable : Loop {
    explicit Cable(DescriptorNetOptions options = {.description = "test"}) {
        const auto [ours, theirs] = net_socket_pair();
        peer = theirs;
        ::fcntl(peer, F_SETFL, O_NONBLOCK);
        net = std::make_unique<DescriptorNet>(io, lock, ours, std::move(options));
        card.call(lock, [&] { net->connect(&card); });
    }
    ~Cable() {
        net.reset();
        hang_up();
    }
    Cable(const Cable&) = delete;
    Cable& operator=(const Cable&) = delete;
    void hang_up() {
        if (peer >= 0)
            ::close(std::exchange(peer, -1));
    }
    void send(const Frame& frame, const NetOffload& offload = {}) {
        card.call(lock, [&] { net->send(frame, offload); });
    }
    /// What the other end has been sent, an empty frame when nothing.
    Frame taken() const {
        Frame frame(70000);
        const auto n = ::read(peer, frame.data(), frame.size());
        frame.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
        return frame;
    }
    void give(const Frame& frame) const {
        REQUIRE(::write(peer, frame.data(), frame.size()) == static_cast<ssize_t>(frame.size()));
    }
    int peer = -1;
    TestCard card;
    std::unique_ptr<DescriptorNet> net;
};
} // namespace

TEST_CASE("descriptor net: frames both ways, whole and in order") {
    Cable cable;
    const Frame first(60, 1), second(1514, 2);
    cable.send(first);
    cable.send(second);
    CHECK(cable.taken() == first);
    CHECK(cable.taken() == second);
    cable.give(second);
    cable.give(first);
    cable.run_until([&] { return cable.card.received.size() == 2; });
    CHECK(cable.card.received == std::vector<Frame>{second, first});
}

TEST_CASE("descriptor net: a card without room leaves them where they are") {
    Cable cable;
    cable.card.room = 1;
    for (std::uint8_t i = 0; i < 100; ++i)
        cable.give(Frame(60, i));
    cable.run_until([&] { return cable.card.received.size() == 1; });
    cable.settle();
    CHECK(cable.card.received.size() == 1);
    cable.card.room = 1000;
    cable.card.call(cable.lock, [&] { cable.net->card_ready(); });
    cable.run_until([&] { return cable.card.received.size() == 100; });
    CHECK(cable.card.received.back() == Frame(60, 99));
}

TEST_CASE("descriptor net: what a sender left to do is done") {
    Cable cable;
    auto tcp = tcp_frame(false, 2500);
    cable.send(tcp.frame, tcp.segmented(1000));
    for (unsigned i = 0; i < 3; ++i)
        CHECK(tcp_checksum_is_good(cable.taken(), false));
    CHECK(cable.taken().empty());
}

TEST_CASE("descriptor net: a peer that takes offloads gets them in a header") {
    Cable cable{{.description = "tap", .vnet_header = true}};
    cable.card.call(cable.lock, [&] { cable.net->accept_offloads(true, true, true); });
    auto tcp = tcp_frame(false, 2500);
    // A pair of sockets stands in for the TAP device: writev() is the same.
    cable.send(tcp.frame, tcp.segmented(1000));
    auto got = cable.taken();
    REQUIRE(got.size() == tcp.frame.size() + 10);
    CHECK(Frame(got.begin(), got.begin() + 10) == Frame{1, 1, 66, 0, 0xe8, 3, 34, 0, 16, 0});
    CHECK(Frame(got.begin() + 10, got.end()) == tcp.frame);
    cable.give(got);
    got[1] = 3; // UDP fragmentation was not asked for
    cable.give(got);
    cable.give(Frame(9, 0));
    got[1] = 4;
    cable.give(got);
    cable.run_until([&] { return cable.card.received.size() == 2; });
    CHECK(cable.card.received[0] == tcp.frame);
    CHECK(cable.card.offloads[0].segment_bytes == 1000);
    CHECK(cable.card.offloads[1].segmentation == NetOffload::Segmentation::Tcp6);
}

TEST_CASE("descriptor net: what the other side left to do is done for a card that has not asked for it") {
    Cable cable{{.description = "tap", .vnet_header = true}};
    auto tcp = tcp_frame(false, 2500);
    const auto give = [&](const NetOffload& offload) {
        Frame whole(VnetHeader::bytes);
        VnetHeader::encode(whole, offload);
        whole.insert(whole.end(), tcp.frame.begin(), tcp.frame.end());
        cable.give(whole);
    };
    SECTION("as fast as the card has room, and what comes behind it afterwards") {
        cable.card.room = 2;
        give(tcp.segmented(1000));
        give(tcp.checksum());
        cable.run_until([&] { return cable.card.received.size() == 2; });
        cable.settle();
        CHECK(cable.card.received.size() == 2);
        cable.card.room = 1000;
        cable.card.call(cable.lock, [&] { cable.net->card_ready(); });
        cable.run_until([&] { return cable.card.received.size() == 4; });
        CHECK(cable.card.received[0].size() == tcp.payload_at + 1000);
        CHECK(cable.card.received[2].size() == tcp.payload_at + 500);
        CHECK(cable.card.received[3].size() == tcp.frame.size());
        for (std::size_t i = 0; i < 4; ++i) {
            CHECK(tcp_checksum_is_good(cable.card.received[i], false));
            CHECK_FALSE(cable.card.offloads[i].unfinished());
            CHECK(cable.card.offloads[i].checksum_is_good);
        }
    }
    SECTION("more segments than are handed over at once") {
        give(tcp.segmented(10));
        cable.run_until([&] { return cable.card.received.size() == 250; });
        cable.settle();
        CHECK(cable.card.received.size() == 250);
    }
    SECTION("only the sums for one that takes whole segments of the other protocol") {
        cable.card.call(cable.lock, [&] { cable.net->accept_offloads(true, false, true); });
        give(tcp.segmented(2000));
        give(tcp.checksum());
        cable.run_until([&] { return cable.card.received.size() == 3; });
        CHECK(cable.card.received[1].size() == tcp.payload_at + 500);
        CHECK(cable.card.offloads[2].needs_checksum);
    }
    SECTION("not for one that was unplugged meanwhile") {
        cable.card.room = 1;
        give(tcp.segmented(1000));
        cable.run_until([&] { return cable.card.received.size() == 1; });
        cable.card.room = 1000;
        cable.card.call(cable.lock, [&] {
            cable.net->connect(nullptr);
            cable.net->connect(&cable.card);
        });
        cable.settle();
        CHECK(cable.card.received.size() == 1);
    }
    SECTION("what is not what its header says is lost") {
        give(tcp.segmented(0));
        give(tcp.checksum());
        cable.run_until([&] { return cable.card.received.size() == 1; });
        CHECK(cable.card.received[0].size() == tcp.frame.size());
    }
}

TEST_CASE("descriptor net: the other side goes away") {
    Cable cable;
    CHECK(cable.net->link_up());
    SECTION("while the card listens") {
        cable.hang_up();
    }
    SECTION("while it sends") {
        cable.card.room = 0;
        cable.hang_up();
        cable.send(Frame(60, 1));
        cable.send(Frame(60, 1));
    }
    cable.run_until([&] { return !cable.card.link.empty(); });
    cable.settle();
    CHECK(cable.card.link == std::vector{false});
    CHECK_FALSE(cable.net->link_up());
    cable.send(Frame(60, 1)); // to nobody
    cable.card.call(cable.lock, [&] { cable.net->card_ready(); });
    cable.settle();
}

TEST_CASE("descriptor net: a full socket loses frames and blocks nobody") {
    Cable cable;
    for (unsigned i = 0; i < 10000; ++i)
        cable.send(Frame(1514, 3));
    CHECK(cable.taken() == Frame(1514, 3));
    CHECK(cable.net->link_up());
}

TEST_CASE("descriptor net: an unplugged card hears nothing") {
    Cable cable;
    cable.card.call(cable.lock, [&] { cable.net->connect(nullptr); });
    cable.give(Frame(60, 1));
    cable.settle();
    CHECK(cable.card.received.empty());
    cable.net.reset(); // with a wait under way
    cable.settle();
}

TEST_CASE("packet dump: a file that libpcap reads") {
    Cable cable;
    const auto path =
        (std::filesystem::temp_directory_path() / fmt::format("escalus-{}.pcap", ::getpid())).string();
    {
        const auto [ours, theirs] = net_socket_pair();
        TestCard card;
        PcapDump dump{
            std::make_unique<DescriptorNet>(cable.io, cable.lock, ours, DescriptorNetOptions{"inner", false}),
            path};
        CHECK(dump.description() == "inner");
        card.call(cable.lock, [&] { dump.connect(&card); });
        card.call(cable.lock, [&] { dump.send(Frame(60, 0x11), {}); });
        REQUIRE(::write(theirs, "abcdefghijklmnop", 16) == 16);
        cable.run_until([&] { return card.received.size() == 1; });
        ::close(theirs);
        cable.run_until([&] { return card.link.size() == 1; });
        card.call(cable.lock, [&] { dump.connect(nullptr); });
    }
    std::ifstream file{path, std::ios::binary};
    const Frame bytes{std::istreambuf_iterator<char>{file}, {}};
    std::filesystem::remove(path);
    REQUIRE(bytes.size() == 24 + 16 + 60 + 16 + 16);
    CHECK(load_le<std::uint32_t>(bytes) == 0xa1b2c3d4);
    CHECK(load_le<std::uint16_t>(bytes, 4) == 2);
    CHECK(load_le<std::uint16_t>(bytes, 6) == 4);
    CHECK(load_le<std::uint32_t>(bytes, 20) == 1);
    CHECK(load_le<std::uint32_t>(bytes, 24 + 8) == 60);
    CHECK(load_le<std::uint32_t>(bytes, 24 + 12) == 60);
    CHECK(bytes[24 + 16 + 59] == 0x11);
    CHECK(load_le<std::uint32_t>(bytes, 100 + 8) == 16);
    CHECK(bytes.back() == 'p');
}

TEST_CASE("packet dump: a file that cannot be written") {
    Cable cable;
    const auto open = [&](const char* path) {
        return PcapDump{std::make_unique<DescriptorNet>(cable.io, cable.lock, net_socket_pair().first,
                                                        DescriptorNetOptions{"inner", false}),
                        path};
    };
    CHECK_THROWS_WITH(open("/does/not/exist.pcap"), Catch::Contains("/does/not/exist.pcap"));
    CHECK_THROWS_WITH(open("/dev/full"), Catch::Contains("No space left"));
}
