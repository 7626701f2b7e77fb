// SPDX-License-Identifier: GPL-2.0-or-later
// A list of physical CPUs as xl.cfg(5) writes it for `cpus`: "all", "2", "0-3,5", with "^" for what is left
// out: "0-7,^3", "all,^1", "^1" (all but 1). Missing: "nodes:".
#pragma once

#include <bitset>
#include <cstddef>
#include <string>
#include <string_view>
#include <variant>

namespace escalus {

inline constexpr std::size_t host_cpus_max = 1024; // what the kernel's masks hold
using CpuMask = std::bitset<host_cpus_max>;

/// What is wrong with a list, and where in it.
struct CpuListError {
    std::size_t offset = 0, length = 0;
    std::string message;
};

[[nodiscard]] std::variant<CpuMask, CpuListError> parse_cpu_list(std::string_view text);

} // namespace escalus
