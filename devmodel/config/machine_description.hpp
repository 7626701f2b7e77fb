// SPDX-License-Identifier: GPL-2.0-or-later
// From domain files, command-line overrides and bare media to a MachineConfig: every check and every default.
#pragma once

#include "devmodel/config/domain_file.hpp"
#include "devmodel/config/machine_config.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace escalus {

/// A host file that the machine needs, and where the domain file names it.
struct FileUse {
    enum class Kind { Disk, CdRom, Floppy, Kernel, Ramdisk, Firmware, Folder };
    Kind kind = Kind::Disk;
    std::string path;
    bool writable = false;
    Position where;
    ImageFormat format = ImageFormat::Raw; ///< of a disk
};

struct MachineDescription {
    MachineConfig machine;
    std::vector<FileUse> files;
};

/// Builds the machine that the entries describe. Relative paths count from `directory`; `default_name` is the
/// machine's name when no entry gives one. Meaningless when `diagnostics` has errors afterwards. Touches no
/// file.
[[nodiscard]] MachineDescription describe_machine(const std::vector<Entry>& entries,
                                                  std::string_view directory, std::string_view default_name,
                                                  Diagnostics& diagnostics);

/// Entries for a machine made from a medium alone: a CD-ROM drive with it that is booted from (ISO images),
/// or a disk.
[[nodiscard]] std::vector<Entry> entries_for_medium(std::string_view path);

/// A valid machine name made from a file's name: "/isos/Debian 12.iso" -> "Debian-12".
[[nodiscard]] std::string name_from_path(std::string_view path);
/// What is wrong with a machine name; empty when it is fine.
[[nodiscard]] std::string why_bad_name(std::string_view name);

/// Looks at every file: missing, unreadable, empty, a directory; and whether any medium can be booted.
void check_files(const MachineDescription& description, Diagnostics& diagnostics);

} // namespace escalus
