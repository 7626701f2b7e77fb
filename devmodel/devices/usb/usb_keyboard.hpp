// SPDX-License-Identifier: GPL-2.0-or-later
// A USB keyboard with the boot protocol: Device Class Definition for HID 1.11, appendix B.1 and C; HID Usage
// Tables 1.12, page Keyboard.
//
// Reports name the modifiers and up to six keys, more than that roll over; boot and report protocol are the
// same. Each change is a report of its own, so that quick keys are not lost. The guest repeats keys by
// itself: repetitions that a viewer sends are dropped. State: HidDevice's, keys that are down, LEDs. Missing:
// consumer keys (a media key is only sent where the keyboard page has it).
#pragma once

#include "devmodel/devices/input/input.hpp"
#include "devmodel/devices/usb/hid_device.hpp"

namespace escalus {

class UsbKeyboard final : public HidDevice, public KeyboardSink {
  public:
    static constexpr unsigned led_num = 1, led_caps = 2, led_scroll = 4;

    explicit UsbKeyboard(Clock& clock);

    [[nodiscard]] bool listening() const override { return configured(); }
    void key(KeyNumber number, bool down) override;
    [[nodiscard]] unsigned leds() const { return leds_; }
    void bus_reset() override;

  private:
    [[nodiscard]] Report current() const override;
    bool take_output(std::span<const std::uint8_t> report) override;

    std::vector<std::uint8_t> down_; // usages, in the order of pressing; modifiers are in a bit each
    std::uint8_t modifiers_ = 0;
    std::uint8_t leds_ = 0;
};

} // namespace escalus
