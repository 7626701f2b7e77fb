// SPDX-License-Identifier: GPL-2.0-or-later
// Code of guests that both vendors' checks run: guests into which events are injected.
#pragma once

#include "test/nested/guests/code.hpp"

namespace escalus::nested {

GUEST_CODE(do_nothing, 64, "nop");
GUEST_CODE(do_nothing32, 32, "nop");
GUEST_CODE(do_nothing16, 16, "nop");
GUEST_CODE(do_int, 64, "int $0x41");
GUEST_CODE(do_int3, 64, "int3");
GUEST_CODE(do_ud, 64, "ud2");

} // namespace escalus::nested
