// SPDX-License-Identifier: GPL-2.0-or-later
// Standard requests, the tablet and the keyboard, as a driver on the bus sees them.
#include "devmodel/devices/input/input_choice.hpp"
#include "devmodel/devices/usb/hid_usages.hpp"
#include "devmodel/devices/usb/usb_keyboard.hpp"
#include "devmodel/devices/usb/usb_tablet.hpp"
#include "test/unit/usb/usb_rig.hpp"

#include <set>

using namespace escalus;
using namespace escalus::test;
using Bytes = std::vector<std::uint8_t>;

namespace {
template <typename Device>
struct Plugged : UsbRig {
    Plugged() {
        auto owned = std::make_unique<Device>(clock);
        device = owned.get();
        uhci.attach(0, std::move(owned));
        power_on();
        run();
    }
    Device* device;
};

struct Recorder final : KeyboardSink, PointerSink {
    void key(KeyNumber number, bool down) override { keys.emplace_back(number, down); }
    void move(int dx, int dy, int, unsigned buttons) override {
        moves.push_back({dx, dy, static_cast<int>(buttons)});
    }
    [[nodiscard]] bool listening() const override { return listens; }
    [[nodiscard]] bool absolute() const override { return listens; }
    void place(unsigned x, unsigned y, int, unsigned buttons) override {
        moves.push_back({static_cast<int>(x), static_cast<int>(y), static_cast<int>(buttons)});
    }
    std::vector<std::pair<int, bool>> keys;
    std::vector<std::array<int, 3>> moves;
    bool listens = true;
};
} // namespace

TEST_CASE("USB: the tablet's descriptors") {
    Plugged<UsbTablet> rig;
    rig.enumerate(5);
    CHECK(rig.control_in({0x80, 6, 0, 1, 0, 0, 18, 0}) ==
          Bytes{18, 1, 0x10, 1, 0, 0, 0, 8, 0x27, 6, 1, 0, 0, 1, 1, 2, 3, 1});
    const auto configuration = rig.control_in({0x80, 6, 0, 2, 0, 0, 255, 0});
    REQUIRE(configuration);
    REQUIRE(configuration->size() == 34);
    CHECK((*configuration)[2] == 34);
    CHECK((*configuration)[7] == 0xa0); // bus powered, may wake the bus
    const auto report_bytes = (*configuration)[25] | (*configuration)[26] << 8;
    const auto report = rig.control_in({0x81, 6, 0, 0x22, 0, 0, 0xff, 0});
    REQUIRE(report);
    CHECK(report->size() == static_cast<std::size_t>(report_bytes));
    CHECK(rig.control_in({0x81, 6, 0, 0x21, 0, 0, 9, 0}).value_or(Bytes{}).size() == 9);
    CHECK(rig.control_in({0x80, 6, 0, 3, 0, 0, 255, 0}) == Bytes{4, 3, 9, 4});
    const auto product = rig.control_in({0x80, 6, 2, 3, 9, 4, 255, 0});
    REQUIRE(product);
    CHECK((*product)[2] == 'E');
    CHECK_FALSE(rig.control_in({0x80, 6, 9, 3, 9, 4, 255, 0}));
    CHECK_FALSE(rig.control_in({0x80, 6, 0, 6, 0, 0, 10, 0})); // no device qualifier
    // A part of a descriptor, and exactly one full packet.
    CHECK(rig.control_in({0x80, 6, 0, 2, 0, 0, 9, 0}).value_or(Bytes{}).size() == 9);
    CHECK(rig.control_in({0x80, 6, 0, 2, 0, 0, 16, 0}).value_or(Bytes{}).size() == 16);
}

TEST_CASE("USB: standard requests") {
    Plugged<UsbTablet> rig;
    rig.enumerate(5);
    CHECK(rig.control_in({0x80, 8, 0, 0, 0, 0, 1, 0}) == Bytes{1});
    CHECK(rig.control_in({0x80, 0, 0, 0, 0, 0, 2, 0}) == Bytes{0, 0});
    CHECK(rig.control_out({0, 3, 1, 0, 0, 0, 0, 0})); // remote wakeup
    CHECK(rig.control_in({0x80, 0, 0, 0, 0, 0, 2, 0}) == Bytes{2, 0});
    CHECK(rig.control_out({0, 1, 1, 0, 0, 0, 0, 0}));
    CHECK(rig.control_in({0x81, 0, 0, 0, 0, 0, 2, 0}) == Bytes{0, 0});
    CHECK(rig.control_in({0x81, 10, 0, 0, 0, 0, 1, 0}) == Bytes{0});
    CHECK(rig.control_out({1, 11, 0, 0, 0, 0, 0, 0}));
    CHECK_FALSE(rig.control_out({1, 11, 1, 0, 0, 0, 0, 0}));
    CHECK_FALSE(rig.control_out({0, 9, 2, 0, 0, 0, 0, 0}));
    CHECK_FALSE(rig.control_out({0x40, 1, 0, 0, 0, 0, 0, 0}));
    // A halted endpoint stalls until it is cleared.
    CHECK(rig.control_out({2, 3, 0, 0, 0x81, 0, 0, 0}));
    CHECK(rig.control_in({0x82, 0, 0, 0, 0x81, 0, 2, 0}) == Bytes{1, 0});
    rig.device->place(1, 1, 0, 0);
    rig.poll(1, 8);
    CHECK((rig.control(0) & uhci::td_stalled) != 0);
    CHECK(rig.control_out({2, 1, 0, 0, 0x81, 0, 0, 0}));
    CHECK(rig.poll(1, 8));
    CHECK_FALSE(rig.control_out({2, 3, 0, 0, 0x83, 0, 0, 0}));
    // Without a configuration there are no endpoints but the first.
    CHECK(rig.control_out({0, 9, 0, 0, 0, 0, 0, 0}));
    rig.poll(1, 8);
    CHECK((rig.control(0) & uhci::td_timeout) != 0);
    CHECK_FALSE(rig.device->configured());
}

