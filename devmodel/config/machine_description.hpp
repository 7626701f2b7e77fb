// SPDX-License-Identifier: GPL-2.0-or-later
// From the entries of a domain file to a MachineConfig: every check and every default.
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

/// Looks at every file: missing, unreadable, empty, a directory; and whether any medium can be booted.
void check_files(const MachineDescription& description, Diagnostics& diagnostics);

} // namespace escalus
