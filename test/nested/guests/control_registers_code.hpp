// SPDX-License-Identifier: GPL-2.0-or-later
// Code of guests that both vendors' checks run: accesses to control registers.
#pragma once

#include "test/nested/guests/code.hpp"

namespace escalus::nested {

GUEST_CODE(use_clts, 64, "clts");
GUEST_CODE(use_lmsw, 64, "lmsw %cx");
GUEST_CODE(use_smsw, 64, "smsw %rcx");

} // namespace escalus::nested
