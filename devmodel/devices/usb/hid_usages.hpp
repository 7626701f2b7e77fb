// SPDX-License-Identifier: GPL-2.0-or-later
// From keys by their place on a PC keyboard to usages of the HID keyboard page (HID Usage Tables 1.12,
// chapter 10; USB HID to PS/2 Scan Code Translation Table, Microsoft).
#pragma once

#include "devmodel/devices/input/input.hpp"

#include <cstdint>

namespace escalus {

/// 0: no such key.
[[nodiscard]] std::uint8_t hid_usage(KeyNumber key);

} // namespace escalus
