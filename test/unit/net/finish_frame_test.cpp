// SPDX-License-Identifier: GPL-2.0-or-later
// Checksums and segmentation in software: each result is taken apart and summed again.
#include "devmodel/backends/net/finish_frame.hpp"
#include "devmodel/backends/net/internet_packet.hpp"
#include "test/unit/net/frames.hpp"

#include <random>

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

namespace {
std::vector<Frame> finished(const Frame& frame, const NetOffload& offload, bool& good) {
    std::vector<Frame> out;
    FrameFinisher finisher;
    good = finisher.begin(frame, offload);
    while (!finisher.done()) {
        const auto piece = finisher.next();
        out.emplace_back(piece.begin(), piece.end());
    }
    return out;
}
} // namespace

TEST_CASE("internet sum: the example of RFC 1071 and odd lengths") {
    const Frame bytes{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    const auto sum = [](const Frame& of, std::uint64_t before = 0) {
        return fold_sum(add_words(of, before));
    };
    CHECK(sum(bytes) == 0xddf2);
    CHECK(sum(Frame{0x12}) == 0x1200);
    CHECK(sum(Frame{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, 0xffff) == 0x0100);
    CHECK(sum({}) == 0);
    // Against the definition, over all lengths around those of the words that it is made in.
    Frame any(70);
    std::mt19937 random{1};
    for (auto& byte : any)
        byte = static_cast<std::uint8_t>(random());
    for (std::size_t size = 0; size <= any.size(); ++size) {
        std::uint64_t expected = 0;
        for (std::size_t i = 0; i < size; ++i)
            expected += i % 2 == 0 ? std::uint64_t{any[i]} << 8 : any[i];
        CHECK(sum(Frame(any.begin(), any.begin() + static_cast<std::ptrdiff_t>(size))) == fold_sum(expected));
    }
}

TEST_CASE("finish frame: nothing to do is no copy") {
    const Frame frame{1, 2, 3};
    FrameFinisher finisher;
    CHECK(finisher.done());
    REQUIRE(finisher.begin(frame, {}));
    CHECK(finisher.next().data() == frame.data());
    CHECK(finisher.done());
}

TEST_CASE("finish frame: a checksum") {
    const bool ip6 = GENERATE(false, true);
    auto tcp = tcp_frame(ip6, 777);
    bool good = false;
    const auto out = finished(tcp.frame, tcp.checksum(), good);
    REQUIRE(good);
    REQUIRE(out.size() == 1);
    CHECK(out[0].size() == tcp.frame.size());
    CHECK(tcp_checksum_is_good(out[0], ip6));

    auto beyond = tcp.checksum();
    beyond.checksum_offset = static_cast<std::uint16_t>(tcp.frame.size() - beyond.checksum_start - 1);
    CHECK(finished(tcp.frame, beyond, good).empty());
    CHECK_FALSE(good);
    beyond.checksum_start = beyond.checksum_offset = 0xffff;
    CHECK(finished(tcp.frame, beyond, good).empty());
}

TEST_CASE("finish frame: a sum of zero is sent as ffff") {
    Frame frame(20, 0);
    frame[10] = 0xff; // whatever stood in the field is summed as well
    frame[11] = 0xff;
    CHECK(complete_checksum(frame, {.needs_checksum = true, .checksum_start = 8, .checksum_offset = 2}));
    CHECK(frame[10] == 0xff);
    CHECK(frame[11] == 0xff);
}

TEST_CASE("finish frame: segmentation") {
    const bool ip6 = GENERATE(false, true), vlan = GENERATE(false, true);
    const std::size_t payload = GENERATE(1, 1000, 1001, 2000, 65000);
    auto tcp = tcp_frame(ip6, payload, vlan);
    tcp.set_flags(0x80 | 0x10 | 0x08 | 0x01); // CWR ACK PSH FIN
    auto offload = tcp.segmented(1000);
    offload.has_ecn = true;
    bool good = false;
    const auto out = finished(tcp.frame, offload, good);
    REQUIRE(good);
    REQUIRE(out.size() == (payload + 999) / 1000);
    Frame together;
    for (std::size_t i = 0; i < out.size(); ++i) {
        const TcpView view{out[i], ip6, vlan};
        const bool last = i + 1 == out.size();
        CHECK(view.payload().size() == (last ? payload - 1000 * i : 1000));
        CHECK(view.sequence() == static_cast<std::uint32_t>(tcp.sequence + 1000 * i));
        CHECK(view.flags() == (0x10 | (i == 0 ? 0x80 : 0) | (last ? 0x09 : 0)));
        CHECK(view.ip_length_is_right());
        CHECK(tcp_checksum_is_good(out[i], ip6, vlan));
        if (!ip6) {
            CHECK(view.ip4_header_sum() == 0xffff);
            CHECK(view.ip4_id() == static_cast<std::uint16_t>(tcp.id + i));
        }
        const auto part = view.payload();
        together.insert(together.end(), part.begin(), part.end());
    }
    CHECK(together == tcp.payload());
}

TEST_CASE("finish frame: what was to come can be dropped") {
    auto tcp = tcp_frame(false, 5000);
    FrameFinisher finisher;
    REQUIRE(finisher.begin(tcp.frame, tcp.segmented(1000)));
    CHECK(finisher.next().size() == tcp.payload_at + 1000);
    SECTION("by word") {
        finisher.drop();
    }
    SECTION("by another frame that is none") {
        CHECK_FALSE(finisher.begin(Frame(10, 0), tcp.segmented(1000)));
    }
    CHECK(finisher.done());
}

TEST_CASE("finish frame: what cannot be segmented is not") {
    const bool ip6 = GENERATE(false, true);
    auto tcp = tcp_frame(ip6, 5000);
    const auto asked = tcp.segmented(1000);
    const auto refused = [](const Frame& frame, NetOffload offload) {
        bool good = true;
        return finished(frame, offload, good).empty() && !good;
    };
    CHECK_FALSE(refused(tcp.frame, asked));
    auto offload = asked;
    SECTION("segments of nothing, or nearly") {
        offload.segment_bytes = GENERATE(0, 1, 47);
        CHECK(refused(tcp.frame, offload));
        FrameFinisher finisher;
        CHECK(finisher.begin(tcp.frame, offload, 1) == (offload.segment_bytes != 0));
    }
    SECTION("without a checksum") {
        offload.needs_checksum = false;
        CHECK(refused(tcp.frame, offload));
    }
    SECTION("a checksum elsewhere") {
        offload.checksum_offset = 6;
        CHECK(refused(tcp.frame, offload));
    }
    SECTION("the other protocol") {
        offload.segmentation = ip6 ? NetOffload::Segmentation::Tcp4 : NetOffload::Segmentation::Tcp6;
        CHECK(refused(tcp.frame, offload));
    }
    SECTION("headers anywhere") {
        for (unsigned start = 0; start < 0x10000; start += start < 200 ? 1 : 997) {
            offload.checksum_start = static_cast<std::uint16_t>(start);
            if (start != asked.checksum_start && (!ip6 || start < asked.checksum_start))
                CHECK(refused(tcp.frame, offload));
        }
    }
    SECTION("too short") {
        for (std::size_t size = 0; size < tcp.payload_at; ++size)
            CHECK(refused({tcp.frame.begin(), tcp.frame.begin() + static_cast<std::ptrdiff_t>(size)}, asked));
    }
    SECTION("a TCP header longer than the frame, or shorter than any") {
        tcp.frame.resize(tcp.payload_at + 20);
        tcp.frame[tcp.tcp_at + 12] = GENERATE(0x40, 0xf0);
        CHECK(refused(tcp.frame, asked));
    }
}
