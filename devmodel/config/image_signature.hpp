// SPDX-License-Identifier: GPL-2.0-or-later
// What an image file looks like. Only for messages: a guest can make a raw image look like anything.
#pragma once

#include "devmodel/config/machine_config.hpp"

#include <optional>

namespace escalus {

/// Nothing when it looks like none of the known formats.
[[nodiscard]] std::optional<ImageFormat> format_by_signature(int file);

} // namespace escalus
