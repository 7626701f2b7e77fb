// SPDX-License-Identifier: GPL-2.0-or-later
// The control OS as a line of `escalus list`: what Xen calls Domain-0.
#pragma once

#include <string_view>

#include <boost/json/fwd.hpp>

namespace escalus {

inline constexpr std::string_view control_os_name = "Domain-0";
/// Its ID in `escalus list`; guests have higher ones.
inline constexpr unsigned control_os_id = 0;

/// The seconds that all CPUs together were busy since boot, from the text of /proc/stat (proc(5)). 0 when it
/// is not understood.
[[nodiscard]] double busy_seconds(std::string_view proc_stat, long ticks_per_second);

/// The control OS that this process runs on, with the keys of a guest's line.
[[nodiscard]] boost::json::object describe_control_os();

} // namespace escalus
