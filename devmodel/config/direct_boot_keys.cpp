// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/machine_draft.hpp"

#include <utility>

#include <fmt/format.h>

namespace escalus {

namespace {
/// As xl does: cmdline replaces root and extra.
void command_line(MachineDraft& draft) {
    const auto whole = draft.settings.string("cmdline");
    const auto root = draft.settings.string("root"), extra = draft.settings.string("extra");
    std::string& line = draft.machine.cmdline;
    if (whole) {
        line = whole->text;
        if (root || extra)
            draft.diagnostics.warning(whole->where, "cmdline replaces root and extra");
    } else {
        if (root && !root->text.empty())
            line = (root->text.starts_with("root=") ? "" : "root=") + root->text;
        if (extra && !extra->text.empty())
            line += (line.empty() ? "" : " ") + extra->text;
    }
    if (draft.machine.kernel.empty())
        line.clear();
}
} // namespace

void describe_direct_boot(MachineDraft& draft) {
    MachineConfig& machine = draft.machine;
    if (const auto kernel = draft.settings.string("kernel");
        kernel && !kernel->text.empty() && !is_hvmloader(draft, *kernel, "kernel"))
        machine.kernel = draft.file(FileUse::Kind::Kernel, kernel->text, kernel->where);

    if (const auto ramdisks = draft.settings.strings("ramdisk"); ramdisks && !machine.kernel.empty()) {
        const bool list = draft.settings.find("ramdisk")->kind == Value::Kind::List;
        for (const Text& text : *ramdisks) {
            if (text.text.empty())
                continue;
            // In a list, arguments of a Multiboot module follow the path.
            const auto blank = list ? text.text.find(' ') : std::string::npos;
            const std::string path =
                draft.file(FileUse::Kind::Ramdisk, text.text.substr(0, blank), text.where);
            const std::string arguments = blank == std::string::npos ? "" : text.text.substr(blank);
            if (machine.ramdisk.empty())
                machine.ramdisk = path + arguments;
            else
                machine.modules.push_back(path + arguments);
        }
    }
    command_line(draft);
    if (!machine.kernel.empty()) {
        if (std::exchange(machine.uefi, false))
            draft.diagnostics.warning(draft.settings.find("kernel")->where,
                                      "the kernel is started directly: there is no UEFI firmware then");
        return;
    }
    for (const std::string_view key : {"ramdisk", "cmdline", "root", "extra"})
        if (const Value* value = draft.settings.find(key); value != nullptr && !says_no(*value))
            draft.diagnostics.warning(value->where,
                                      fmt::format("{} has no effect without a kernel to start", key));
}

} // namespace escalus
