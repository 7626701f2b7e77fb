// SPDX-License-Identifier: GPL-2.0-or-later
// The menu on screen and serial port: run everything, a group, or one check.
#pragma once

#include "test/nested/framework/options.hpp"

namespace escalus::nested {

/// Shows the menu until the user leaves; whether everything that ran passed.
bool run_menu(const Vendor& vendor, const Options& options);

} // namespace escalus::nested
