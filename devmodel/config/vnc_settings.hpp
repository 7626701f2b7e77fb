// SPDX-License-Identifier: GPL-2.0-or-later
// The VNC keys: vnc, vnclisten, vncdisplay, vncunused, vncpasswd, keymap, and the same inside
// vfb = [ 'type=vnc,...' ], which the keys outside override.
#pragma once

#include "devmodel/config/machine_config.hpp"
#include "devmodel/config/settings.hpp"

namespace escalus {

[[nodiscard]] VncConfig vnc_settings(const Settings& settings);

} // namespace escalus
