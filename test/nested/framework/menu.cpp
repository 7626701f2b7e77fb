// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/nested/framework/menu.hpp"

#include "test/nested/framework/keys.hpp"

#include <cstring>

namespace escalus::nested {

namespace log = vmm::log;

namespace {

constexpr unsigned groups_max = 32;

struct Groups {
    const Group* list[groups_max];
    unsigned count = 0;
};

Groups groups_of(const Vendor& vendor) {
    Groups groups{};
    for (const CheckList* list = lists_begin; list != lists_end; ++list) {
        if (&list->group->vendor != &vendor)
            continue;
        // Groups of the same name are one: the name is what the user selects by.
        bool known = false;
        for (unsigned i = 0; i < groups.count; ++i)
            known = known || std::strcmp(groups.list[i]->name, list->group->name) == 0;
        if (!known && groups.count < groups_max)
            groups.list[groups.count++] = list->group;
    }
    return groups;
}

unsigned read_line(char* line, unsigned bytes) {
    unsigned length = 0;
    for (;;) {
        const char c = read_key();
        if (c == '\n') {
            log::put('\n');
            line[length] = 0;
            return length;
        }
        if (c == '\b' && length > 0) {
            --length;
            log::put('~'); // a terminal in between may not know how to go back
        } else if (c >= ' ' && length + 1 < bytes) {
            line[length++] = c;
            log::put(c);
        }
    }
}

/// The group that a number names; null when it names none.
const Group* numbered(const Groups& groups, const char* line) {
    unsigned value = 0;
    for (; *line >= '0' && *line <= '9' && value <= groups_max; ++line)
        value = value * 10 + static_cast<unsigned>(*line - '0');
    return *line == 0 && value >= 1 && value <= groups.count ? groups.list[value - 1] : nullptr;
}

void show(const Groups& groups, const Vendor& vendor) {
    log::put("\nEscalus nested-virtualization suite, ");
    log::put(vendor.name);
    log::put("\n");
    for (unsigned i = 0; i < groups.count; ++i) {
        const Group& group = *groups.list[i];
        log::put(i < 9 ? "   " : "  ");
        log::put(i + 1);
        for (const char* part : {"  ", group.name, ": ", group.title, " ("})
            log::put(part);
        log::put(count_selected(vendor, {group.name, static_cast<unsigned>(std::strlen(group.name))}));
        log::put(")\n");
    }
    log::put("   a  run all      a number  run a group      GROUP/CHECK  run one      x  exit\n> ");
}

} // namespace

bool run_menu(const Vendor& vendor, const Options& options) {
    bool all_passed = true;
    const Groups groups = groups_of(vendor);
    for (;;) {
        show(groups, vendor);
        char line[96];
        const unsigned length = read_line(line, sizeof line);
        if (length == 0)
            continue;
        if (std::strcmp(line, "x") == 0)
            return all_passed;
        Selection selection{line, length};
        if (std::strcmp(line, "a") == 0)
            selection = {};
        else if (const Group* group = numbered(groups, line))
            selection = {group->name, static_cast<unsigned>(std::strlen(group->name))};
        if (count_selected(vendor, selection) == 0) {
            log::put("no check has this name\n");
            continue;
        }
        Plan plan = options.plan;
        plan.run = selection;
        all_passed = run_selected(vendor, plan).failed == 0 && all_passed;
    }
}

} // namespace escalus::nested
