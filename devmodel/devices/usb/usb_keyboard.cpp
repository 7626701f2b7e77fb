// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/usb/usb_keyboard.hpp"

#include "devmodel/devices/usb/hid_usages.hpp"

#include <algorithm>

namespace escalus {

namespace {
constexpr std::uint8_t report_bytes = 8, interval = 10; // ms
constexpr std::size_t keys_in_report = 6, first_key = 2;
constexpr std::uint8_t roll_over = 1, first_modifier = 0xe0, last_modifier = 0xe7;
constexpr std::uint8_t half_a_second = 125; // in units of 4 ms, as is recommended (7.2.4)

// Appendix B.1.
constexpr std::uint8_t report_descriptor[] = {
    0x05, 0x01,       // Usage Page (Generic Desktop)
    0x09, 0x06,       // Usage (Keyboard)
    0xa1, 0x01,       // Collection (Application)
    0x75, 0x01,       //   Report Size (1)
    0x95, 0x08,       //   Report Count (8)
    0x05, 0x07,       //   Usage Page (Key Codes)
    0x19, 0xe0,       //   Usage Minimum (224)
    0x29, 0xe7,       //   Usage Maximum (231)
    0x15, 0x00,       //   Logical Minimum (0)
    0x25, 0x01,       //   Logical Maximum (1)
    0x81, 0x02,       //   Input (Data, Variable, Absolute): modifiers
    0x95, 0x01,       //   Report Count (1)
    0x75, 0x08,       //   Report Size (8)
    0x81, 0x01,       //   Input (Constant): reserved
    0x95, 0x05,       //   Report Count (5)
    0x75, 0x01,       //   Report Size (1)
    0x05, 0x08,       //   Usage Page (LEDs)
    0x19, 0x01,       //   Usage Minimum (1)
    0x29, 0x05,       //   Usage Maximum (5)
    0x91, 0x02,       //   Output (Data, Variable, Absolute): LEDs
    0x95, 0x01,       //   Report Count (1)
    0x75, 0x03,       //   Report Size (3)
    0x91, 0x01,       //   Output (Constant)
    0x95, 0x06,       //   Report Count (6)
    0x75, 0x08,       //   Report Size (8)
    0x15, 0x00,       //   Logical Minimum (0)
    0x26, 0xff, 0x00, //   Logical Maximum (255)
    0x05, 0x07,       //   Usage Page (Key Codes)
    0x19, 0x00,       //   Usage Minimum (0)
    0x29, 0xff,       //   Usage Maximum (255)
    0x81, 0x00,       //   Input (Data, Array): keys
    0xc0,             // End Collection
};

UsbIdentity identity() {
    return {.vendor = 0x0627, // as QEMU's
            .product = 0x0001,
            .release = 0x0100,
            .interface_class = usb::class_hid,
            .interface_subclass = 1, // boot interface
            .interface_protocol = 1, // keyboard
            .remote_wakeup = true,
            .manufacturer = "Escalus",
            .product_name = "Escalus USB Keyboard",
            .serial = "2"};
}
} // namespace

UsbKeyboard::UsbKeyboard(Clock& clock)
    : HidDevice{clock, identity(), report_bytes, interval, report_descriptor, half_a_second} {}

void UsbKeyboard::bus_reset() {
    leds_ = 0;
    HidDevice::bus_reset();
}

void UsbKeyboard::key(KeyNumber number, bool down) {
    const auto usage = hid_usage(number);
    if (usage == 0)
        return;
    if (usage >= first_modifier && usage <= last_modifier) {
        const auto bit = 1u << (usage - first_modifier);
        const auto modifiers = static_cast<std::uint8_t>(down ? modifiers_ | bit : modifiers_ & ~bit);
        if (modifiers == modifiers_)
            return;
        modifiers_ = modifiers;
    } else {
        const bool was_down = std::ranges::find(down_, usage) != down_.end();
        if (was_down == down)
            return;
        if (down)
            down_.push_back(usage);
        else
            std::erase(down_, usage);
    }
    report(current());
}

HidDevice::Report UsbKeyboard::current() const {
    Report result(report_bytes);
    result[0] = modifiers_;
    const auto keys = std::span{result}.subspan(first_key);
    if (down_.size() > keys_in_report)
        std::ranges::fill(keys, roll_over);
    else
        std::ranges::copy(down_, keys.begin());
    return result;
}

bool UsbKeyboard::take_output(std::span<const std::uint8_t> report) {
    if (report.empty())
        return false;
    leds_ = report[0];
    return true;
}

} // namespace escalus
