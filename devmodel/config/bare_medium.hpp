// SPDX-License-Identifier: GPL-2.0-or-later
// A machine made from a medium alone.
#pragma once

#include "devmodel/config/domain_file.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

namespace escalus {

/// Its entries, with the medium to boot from: an image (.img, .raw, .disk) is a floppy disk in drive A when
/// `bytes`, its size, is that of one, else a hard disk; all else is a CD.
[[nodiscard]] std::vector<Entry> entries_for_medium(std::string_view path, std::uint64_t bytes);

} // namespace escalus
