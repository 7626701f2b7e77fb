// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/input/ps2_mouse.hpp"
#include "test/unit/input/ps2_rig.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

namespace {
struct Wire {
    Wire() { mouse.reset(ResetKind::PowerOn); }
    Bytes take() {
        Bytes bytes;
        while (mouse.has_data())
            bytes.push_back(mouse.take());
        return bytes;
    }
    Bytes command(const Bytes& bytes) {
        Bytes replies;
        for (const auto byte : bytes) {
            mouse.receive(byte);
            for (const auto reply : take())
                replies.push_back(reply);
        }
        return replies;
    }
    void rates(const Bytes& values) {
        for (const auto value : values)
            REQUIRE(command({0xf3, value}) == Bytes{0xfa, 0xfa});
    }
    Ps2Mouse mouse;
};

struct Packet {
    int dx, dy;
    unsigned buttons;
};
std::vector<Packet> packets(const Bytes& bytes) {
    std::vector<Packet> result;
    REQUIRE(bytes.size() % 3 == 0);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        REQUIRE((bytes[i] & 0xc8) == 0x08); // in step, and no overflow
        result.push_back({bytes[i + 1] - ((bytes[i] & 0x10) != 0 ? 256 : 0),
                          -(bytes[i + 2] - ((bytes[i] & 0x20) != 0 ? 256 : 0)), bytes[i] & 7u});
    }
    return result;
}
} // namespace

TEST_CASE("the mouse answers reset, identify and the status request") {
    Wire wire;
    CHECK(wire.command({0xff}) == Bytes{0xfa, 0xaa, 0x00});
    CHECK(wire.command({0xf2}) == Bytes{0xfa, 0x00});
    CHECK(wire.command({0xe9}) == Bytes{0xfa, 0x00, 0x02, 100});
    CHECK(wire.command({0xe8, 0x03, 0xf3, 40, 0xe7, 0xf4}) == Bytes{0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 0xfa});
    wire.mouse.move(0, 0, 0, PointerSink::left);
    wire.take();
    CHECK(wire.command({0xe9}) == Bytes{0xfa, 0x34, 0x03, 40});
    CHECK(wire.command({0xe8, 0x09}) == Bytes{0xfa, 0xfe}); // no such resolution
    CHECK(wire.command({0x01, 0xf6}) == Bytes{0xfa, 0xfa}); // the argument again, then defaults
    CHECK(wire.command({0x55}) == Bytes{0xfe});
}

TEST_CASE("the knocks give a wheel and five buttons") {
    Wire wire;
    wire.rates({200, 100, 80});
    CHECK(wire.command({0xf2}) == Bytes{0xfa, 0x03});
    wire.command({0xf4});
    wire.mouse.move(1, 2, -1, 0);
    CHECK(wire.take() == Bytes{0x28, 0x01, 0xfe, 0xff});
    wire.command({0xf5});
    wire.rates({200, 200, 80});
    CHECK(wire.command({0xf2}) == Bytes{0xfa, 0x04});
    wire.command({0xf4});
    wire.mouse.move(0, 0, 1, Ps2Mouse::side);
    CHECK(wire.take() == Bytes{0x08, 0x00, 0x00, 0x11});
    CHECK(wire.command({0xff}) == Bytes{0xfa, 0xaa, 0x00});
    CHECK(wire.command({0xf2}) == Bytes{0xfa, 0x00});
}

TEST_CASE("a disabled mouse is silent") {
    Wire wire;
    wire.mouse.move(5, 5, 0, PointerSink::left);
    CHECK(wire.take().empty());
    wire.command({0xf4});
    CHECK(wire.take().empty());
    wire.mouse.move(1, 0, 0, PointerSink::left);
    CHECK(wire.take() == Bytes{0x09, 0x01, 0x00});
}

TEST_CASE("motion is never lost, however far and fast") {
    Wire wire;
    wire.command({0xf4});
    int x = 0, y = 0;
    for (int i = 0; i < 100; ++i) {
        wire.mouse.move(i * 37 - 1500, 777 - i * 11, 0, 0);
        x += i * 37 - 1500;
        y += 777 - i * 11;
    }
    int seen_x = 0, seen_y = 0;
    for (const auto& packet : packets(wire.take())) {
        seen_x += packet.dx;
        seen_y += packet.dy;
    }
    CHECK(seen_x == x);
    CHECK(seen_y == y);
}

TEST_CASE("a click happens where it was made, and none is lost between two packets") {
    Wire wire;
    wire.command({0xf4});
    wire.mouse.move(600, 0, 0, 0);
    wire.mouse.move(10, 0, 0, PointerSink::left);
    wire.mouse.move(0, 0, 0, 0);
    wire.mouse.move(300, 0, 0, 0);
    wire.mouse.move(0, 0, 0, PointerSink::right);
    int x = 0;
    std::vector<std::pair<int, unsigned>> changes;
    unsigned buttons = 0;
    for (const auto& packet : packets(wire.take())) {
        x += packet.dx;
        if (packet.buttons != buttons)
            changes.emplace_back(x, packet.buttons);
        buttons = packet.buttons;
    }
    CHECK(changes == std::vector<std::pair<int, unsigned>>{{610, 1}, {610, 0}, {910, 2}});
}

TEST_CASE("remote and wrap mode") {
    Wire wire;
    wire.command({0xf0});
    wire.mouse.move(3, 0, 0, 0);
    CHECK(wire.take().empty());
    CHECK(wire.command({0xeb}) == Bytes{0xfa, 0x08, 0x03, 0x00});
    CHECK(wire.command({0xeb}) == Bytes{0xfa, 0x08, 0x00, 0x00});
    CHECK(wire.command({0xfe}) == Bytes{0xfa, 0x08, 0x00, 0x00});
    CHECK(wire.command({0xee, 0x12, 0xf4, 0xec, 0xf2}) == Bytes{0xfa, 0x12, 0xf4, 0xfa, 0xfa, 0x00});
    CHECK(wire.command({0xea, 0xf4}) == Bytes{0xfa, 0xfa});
    wire.mouse.move(3, 0, 0, 0);
    CHECK(wire.take() == Bytes{0x08, 0x03, 0x00});
}

TEST_CASE("a guest that does not look does not make the mouse's memory grow") {
    Wire wire;
    wire.command({0xf4});
    for (int i = 0; i < 1'000'000; ++i)
        wire.mouse.move(2'000'000'000, -2'000'000'000, 100, static_cast<unsigned>(i) & 1);
    CHECK(wire.take().size() < 1'000'000);
}
