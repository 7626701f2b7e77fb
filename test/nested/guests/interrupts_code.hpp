// SPDX-License-Identifier: GPL-2.0-or-later
// Code of guests that both vendors' checks run: guests that wait for interrupts, and open and close windows.
#pragma once

#include "test/nested/guests/code.hpp"

namespace escalus::nested {

GUEST_CODE(do_sti, 64, "sti; after_sti: nop; after_shadow: nop");
GUEST_CODE(do_sti_cli, 64, "sti; cli");
GUEST_CODE(do_popf, 64, "popfq; after_popf: nop");
GUEST_CODE(spin, 64, "1: pause; jmp 1b");
GUEST_LABEL(after_shadow);
GUEST_LABEL(after_popf);

} // namespace escalus::nested
