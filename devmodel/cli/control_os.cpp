// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/cli/control_os.hpp"

#include <array>
#include <charconv>
#include <fstream>
#include <string>

#include <boost/json.hpp>
#include <unistd.h>

namespace escalus {

double busy_seconds(std::string_view proc_stat, long ticks_per_second) {
    constexpr std::string_view start = "cpu ";
    if (!proc_stat.starts_with(start) || ticks_per_second <= 0)
        return 0;
    const std::string_view line = proc_stat.substr(0, proc_stat.find('\n'));
    // user nice system idle iowait irq softirq. What follows is other systems' time, or counted in user.
    constexpr std::array busy{true, true, true, false, false, true, true};
    std::uint64_t ticks = 0;
    std::size_t at = start.size();
    for (const bool counts : busy) {
        at = line.find_first_not_of(' ', at);
        if (at == std::string_view::npos)
            break;
        std::uint64_t value = 0;
        const auto* const end = line.data() + line.size();
        const auto [rest, error] = std::from_chars(line.data() + at, end, value);
        if (error != std::errc{})
            return 0;
        ticks += counts ? value : 0;
        at = static_cast<std::size_t>(rest - line.data());
    }
    return static_cast<double>(ticks) / static_cast<double>(ticks_per_second);
}

boost::json::object describe_control_os() {
    std::string first_line;
    std::getline(std::ifstream{"/proc/stat"}, first_line);
    const auto memory = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                        static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
    return {{"name", control_os_name},    {"id", control_os_id},
            {"memory_mib", memory >> 20}, {"vcpus", sysconf(_SC_NPROCESSORS_ONLN)},
            {"state", "running"},         {"cpu_seconds", busy_seconds(first_line, sysconf(_SC_CLK_TCK))}};
}

} // namespace escalus
