// SPDX-License-Identifier: GPL-2.0-or-later
// Names for the counters of abi::StatPage, for people.
#pragma once

#include "vmm/abi/abi.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace escalus {

/// The counters that are not zero: "entries", "device model: port I/O", "cpuid", ...
[[nodiscard]] std::vector<std::pair<std::string, std::uint64_t>> name_exits(const abi::StatPage& page);

/// What the counter `hardware[index]` counts: "cpuid", "monitor trap flag", "hardware exit 0x5f".
[[nodiscard]] std::string name_hardware_exit(const abi::StatPage& page, std::size_t index);

} // namespace escalus
