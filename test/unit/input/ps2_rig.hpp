// SPDX-License-Identifier: GPL-2.0-or-later
// A keyboard controller with both its devices, driven through the ports as a guest's driver would.
#pragma once

#include "devmodel/devices/input/i8042.hpp"
#include "devmodel/devices/input/ps2_keyboard.hpp"
#include "devmodel/devices/input/ps2_mouse.hpp"
#include "devmodel/machine/manual_clock.hpp"

#include <vector>

namespace escalus::test {

struct CountingSink final : IrqSink {
    void set_irq(unsigned, bool is_up) override {
        level = is_up;
        edges += is_up ? 1 : 0;
    }
    bool level = false;
    int edges = 0;
};

using Bytes = std::vector<std::uint8_t>;

struct Ps2Rig {
    Ps2Rig() {
        keyboard.reset(ResetKind::PowerOn);
        mouse.reset(ResetKind::PowerOn);
        controller.reset(ResetKind::PowerOn);
    }
    std::uint8_t in(std::uint16_t port) {
        std::uint8_t byte = 0;
        ports.read(port, {&byte, 1});
        return byte;
    }
    void out(std::uint16_t port, std::uint8_t byte) { ports.write(port, {&byte, 1}); }
    std::uint8_t status() { return in(0x64); }
    /// Everything that arrives while the guest polls, from either device.
    Bytes drain() {
        Bytes bytes;
        for (int idle = 0; idle < 2; clock.advance(ns_per_second / 1000)) {
            if ((status() & 1) == 0) {
                ++idle;
                continue;
            }
            idle = 0;
            bytes.push_back(in(0x60));
        }
        return bytes;
    }
    Bytes keyboard_command(const Bytes& bytes) {
        Bytes replies;
        for (const auto byte : bytes) {
            out(0x60, byte);
            for (const auto reply : drain())
                replies.push_back(reply);
        }
        return replies;
    }
    Bytes mouse_command(const Bytes& bytes) {
        Bytes replies;
        for (const auto byte : bytes) {
            out(0x64, 0xd4);
            out(0x60, byte);
            for (const auto reply : drain())
                replies.push_back(reply);
        }
        return replies;
    }
    void command_byte(std::uint8_t value) {
        out(0x64, 0x60);
        out(0x60, value);
    }
    Bytes press(KeyNumber key) {
        keyboard.key(key, true);
        return drain();
    }
    Bytes release(KeyNumber key) {
        keyboard.key(key, false);
        return drain();
    }

    Bus ports{"ports", 0x10000};
    ManualClock clock;
    CountingSink irq1, irq12;
    int resets = 0;
    bool a20_state = true;
    A20Gate a20{[this](bool on) { a20_state = on; }};
    Ps2Keyboard keyboard;
    Ps2Mouse mouse;
    I8042 controller{ports, clock, keyboard,
                     mouse, a20,   {IrqLine{irq1, 0}, IrqLine{irq12, 0}, [this] { ++resets; }}};
};

} // namespace escalus::test
