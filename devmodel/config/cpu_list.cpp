// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/cpu_list.hpp"

#include <charconv>
#include <optional>

#include <fmt/format.h>

namespace escalus {

namespace {

std::optional<std::size_t> to_cpu(std::string_view text) {
    std::size_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size() || number >= host_cpus_max)
        return {};
    return number;
}

/// "all", "N" or "N-M".
std::optional<CpuMask> to_range(std::string_view text) {
    CpuMask mask;
    if (text == "all")
        return mask.set();
    const auto dash = text.find('-');
    const auto first = to_cpu(text.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : to_cpu(text.substr(dash + 1));
    if (!first || !last || *last < *first)
        return {};
    for (auto cpu = *first; cpu <= *last; ++cpu)
        mask.set(cpu);
    return mask;
}

} // namespace

std::variant<CpuMask, CpuListError> parse_cpu_list(std::string_view text) {
    CpuMask mask;
    bool first = true;
    for (std::size_t at = 0; at <= text.size();) {
        auto end = std::min(text.find(',', at), text.size());
        auto begin = at;
        at = end + 1;
        while (begin < end && text[begin] == ' ')
            ++begin;
        while (end > begin && text[end - 1] == ' ')
            --end;
        auto part = text.substr(begin, end - begin);
        const bool without = part.starts_with('^');
        if (without)
            part.remove_prefix(1);
        const auto range = to_range(part);
        if (!range)
            return CpuListError{begin, end - begin, fmt::format("'{}' names no CPUs", part)};
        if (without && first)
            mask.set();
        mask = without ? mask & ~*range : mask | *range;
        first = false;
    }
    if (mask.none())
        return CpuListError{0, text.size(), "no CPU is left"};
    return mask;
}

} // namespace escalus
