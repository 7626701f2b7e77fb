// SPDX-License-Identifier: GPL-2.0-or-later
// One entry of `disk = [ ... ]`: xl-disk-configuration(5), positional and key=value, and the forms of Xen 3
// ("file:", "phy:", "tap:aio:", ",hdc:cdrom,r", "...,hda,w,0").
#pragma once

#include "devmodel/config/diagnostic.hpp"
#include "devmodel/config/machine_config.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace escalus {

struct DiskSpec {
    std::string target; ///< empty: a drive without a medium
    std::string vdev;   ///< as written: "hda", "xvdb", "sda"
    bool cdrom = false;
    bool read_only = false;
    bool device_path = false; ///< "phy:": a relative target counts from /dev
    bool virtio = false;      ///< "specification=virtio"
    Position where;           ///< of the whole specification
};

/// `where` is the position of the text's first character.
[[nodiscard]] std::optional<DiskSpec> parse_disk_spec(std::string_view text, const Position& where,
                                                      Diagnostics& diagnostics);

} // namespace escalus
