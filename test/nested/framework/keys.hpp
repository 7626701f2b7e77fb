// SPDX-License-Identifier: GPL-2.0-or-later
// Typing, on COM1 or on a PC keyboard.
#pragma once

namespace escalus::nested {

/// Waits for a key: a printable character, '\n' or '\b'.
char read_key();

} // namespace escalus::nested
