// SPDX-License-Identifier: GPL-2.0-or-later
// A USB tablet: a pointer whose reports are positions, so that a viewer's pointer and the guest's are at one
// place. Device Class Definition for HID 1.11 and HID Usage Tables 1.12, pages Generic Desktop and Button.
//
// Identity and report are those of QEMU's usb-tablet, which systems know: five buttons, X and Y from 0 to
// 32767, a wheel; six bytes. State: HidDevice's, position and buttons.
#pragma once

#include "devmodel/devices/input/input.hpp"
#include "devmodel/devices/usb/hid_device.hpp"

namespace escalus {

class UsbTablet final : public HidDevice, public PointerSink {
  public:
    explicit UsbTablet(Clock& clock);

    [[nodiscard]] bool listening() const override { return configured(); }
    [[nodiscard]] bool absolute() const override { return true; }
    /// A tablet reports places: of motion, only wheel and buttons count.
    void move(int dx, int dy, int wheel, unsigned buttons) override;
    void place(unsigned x, unsigned y, int wheel, unsigned buttons) override;

  private:
    [[nodiscard]] Report current() const override { return make_report(0); }
    void merge(Report& earlier, const Report& later) const override;
    [[nodiscard]] Report make_report(int wheel) const;

    std::uint16_t x_ = 0, y_ = 0;
    std::uint8_t buttons_ = 0;
};

} // namespace escalus
