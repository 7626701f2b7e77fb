// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/serial/uart16550.hpp"
#include "devmodel/machine/manual_clock.hpp"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace escalus;

namespace {
constexpr std::uint16_t com1 = 0x3f8;
constexpr GuestTime character = 10 * ns_per_second / 115200;

struct Peer final : CharBackend {
    void send(std::span<const std::uint8_t> data) override { sent.append(data.begin(), data.end()); }
    void on_receive(Receiver r) override { receiver = std::move(r); }
    void ready() override { push(); }
    [[nodiscard]] std::string description() const override { return "peer"; }
    void type(std::string_view text) {
        waiting += text;
        push();
    }
    void push() {
        if (waiting.empty() || !receiver)
            return;
        const std::vector<std::uint8_t> bytes(waiting.begin(), waiting.end());
        waiting.erase(0, receiver(bytes));
    }
    std::string sent, waiting;
    Receiver receiver;
};

struct Rig : IrqSink {
    Rig() { uart.reset(ResetKind::PowerOn); }
    void set_irq(unsigned, bool is_up) override {
        irq = is_up;
        edges += is_up ? 1 : 0;
    }
    std::uint8_t in(unsigned reg) {
        std::uint8_t byte = 0;
        ports.read(com1 + reg, {&byte, 1});
        return byte;
    }
    void out(unsigned reg, std::uint8_t byte) { ports.write(com1 + reg, {&byte, 1}); }
    std::string read_all() {
        std::string text;
        while ((in(5) & 1) != 0)
            text += static_cast<char>(in(0));
        return text;
    }
    Bus ports{"ports", 0x10000};
    ManualClock clock;
    Peer peer;
    bool irq = false;
    int edges = 0;
    Uart16550 uart{ports, com1, clock, IrqLine{*this, 0}, &peer};
};
} // namespace

TEST_CASE("a driver recognises a 16550A") {
    Rig rig;
    rig.out(7, 0x5a);
    CHECK(rig.in(7) == 0x5a);
    CHECK(rig.in(2) == 0x01);
    rig.out(2, 0x01);
    CHECK(rig.in(2) == 0xc1);
    rig.out(2, 0x00);
    CHECK(rig.in(2) == 0x01);
    rig.out(1, 0xff);
    CHECK(rig.in(1) == 0x0f); // no sleep mode: not a 16650 or 16750
    rig.out(3, 0x80);
    rig.out(0, 0x0c);
    rig.out(1, 0x01);
    CHECK(rig.in(0) == 0x0c);
    CHECK(rig.in(1) == 0x01);
    rig.out(3, 0x03);
    CHECK(rig.in(1) == 0x0f);
    CHECK(rig.in(5) == 0x60);
    CHECK((rig.in(6) & 0xf0) == 0xb0);
}

TEST_CASE("bytes written leave, and the empty holding register interrupts") {
    Rig rig;
    rig.out(4, 0x0b);
    rig.out(0, 'h');
    CHECK(rig.peer.sent == "h");
    CHECK_FALSE(rig.irq);
    rig.out(1, 0x02); // enabling it with an empty register interrupts at once
    CHECK(rig.irq);
    CHECK(rig.in(2) == 0x02);
    CHECK_FALSE(rig.irq); // reading the identification takes it back
    CHECK(rig.in(2) == 0x01);
    rig.out(0, 'i');
    CHECK(rig.irq);
    const auto edges = rig.edges;
    rig.out(0, '!'); // each byte gives an edge of its own
    CHECK(rig.edges == edges + 1);
    CHECK(rig.in(2) == 0x02);
    CHECK(rig.peer.sent == "hi!");
    const std::vector<std::uint8_t> more{'a', 'b', 'c'};
    rig.ports.write_repeated(com1, 1, more);
    CHECK(rig.peer.sent == "hi!abc");
}

TEST_CASE("interrupts reach the bus through OUT2 only") {
    Rig rig;
    rig.out(1, 0x02);
    CHECK_FALSE(rig.irq);
    rig.out(4, 0x08);
    CHECK(rig.irq);
}

TEST_CASE("received bytes interrupt at the trigger level, or by time-out") {
    Rig rig;
    rig.out(4, 0x0b);
    rig.out(1, 0x01);
    rig.out(3, 0x03);
    rig.out(2, 0x87); // trigger at 8
    rig.peer.type("abc");
    CHECK_FALSE(rig.irq);
    rig.clock.advance(3 * character);
    CHECK_FALSE(rig.irq);
    rig.clock.advance(2 * character);
    CHECK(rig.irq);
    CHECK(rig.in(2) == 0xcc);
    CHECK(rig.in(0) == 'a');
    CHECK_FALSE(rig.irq);
    rig.clock.advance(5 * character);
    CHECK(rig.irq);
    rig.peer.type("defghi");
    CHECK(rig.in(2) == 0xc4);
    CHECK(rig.read_all() == "bcdefghi");
    CHECK_FALSE(rig.irq);
}

