// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/usb/usb_tablet.hpp"

#include <algorithm>
#include <utility>

namespace escalus {

namespace {
constexpr unsigned button_mask = 0x1f;
constexpr int wheel_most = 127;
constexpr std::size_t wheel_byte = 5;
constexpr std::uint8_t report_bytes = 8, interval = 10; // the packet's limit; ms

constexpr std::uint8_t report_descriptor[] = {
    0x05, 0x01,       // Usage Page (Generic Desktop)
    0x09, 0x02,       // Usage (Mouse)
    0xa1, 0x01,       // Collection (Application)
    0x09, 0x01,       //   Usage (Pointer)
    0xa1, 0x00,       //   Collection (Physical)
    0x05, 0x09,       //     Usage Page (Button)
    0x19, 0x01,       //     Usage Minimum (1)
    0x29, 0x05,       //     Usage Maximum (5)
    0x15, 0x00,       //     Logical Minimum (0)
    0x25, 0x01,       //     Logical Maximum (1)
    0x95, 0x05,       //     Report Count (5)
    0x75, 0x01,       //     Report Size (1)
    0x81, 0x02,       //     Input (Data, Variable, Absolute)
    0x95, 0x01,       //     Report Count (1)
    0x75, 0x03,       //     Report Size (3)
    0x81, 0x01,       //     Input (Constant)
    0x05, 0x01,       //     Usage Page (Generic Desktop)
    0x09, 0x30,       //     Usage (X)
    0x09, 0x31,       //     Usage (Y)
    0x15, 0x00,       //     Logical Minimum (0)
    0x26, 0xff, 0x7f, //     Logical Maximum (32767)
    0x35, 0x00,       //     Physical Minimum (0)
    0x46, 0xff, 0x7f, //     Physical Maximum (32767)
    0x75, 0x10,       //     Report Size (16)
    0x95, 0x02,       //     Report Count (2)
    0x81, 0x02,       //     Input (Data, Variable, Absolute)
    0x05, 0x01,       //     Usage Page (Generic Desktop)
    0x09, 0x38,       //     Usage (Wheel)
    0x15, 0x81,       //     Logical Minimum (-127)
    0x25, 0x7f,       //     Logical Maximum (127)
    0x35, 0x00,       //     Physical Minimum (0)
    0x45, 0x00,       //     Physical Maximum (0)
    0x75, 0x08,       //     Report Size (8)
    0x95, 0x01,       //     Report Count (1)
    0x81, 0x06,       //     Input (Data, Variable, Relative)
    0xc0,             //   End Collection
    0xc0,             // End Collection
};

UsbIdentity identity() {
    return {.vendor = 0x0627,
            .product = 0x0001,
            .release = 0x0100,
            .interface_class = usb::class_hid,
            .interface_protocol = 2, // QEMU's says mouse, although there is no boot protocol
            .remote_wakeup = true,
            .manufacturer = "Escalus",
            .product_name = "Escalus USB Tablet",
            .serial = "1"};
}
} // namespace

UsbTablet::UsbTablet(Clock& clock)
    : HidDevice{clock, identity(), report_bytes, interval, report_descriptor, 0} {}

HidDevice::Report UsbTablet::make_report(int wheel) const {
    return {buttons_,
            static_cast<std::uint8_t>(x_),
            static_cast<std::uint8_t>(x_ >> 8),
            static_cast<std::uint8_t>(y_),
            static_cast<std::uint8_t>(y_ >> 8),
            static_cast<std::uint8_t>(std::clamp(wheel, -wheel_most, wheel_most))};
}

void UsbTablet::merge(Report& earlier, const Report& later) const {
    const auto turn =
        static_cast<std::int8_t>(earlier[wheel_byte]) + static_cast<std::int8_t>(later[wheel_byte]);
    earlier = later;
    earlier[wheel_byte] = static_cast<std::uint8_t>(std::clamp(turn, -wheel_most, wheel_most));
}

void UsbTablet::move(int, int, int wheel, unsigned buttons) {
    place(x_, y_, wheel, buttons);
}

void UsbTablet::place(unsigned x, unsigned y, int wheel, unsigned buttons) {
    x_ = static_cast<std::uint16_t>(std::min(x, absolute_most));
    y_ = static_cast<std::uint16_t>(std::min(y, absolute_most));
    const auto pressed = static_cast<std::uint8_t>(buttons & button_mask);
    const bool click = std::exchange(buttons_, pressed) != pressed;
    // The wheel of a HID mouse counts away from the user.
    report(make_report(-std::clamp(wheel, -wheel_most, wheel_most)), !click);
}

} // namespace escalus
