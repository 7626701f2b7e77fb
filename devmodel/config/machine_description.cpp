// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/machine_description.hpp"

#include "devmodel/config/machine_draft.hpp"

#include <utility>

#include <fmt/format.h>

namespace escalus {

std::string MachineDraft::absolute(std::string_view path) const {
    if (path.empty() || path.starts_with('/'))
        return std::string{path};
    return fmt::format("{}/{}", directory == "/" ? "" : directory, path);
}

std::string MachineDraft::file(FileUse::Kind kind, std::string_view path, const Position& where,
                               bool writable) {
    std::string full = absolute(path);
    files.push_back({kind, full, writable, where});
    return full;
}

MachineDescription describe_machine(const std::vector<Entry>& entries, std::string_view directory,
                                    std::string_view default_name, Diagnostics& diagnostics) {
    MachineDraft draft{entries, directory, diagnostics};
    describe_identity(draft, default_name);
    describe_processors(draft);
    describe_disks(draft);
    describe_networks(draft);
    describe_usb(draft);
    describe_firmware(draft);
    describe_direct_boot(draft);
    describe_lifecycle(draft);
    describe_display(draft);
    describe_serial(draft);
    describe_platform(draft);
    return {std::move(draft.machine), std::move(draft.files)};
}

} // namespace escalus
