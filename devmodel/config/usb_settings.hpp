// SPDX-License-Identifier: GPL-2.0-or-later
// The keys usb, usbversion, usbdevice and usbctrl of xl.cfg(5) and of xm; disks in the words of QEMU's
// -usbdevice: 'disk:PATH', 'disk:format=qcow2:PATH'.
#pragma once

#include "devmodel/config/machine_config.hpp"
#include "devmodel/config/settings.hpp"

namespace escalus {

struct UsbSettings {
    UsbController controller = UsbController::None;
    struct Device {
        UsbDeviceConfig config; ///< a disk's path as it was written
        Position where;         ///< of a disk: its path
    };
    std::vector<Device> devices;
};

[[nodiscard]] UsbSettings usb_settings(const Settings& settings);

} // namespace escalus