TEST_CASE("what does not fit waits in the backend and nothing is lost") {
    Rig rig;
    rig.out(3, 0x03);
    std::string text;
    for (int i = 0; i < 1000; ++i)
        text += static_cast<char>('a' + i % 26);
    SECTION("with FIFOs") {
        rig.out(2, 0x01);
    }
    SECTION("without") {}
    rig.peer.type(text);
    std::string seen;
    const auto start = rig.clock.now();
    while (seen.size() < text.size()) {
        seen += rig.read_all();
        CHECK((rig.in(5) & 0x02) == 0);
        rig.clock.advance(character);
        REQUIRE(rig.clock.now() < start + ns_per_second);
    }
    CHECK(seen == text);
    CHECK(rig.clock.now() - start >= 900 * character); // not faster than the line
}

TEST_CASE("without FIFOs one byte interrupts at once") {
    Rig rig;
    rig.out(4, 0x08);
    rig.out(1, 0x01);
    rig.peer.type("x");
    CHECK(rig.irq);
    CHECK(rig.in(2) == 0x04);
    CHECK(rig.in(0) == 'x');
    CHECK_FALSE(rig.irq);
}

TEST_CASE("loopback ties outputs to inputs and returns data") {
    Rig rig;
    rig.in(6);
    rig.out(4, 0x10);
    CHECK((rig.in(6) & 0xf0) == 0x00);
    rig.out(4, 0x1a); // as Linux' probe does: RTS and OUT2
    CHECK((rig.in(6) & 0xf0) == 0x90);
    rig.out(4, 0x1f);
    CHECK((rig.in(6) & 0xf0) == 0xf0);
    rig.out(4, 0x1b); // RI falls: its trailing edge is noted
    CHECK(rig.in(6) == 0xb4);
    CHECK(rig.in(6) == 0xb0);
    rig.out(0, 0x42);
    CHECK(rig.peer.sent.empty());
    CHECK(rig.in(5) == 0x61);
    CHECK(rig.in(0) == 0x42);
    rig.out(0, 1);
    rig.out(0, 2); // overrun
    CHECK(rig.in(5) == 0x63);
    CHECK(rig.in(5) == 0x61);
    CHECK(rig.in(0) == 2);
    rig.peer.type("not now");
    CHECK(rig.in(5) == 0x60);
    rig.out(4, 0x03);
    CHECK(rig.in(0) == 'n');
}

TEST_CASE("the modem status reports its changes once and by interrupt") {
    Rig rig;
    rig.out(4, 0x08);
    rig.in(6);
    rig.out(1, 0x08);
    rig.out(4, 0x18);
    rig.out(4, 0x08);
    CHECK(rig.irq);
    CHECK(rig.in(2) == 0x00);
    CHECK(rig.in(6) == 0xb3); // CTS and DSR went and came back
    CHECK_FALSE(rig.irq);
    CHECK(rig.in(6) == 0xb0);
}

TEST_CASE("priorities: line status, data, transmitter, modem") {
    Rig rig;
    rig.out(4, 0x10);
    rig.out(0, 1);
    rig.out(0, 2);
    rig.out(1, 0x0f);
    rig.out(4, 0x1b);
    CHECK(rig.in(2) == 0x06);
    rig.in(5);
    CHECK(rig.in(2) == 0x04);
    rig.in(0);
    CHECK(rig.in(2) == 0x02);
    CHECK(rig.in(2) == 0x00);
    rig.in(6);
    CHECK(rig.in(2) == 0x01);
}

TEST_CASE("clearing and switching FIFOs drops what was received") {
    Rig rig;
    rig.out(2, 0x01);
    rig.peer.type("abc");
    rig.out(2, 0x03);
    CHECK((rig.in(5) & 1) == 0);
    rig.clock.advance(10 * character);
    rig.peer.type("d");
    rig.out(2, 0x00);
    CHECK((rig.in(5) & 1) == 0);
}

TEST_CASE("reset brings power-on values and a lowered line") {
    Rig rig;
    rig.out(4, 0x0b);
    rig.out(1, 0x02);
    CHECK(rig.irq);
    rig.uart.reset(ResetKind::System);
    CHECK_FALSE(rig.irq);
    CHECK(rig.in(1) == 0);
    CHECK(rig.in(4) == 0);
}
