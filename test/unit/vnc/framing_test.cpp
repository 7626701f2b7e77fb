// SPDX-License-Identifier: GPL-2.0-or-later
#include "vnc/rfb_framing.hpp"
#include "vnc/web_session.hpp"

#include <vector>

#include <catch2/catch.hpp>

using namespace escalus;

namespace {
using Action = RfbFrame::Action;
using Bytes = std::vector<std::uint8_t>;

RfbFrame frame(const Bytes& bytes) {
    return next_rfb_frame(RfbPhase::Normal, bytes);
}
} // namespace

TEST_CASE("a message is handed on when all of it is there") {
    const Bytes key{4, 1, 0, 0, 0, 0, 0, 0x41, 5};
    for (std::size_t n = 0; n < 8; ++n)
        CHECK(frame({key.begin(), key.begin() + static_cast<std::ptrdiff_t>(n)}).action == Action::More);
    CHECK(frame(key).action == Action::Handle);
    CHECK(frame(key).size == 8);

    Bytes encodings{2, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0};
    CHECK(frame(encodings).action == Action::More);
    encodings.push_back(1);
    CHECK(frame(encodings).size == 12);
    CHECK(frame({2, 0, 0xff, 0xff}).action == Action::Reject);

    Bytes desktop(8, 0);
    desktop[0] = 251;
    desktop[6] = 1;
    CHECK(frame(desktop).action == Action::More);
    desktop.resize(24);
    CHECK(frame(desktop).size == 24);
}

TEST_CASE("lengths that a viewer gives are bounded") {
    const auto cut = frame({6, 0, 0, 0, 0, 0, 1, 0});
    CHECK(cut.action == Action::Skip);
    CHECK(cut.size == 8 + 256);
    CHECK(frame({6, 0, 0, 0, 0xff, 0xff, 0xff, 0xf0}).size == 8 + 16); // extended clipboard
    CHECK(frame({6, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff}).action == Action::Reject);
    CHECK(frame({6, 0, 0, 0, 0x80, 0x00, 0x00, 0x00}).action == Action::Reject);
    CHECK(frame({11, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}).size == 8);
    CHECK(frame({255, 1}).action == Action::Reject);
    CHECK(frame({99}).action == Action::Reject);
}

TEST_CASE("the handshake's messages have the length of their phase") {
    const Bytes bytes(16, 'x');
    CHECK(next_rfb_frame(RfbPhase::Version, bytes).size == 12);
    CHECK(next_rfb_frame(RfbPhase::SecurityType, bytes).size == 1);
    CHECK(next_rfb_frame(RfbPhase::Authentication, bytes).size == 16);
    CHECK(next_rfb_frame(RfbPhase::Initialisation, bytes).size == 1);
    CHECK(next_rfb_frame(RfbPhase::Authentication, Bytes(15)).action == Action::More);
}

TEST_CASE("origins") {
    CHECK(same_origin("http://127.0.0.1:5901", "127.0.0.1:5901"));
    CHECK(same_origin("", "127.0.0.1:5901"));
    CHECK_FALSE(same_origin("http://127.0.0.1:5902", "127.0.0.1:5901"));
    CHECK_FALSE(same_origin("http://evil.example", "127.0.0.1:5901"));
    CHECK_FALSE(same_origin("null", "127.0.0.1:5901"));
}
