// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/machine_name.hpp"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

namespace escalus {

namespace {
constexpr unsigned name_length_max = 64;
/// The control OS in `escalus list`, as Xen calls it.
constexpr std::string_view control_os_name = "Domain-0";

bool is_name_character(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.' || c == '+';
}
} // namespace

std::string name_from_path(std::string_view path) {
    path = path.substr(path.rfind('/') + 1); // npos + 1 == 0
    if (const auto dot = path.rfind('.'); dot != std::string_view::npos && dot != 0 && path.size() - dot <= 5)
        path = path.substr(0, dot);
    std::string name;
    for (const char c : path.substr(0, name_length_max))
        name += is_name_character(c) ? c : '-';
    const auto first = name.find_first_not_of("-+.");
    if (first != std::string::npos && name.substr(first) != control_os_name)
        return name.substr(first);
    return "machine";
}

std::string why_bad_name(std::string_view name) {
    if (name.empty())
        return "it is empty";
    if (name.size() > name_length_max)
        return fmt::format("it is longer than {} characters", name_length_max);
    if (!std::ranges::all_of(name, is_name_character))
        return "only letters, digits and - _ . + can be in it";
    if (name[0] == '-' || name[0] == '+' || name[0] == '.')
        return fmt::format("it begins with '{}'", name[0]);
    if (name == control_os_name)
        return "it is the control OS's";
    return {};
}

} // namespace escalus
