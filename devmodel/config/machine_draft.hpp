// SPDX-License-Identifier: GPL-2.0-or-later
// A machine while it is being described: what the parts of the description share, and those parts, which read
// the keys of one concern each and fill in what they say and every default.
#pragma once

#include "devmodel/config/machine_description.hpp"
#include "devmodel/config/settings.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace escalus {

struct MachineDraft {
    MachineDraft(const std::vector<Entry>& all_entries, std::string_view from, Diagnostics& told)
        : entries{all_entries}, directory{from}, diagnostics{told}, settings{all_entries, told} {}

    [[nodiscard]] std::string absolute(std::string_view path) const;
    /// Notes a file that the machine needs; its absolute path.
    std::string file(FileUse::Kind kind, std::string_view path, const Position& where, bool writable = false);

    const std::vector<Entry>& entries;
    std::string directory;
    Diagnostics& diagnostics;
    Settings settings;
    MachineConfig machine;
    std::vector<FileUse> files;
};

// In the order in which they are to be called: later ones look at what earlier ones filled in.
void describe_identity(MachineDraft& draft, std::string_view default_name);
void describe_processors(MachineDraft& draft); // and memory
void describe_disks(MachineDraft& draft);
void describe_networks(MachineDraft& draft);
void describe_usb(MachineDraft& draft);
void describe_firmware(MachineDraft& draft); // and the boot order
void describe_direct_boot(MachineDraft& draft);
void describe_lifecycle(MachineDraft& draft);
void describe_display(MachineDraft& draft);
void describe_serial(MachineDraft& draft);
void describe_platform(MachineDraft& draft);

/// Xen's own loader, which domain files name as kernel or loader: ignored, with a note.
[[nodiscard]] bool is_hvmloader(MachineDraft& draft, const Text& path, std::string_view key);

} // namespace escalus
