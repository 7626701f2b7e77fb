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
    std::string vdev;   ///< a name, even where a number was written: "hda", "xvdb", "sda", "d6", "nvme0n1"
    bool cdrom = false;
    bool read_only = false;
    bool device_path = false;                 ///< "phy:": a relative target counts from /dev
    std::optional<DiskController> controller; ///< "specification=virtio" or "nvme"
    ImageFormat format = ImageFormat::Raw;
    bool snapshot = false, discard = true;
    Position where; ///< of the whole specification

    [[nodiscard]] bool is_nbd() const {
        return target.starts_with("nbd:") || target.starts_with("nbd+unix:");
    }
};

/// "raw", "qcow2" ...
[[nodiscard]] std::optional<ImageFormat> image_format(std::string_view name);

/// `where` is the position of the text's first character.
[[nodiscard]] std::optional<DiskSpec> parse_disk_spec(std::string_view text, const Position& where,
                                                      Diagnostics& diagnostics);

} // namespace escalus
