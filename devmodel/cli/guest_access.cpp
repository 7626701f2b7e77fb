// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/cli/guest_access.hpp"

#include "devmodel/cli/command.hpp"
#include "devmodel/cli/monitor_access.hpp"
#include "devmodel/config/nearest.hpp"

#include <fmt/format.h>

namespace escalus {

void reap() {
    for (const std::string& name : reap_dead_guests(destroy_in_monitor))
        complain(fmt::format("cleared away what the dead guest {} left", name));
}

FoundGuest running_guest(const std::string& name) {
    reap();
    if (auto guest = find_guest(name))
        return *guest;
    const auto guests = find_guests();
    std::vector<std::string_view> names;
    for (const FoundGuest& guest : guests)
        if (guest.alive)
            names.push_back(guest.name);
    const std::string_view near = nearest(name, names);
    throw std::runtime_error(fmt::format("no guest named {} runs{}", name,
                                         near.empty() ? "; escalus list shows those that do"
                                                      : fmt::format("; did you mean {}?", near)));
}

} // namespace escalus
