// SPDX-License-Identifier: GPL-2.0-or-later
// The canonical JSON of a machine: what `escalus create -n` prints and golden tests pin.
#pragma once

#include "devmodel/config/machine_config.hpp"

#include <string>
#include <string_view>

#include <boost/json/fwd.hpp>

namespace escalus {

[[nodiscard]] boost::json::object to_json(const MachineConfig& machine);

/// JSON text, indented by two blanks, ending in a newline.
[[nodiscard]] std::string pretty(const boost::json::value& value);

[[nodiscard]] std::string_view to_string(LifecycleAction action);
[[nodiscard]] std::string_view to_string(DiskKind kind);
[[nodiscard]] std::string_view to_string(DiskController controller);
/// As QEMU's tools call it.
[[nodiscard]] std::string_view to_string(ImageFormat format);
[[nodiscard]] std::string_view to_string(SerialKind kind);
[[nodiscard]] std::string_view to_string(UsbDeviceKind kind);

} // namespace escalus
