// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/input/ps2_keyboard.hpp"
#include "test/unit/input/ps2_rig.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

namespace {
/// The keyboard alone, without a controller's translation.
struct Wire {
    Wire() { keyboard.reset(ResetKind::PowerOn); }
    Bytes take() {
        Bytes bytes;
        while (keyboard.has_data())
            bytes.push_back(keyboard.take());
        return bytes;
    }
    Bytes command(const Bytes& bytes) {
        Bytes replies;
        for (const auto byte : bytes) {
            keyboard.receive(byte);
            for (const auto reply : take())
                replies.push_back(reply);
        }
        return replies;
    }
    Bytes press(KeyNumber key) {
        keyboard.key(key, true);
        return take();
    }
    Bytes release(KeyNumber key) {
        keyboard.key(key, false);
        return take();
    }
    Ps2Keyboard keyboard;
};
} // namespace

TEST_CASE("the keyboard answers reset, identify, echo and the set query") {
    Wire wire;
    CHECK(wire.command({0xff}) == Bytes{0xfa, 0xaa});
    CHECK(wire.command({0xf2}) == Bytes{0xfa, 0xab, 0x83});
    CHECK(wire.command({0xee}) == Bytes{0xee});
    CHECK(wire.command({0xf0, 0x00}) == Bytes{0xfa, 0xfa, 0x02});
    CHECK(wire.command({0xf0, 0x01}) == Bytes{0xfa, 0xfa});
    CHECK(wire.command({0xf0, 0x00}) == Bytes{0xfa, 0xfa, 0x01});
    CHECK(wire.command({0xf0, 0x07}) == Bytes{0xfa, 0xfe}); // no such set
    CHECK(wire.command({0x12}) == Bytes{0xfe});             // no such command
    CHECK(wire.command({0xf6, 0xf0, 0x00}) == Bytes{0xfa, 0xfa, 0xfa, 0x02});
}

TEST_CASE("lights and rate take an argument, which another command cancels") {
    Wire wire;
    CHECK(wire.command({0xed, 0x05}) == Bytes{0xfa, 0xfa});
    CHECK(wire.keyboard.leds() == (Ps2Keyboard::led_caps | Ps2Keyboard::led_scroll));
    CHECK(wire.command({0xf3, 0x00}) == Bytes{0xfa, 0xfa});
    CHECK(wire.command({0xed, 0xf4}) == Bytes{0xfa, 0xfa});
    CHECK(wire.keyboard.leds() == 5);
    CHECK(wire.press(0x1e) == Bytes{0x1c});
}

TEST_CASE("an answer goes before keys that wait, and a resend repeats the last byte") {
    Wire wire;
    wire.keyboard.key(0x1e, true);
    wire.keyboard.receive(0xed);
    CHECK(wire.take() == Bytes{0xfa, 0x1c});
    CHECK(wire.command({0xfe}) == Bytes{0x1c});
}

TEST_CASE("a disabled keyboard is silent and sends no stray key-ups later") {
    Wire wire;
    wire.press(0x1e);
    CHECK(wire.command({0xf5}) == Bytes{0xfa});
    CHECK(wire.press(0x30).empty());
    CHECK(wire.release(0x1e).empty());
    CHECK(wire.command({0xf4}) == Bytes{0xfa});
    CHECK(wire.release(0x30).empty());
    CHECK(wire.press(0x1e) == Bytes{0x1c});
}

TEST_CASE("Print Screen and Pause have their own sequences") {
    Wire wire;
    CHECK(wire.press(0xb7) == Bytes{0xe0, 0x12, 0xe0, 0x7c});
    CHECK(wire.release(0xb7) == Bytes{0xe0, 0xf0, 0x7c, 0xe0, 0xf0, 0x12});
    CHECK(wire.press(0xc6) == Bytes{0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77});
    CHECK(wire.press(0xc6).empty()); // does not repeat
    CHECK(wire.release(0xc6).empty());
    wire.press(0x38);
    CHECK(wire.press(0xb7) == Bytes{0x84}); // Alt: SysRq
    wire.release(0x38);
    CHECK(wire.release(0xb7) == Bytes{0xf0, 0x84}); // the break matches the make
    wire.press(0x1d);
    CHECK(wire.press(0xb7) == Bytes{0xe0, 0x7c});
    wire.release(0xb7);
    CHECK(wire.press(0xc6) == Bytes{0xe0, 0x7e, 0xe0, 0xf0, 0x7e}); // Ctrl: Break
}

TEST_CASE("set 1 is sent when it is asked for") {
    Wire wire;
    wire.command({0xf0, 0x01});
    CHECK(wire.press(0x1e) == Bytes{0x1e});
    CHECK(wire.release(0x1e) == Bytes{0x9e});
    CHECK(wire.press(0xd3) == Bytes{0xe0, 0x53});
    CHECK(wire.release(0xd3) == Bytes{0xe0, 0xd3});
    CHECK(wire.press(0xc6) == Bytes{0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5});
    CHECK(wire.press(0xb7) == Bytes{0xe0, 0x2a, 0xe0, 0x37});
}

TEST_CASE("set 3 has one byte a key and types that can be changed") {
    Wire wire;
    wire.command({0xf0, 0x03});
    CHECK(wire.press(0x1e) == Bytes{0x1c}); // letters repeat, and send no break code by default
    CHECK(wire.press(0x1e) == Bytes{0x1c});
    CHECK(wire.release(0x1e).empty());
    CHECK(wire.press(0x2a) == Bytes{0x12}); // shifts: make and break
    CHECK(wire.press(0x2a).empty());
    CHECK(wire.release(0x2a) == Bytes{0xf0, 0x12});
    CHECK(wire.press(0xc8) == Bytes{0x63});
    CHECK(wire.command({0xfa}) == Bytes{0xfa});
    CHECK(wire.release(0xc8) == Bytes{0xf0, 0x63});
    CHECK(wire.command({0xfd, 0x1c, 0xf4}) == Bytes{0xfa, 0xfa, 0xfa});
    CHECK(wire.press(0x1e) == Bytes{0x1c});
    CHECK(wire.release(0x1e).empty());
}

TEST_CASE("a key-down of a key that is down is a repeat") {
    Wire wire;
    CHECK(wire.press(0x1e) == Bytes{0x1c});
    CHECK(wire.press(0x1e) == Bytes{0x1c});
    CHECK(wire.release(0x1e) == Bytes{0xf0, 0x1c});
    CHECK(wire.release(0x1e).empty());
}

TEST_CASE("a guest that does not look gets one overrun, and no key sticks") {
    Wire wire;
    wire.keyboard.key(0x2a, true);
    for (int i = 0; i < 10'000; ++i)
        wire.keyboard.key(0x1e, true);
    wire.keyboard.key(0x1e, false);
    wire.keyboard.key(0x2a, false);
    const auto bytes = wire.take();
    CHECK(bytes.size() < 80);
    CHECK(std::ranges::count(bytes, 0x00) == 1);
    CHECK(Bytes(bytes.end() - 4, bytes.end()) == Bytes{0xf0, 0x1c, 0xf0, 0x12});
}