TEST_CASE("USB: the tablet reports places, clicks and the wheel") {
    Plugged<UsbTablet> rig;
    CHECK_FALSE(rig.device->listening());
    rig.enumerate(5);
    CHECK(rig.device->listening());
    CHECK(rig.control_out({0x21, 10, 0, 0, 0, 0, 0, 0})); // SET_IDLE
    CHECK_FALSE(rig.poll(1, 8));
    rig.device->place(0x1234, 0x7fff, 0, 0);
    CHECK(rig.poll(1, 8) == Bytes{0, 0x34, 0x12, 0xff, 0x7f, 0});
    rig.device->place(99999, 1, -1, PointerSink::left | PointerSink::middle); // towards the user is positive
    CHECK(rig.poll(1, 8) == Bytes{5, 0xff, 0x7f, 1, 0, 1});
    // Motion adds up while nobody looks; a click is never lost.
    rig.device->place(1, 1, 1, 0);
    rig.device->place(2, 2, 1, 0);
    rig.device->place(3, 3, 1, 0);
    rig.device->place(4, 4, 0, 1);
    rig.device->place(4, 4, 0, 0);
    CHECK(rig.poll(1, 8) == Bytes{0, 1, 0, 1, 0, 0xff});
    CHECK(rig.poll(1, 8) == Bytes{0, 3, 0, 3, 0, 0xfe});
    CHECK(rig.poll(1, 8) == Bytes{1, 4, 0, 4, 0, 0});
    CHECK(rig.poll(1, 8) == Bytes{0, 4, 0, 4, 0, 0});
    CHECK_FALSE(rig.poll(1, 8));
    CHECK(rig.control_in({0xa1, 1, 0, 1, 0, 0, 6, 0}) == Bytes{0, 4, 0, 4, 0, 0}); // GET_REPORT
}

TEST_CASE("USB: a driver that does not look makes nothing grow") {
    Plugged<UsbTablet> rig;
    rig.enumerate(5);
    for (unsigned i = 0; i < 1000; ++i)
        rig.device->place(i, i, 0, i & 1);
    unsigned reports = 0;
    Bytes last;
    while (const auto report = rig.poll(1, 8)) {
        last = *report;
        ++reports;
    }
    CHECK(reports == 64);
    CHECK(last == Bytes{1, 0xe7, 3, 0xe7, 3, 0});
}

TEST_CASE("USB: the keyboard reports keys and modifiers") {
    Plugged<UsbKeyboard> rig;
    rig.enumerate(3);
    const auto configuration = rig.control_in({0x80, 6, 0, 2, 0, 0, 255, 0});
    REQUIRE(configuration);
    CHECK((*configuration)[15] == 1); // boot interface
    CHECK((*configuration)[16] == 1); // keyboard
    CHECK(rig.control_in({0x81, 6, 0, 0x22, 0, 0, 255, 0}).value_or(Bytes{}).size() == 64);
    CHECK(rig.control_out({0x21, 10, 0, 0, 0, 0, 0, 0}));
    rig.device->key(0x2a, true); // left shift
    rig.device->key(0x1e, true); // a
    rig.device->key(0x1e, true); // the viewer repeats it
    rig.device->key(0x9c, true); // keypad Enter
    rig.device->key(0x1e, false);
    rig.device->key(0x2a, false);
    CHECK(rig.poll(1, 8) == Bytes{2, 0, 0, 0, 0, 0, 0, 0});
    CHECK(rig.poll(1, 8) == Bytes{2, 0, 4, 0, 0, 0, 0, 0});
    CHECK(rig.poll(1, 8) == Bytes{2, 0, 4, 0x58, 0, 0, 0, 0});
    CHECK(rig.poll(1, 8) == Bytes{2, 0, 0x58, 0, 0, 0, 0, 0});
    CHECK(rig.poll(1, 8) == Bytes{0, 0, 0x58, 0, 0, 0, 0, 0});
    CHECK_FALSE(rig.poll(1, 8));
    rig.device->key(0x9c, false);
    CHECK(rig.poll(1, 8) == Bytes(8));
    // More than six roll over, and the seventh is there again when one is let go.
    for (KeyNumber key = 0x10; key < 0x17; ++key)
        rig.device->key(key, true);
    Bytes report;
    while (const auto next = rig.poll(1, 8))
        report = *next;
    CHECK(report == Bytes{0, 0, 1, 1, 1, 1, 1, 1});
    rig.device->key(0x10, false);
    CHECK(rig.poll(1, 8) == Bytes{0, 0, 0x1a, 8, 0x15, 0x17, 0x1c, 0x18});
}

