// SPDX-License-Identifier: GPL-2.0-or-later
// A hub between the controller and its devices.
#include "devmodel/devices/usb/usb_hub.hpp"
#include "devmodel/devices/usb/usb_keyboard.hpp"
#include "devmodel/devices/usb/usb_tablet.hpp"
#include "test/unit/usb/usb_rig.hpp"

using namespace escalus;
using namespace escalus::test;
using Bytes = std::vector<std::uint8_t>;

namespace {
struct Hub : UsbRig {
    Hub() {
        auto owned = std::make_unique<UsbHub>();
        hub = owned.get();
        auto tablet_owned = std::make_unique<UsbTablet>(clock);
        tablet = tablet_owned.get();
        hub->attach(2, std::move(tablet_owned));
        uhci.attach(0, std::move(owned));
        power_on();
        run();
        enumerate(1);
    }
    bool feature(std::uint8_t request, std::uint8_t feature, std::uint8_t port) {
        address = 1;
        return control_out({0x23, request, feature, 0, port, 0, 0, 0});
    }
    Bytes status(std::uint8_t port) {
        address = 1;
        return control_in({0xa3, 0, 0, 0, port, 0, 4, 0}).value_or(Bytes{});
    }
    /// Finds the device at address 0 behind the hub and sets it up.
    void enumerate_child(std::uint8_t as) {
        address = 0;
        CHECK(control_in({0x80, 6, 0, 1, 0, 0, 8, 0}));
        CHECK(control_out({0, 5, as, 0, 0, 0, 0, 0}));
        address = as;
        CHECK(control_out({0, 9, 1, 0, 0, 0, 0, 0}));
    }
    UsbHub* hub;
    UsbTablet* tablet;
};
constexpr std::uint8_t set = 3, clear = 1;
} // namespace

TEST_CASE("USB hub: a device behind it is found, reset, and used") {
    Hub rig;
    CHECK(rig.control_in({0xa0, 6, 0, 0x29, 0, 0, 11, 0}).value_or(Bytes(3)).at(2) == 8);
    CHECK(rig.control_in({0xa0, 0, 0, 0, 0, 0, 4, 0}) == Bytes(4));
    CHECK(rig.status(3) == Bytes{0, 0, 0, 0}); // no power yet
    for (std::uint8_t port = 1; port <= 8; ++port)
        CHECK(rig.feature(set, 8, port));
    CHECK(rig.status(3) == Bytes{1, 1, 1, 0});
    CHECK(rig.status(4) == Bytes{0, 1, 0, 0});
    CHECK(rig.poll(1, 2) == Bytes{8, 0});
    CHECK(rig.feature(clear, 16, 3));
    CHECK_FALSE(rig.poll(1, 2));
    CHECK(rig.feature(set, 4, 3));
    CHECK(rig.status(3) == Bytes{3, 1, 0x10, 0});
    CHECK(rig.poll(1, 2) == Bytes{8, 0});
    CHECK(rig.feature(clear, 20, 3));
    rig.enumerate_child(7);
    rig.tablet->place(1, 2, 0, 0);
    CHECK(rig.poll(1, 8) == Bytes{0, 1, 0, 2, 0, 0});
    // It goes, and another comes.
    CHECK(rig.hub->detach(2) != nullptr);
    CHECK(rig.status(3) == Bytes{0, 1, 3, 0});
    rig.hub->attach(2, std::make_unique<UsbKeyboard>(rig.clock));
    CHECK_THROWS_AS(rig.hub->attach(2, std::make_unique<UsbKeyboard>(rig.clock)), std::logic_error);
    CHECK(rig.status(3) == Bytes{1, 1, 3, 0});
    CHECK(rig.feature(set, 4, 3));
    rig.enumerate_child(8);
}

TEST_CASE("USB hub: what is not enabled, or suspended, is not there") {
    Hub rig;
    CHECK(rig.feature(set, 8, 3));
    CHECK(rig.feature(set, 4, 3));
    rig.enumerate_child(7);
    CHECK(rig.control_out({0, 3, 1, 0, 0, 0, 0, 0})); // remote wakeup
    CHECK(rig.feature(set, 2, 3));
    rig.address = 7;
    rig.poll(1, 8);
    CHECK((rig.control(0) & uhci::td_timeout) != 0);
    // The tablet wakes its port.
    rig.tablet->place(4, 4, 0, 0);
    CHECK(rig.status(3).at(2) == 0x15); // connected, reset and resumed
    rig.address = 7;
    CHECK(rig.poll(1, 8) == Bytes{0, 4, 0, 4, 0, 0});
    CHECK(rig.feature(clear, 1, 3));
    rig.address = 7;
    rig.poll(1, 8);
    CHECK((rig.control(0) & uhci::td_timeout) != 0);
}

TEST_CASE("USB hub: wrong requests are stalled") {
    Hub rig;
    CHECK_FALSE(rig.feature(set, 8, 0));
    CHECK_FALSE(rig.feature(set, 8, 9));
    CHECK_FALSE(rig.feature(set, 7, 1));
    CHECK_FALSE(rig.feature(clear, 21, 1));
    CHECK(rig.status(0).empty());
    CHECK(rig.status(9).empty());
    CHECK(rig.feature(set, 4, 1)); // nothing is there to be reset
    CHECK(rig.status(1) == Bytes(4));
    CHECK_FALSE(rig.control_in({0xa0, 6, 0, 0x30, 0, 0, 11, 0}));
}
