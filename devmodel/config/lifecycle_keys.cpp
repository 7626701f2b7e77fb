// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/machine_draft.hpp"

#include <fmt/format.h>

namespace escalus {

namespace {
bool action(MachineDraft& draft, std::string_view key, LifecycleAction& result) {
    const auto text = draft.settings.string(key);
    if (!text)
        return false;
    const bool dumps = text->text.starts_with("coredump-");
    const std::string_view word = std::string_view{text->text}.substr(dumps ? 9 : 0);
    if (word == "destroy")
        result = LifecycleAction::Destroy;
    else if (word == "restart")
        result = LifecycleAction::Restart;
    else if (word == "preserve" && !dumps)
        result = LifecycleAction::Preserve;
    else {
        draft.diagnostics.error(text->where, fmt::format("{} cannot be '{}'", key, text->text),
                                "write 'destroy', 'restart' or 'preserve'");
        return false;
    }
    if (dumps)
        draft.diagnostics.warning(text->where,
                                  fmt::format("no core is dumped yet: {} is taken as '{}'", key, word));
    return true;
}
} // namespace

void describe_lifecycle(MachineDraft& draft) {
    using enum LifecycleAction;
    MachineConfig& machine = draft.machine;
    if (const auto restart = draft.settings.string("restart")) { // Xen 3's one key for three
        if (restart->text == "always" || restart->text == "never") {
            const auto action = restart->text == "always" ? Restart : Destroy;
            machine.on_poweroff = machine.on_reboot = machine.on_crash = action;
        } else if (restart->text != "onreboot") {
            draft.diagnostics.error(restart->where, fmt::format("restart cannot be '{}'", restart->text),
                                    "write on_reboot = 'restart' or on_reboot = 'destroy'");
        }
    }
    action(draft, "on_poweroff", machine.on_poweroff);
    action(draft, "on_reboot", machine.on_reboot);
    action(draft, "on_crash", machine.on_crash);
    LifecycleAction unused = Destroy;
    if (action(draft, "on_watchdog", unused))
        draft.diagnostics.note(draft.settings.find("on_watchdog")->where,
                               "on_watchdog has no effect yet: there is no watchdog device");
}

} // namespace escalus