TEST_CASE("USB: the keyboard's LEDs, idle rate and protocol") {
    Plugged<UsbKeyboard> rig;
    rig.enumerate(3);
    CHECK(rig.control_in({0xa1, 2, 0, 0, 0, 0, 1, 0}) == Bytes{125});
    CHECK(rig.control_in({0xa1, 3, 0, 0, 0, 0, 1, 0}) == Bytes{1});
    CHECK(rig.control_out({0x21, 11, 0, 0, 0, 0, 0, 0})); // boot protocol
    CHECK(rig.control_in({0xa1, 3, 0, 0, 0, 0, 1, 0}) == Bytes{0});
    CHECK(rig.control_out({0x21, 9, 0, 2, 0, 0, 1, 0}, {UsbKeyboard::led_caps}));
    CHECK(rig.device->leds() == UsbKeyboard::led_caps);
    CHECK_FALSE(rig.control_out({0x21, 9, 0, 3, 0, 0, 1, 0}, {1})); // no feature report
    // Every 20 ms the report comes again, changed or not.
    CHECK(rig.control_out({0x21, 10, 0, 5, 0, 0, 0, 0}));
    rig.device->key(0x39, true);
    CHECK(rig.poll(1, 8, UsbRig::ms) == Bytes{0, 0, 0x2c, 0, 0, 0, 0, 0});
    CHECK_FALSE(rig.poll(1, 8, 10 * UsbRig::ms));
    CHECK(rig.poll(1, 8, 11 * UsbRig::ms) == Bytes{0, 0, 0x2c, 0, 0, 0, 0, 0});
    // A bus reset forgets all that.
    rig.reset_port();
    CHECK(rig.device->leds() == 0);
    rig.enumerate(7);
    CHECK(rig.control_in({0xa1, 3, 0, 0, 0, 0, 1, 0}) == Bytes{1});
}

TEST_CASE("USB: every key of a PC keyboard has a usage of its own") {
    std::set<int> seen;
    for (KeyNumber key = 1; key <= 0x58; ++key) {
        if (key == 0x54 || key == 0x55) // Alt and Print Screen: the same key
            continue;
        const auto usage = hid_usage(key);
        CHECK((usage != 0 || (key >= 0x59)));
        CHECK(seen.insert(usage).second);
    }
    for (const KeyNumber key : {0x9c, 0x9d, 0xb5, 0xb7, 0xb8, 0xc6, 0xc7, 0xc8, 0xc9, 0xcb, 0xcd, 0xcf, 0xd0,
                                0xd1, 0xd2, 0xd3, 0xdb, 0xdc, 0xdd})
        CHECK(seen.insert(hid_usage(key)).second);
    CHECK(hid_usage(0) == 0);
    CHECK(hid_usage(0xff) == 0);
}

TEST_CASE("input goes to the preferred device while it listens, and is let go where it was pressed") {
    Recorder ps2, usb;
    KeyboardChoice keys{ps2};
    keys.key(1, true);
    keys.prefer(usb);
    usb.listens = false;
    keys.key(2, true);
    usb.listens = true;
    keys.key(2, false);
    keys.key(3, true);
    usb.listens = false;
    keys.key(3, true); // a repetition
    keys.key(3, false);
    CHECK(ps2.keys ==
          std::vector<std::pair<int, bool>>{{1, true}, {2, true}, {2, false}, {3, true}, {3, false}});
    CHECK(usb.keys == std::vector<std::pair<int, bool>>{{3, true}, {3, false}});

    PointerChoice pointer{ps2};
    CHECK_FALSE(pointer.absolute());
    pointer.prefer(usb);
    pointer.move(1, 2, 0, 1);
    usb.listens = true;
    CHECK(pointer.absolute());
    pointer.place(100, 200, 0, 1);
    CHECK(ps2.moves == std::vector<std::array<int, 3>>{{1, 2, 1}, {0, 0, 0}});
    CHECK(usb.moves == std::vector<std::array<int, 3>>{{100, 200, 1}});
}
