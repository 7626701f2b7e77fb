// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/bare_medium.hpp"

#include "devmodel/config/machine_name.hpp"
#include "devmodel/devices/storage/floppy_format.hpp"

#include <algorithm>
#include <cctype>
#include <memory>

#include <fmt/format.h>

namespace escalus {

std::vector<Entry> entries_for_medium(std::string_view path, std::uint64_t bytes) {
    std::string lower{path};
    std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
    const bool image = lower.ends_with(".img") || lower.ends_with(".raw") || lower.ends_with(".disk");
    const bool floppy = image && floppy_format(bytes);
    auto source = std::make_shared<SourceText>(SourceText{"command line", std::string{path}});
    const Position where{source, 0, std::max<std::size_t>(1, path.size())};
    const auto string = [&](std::string text) {
        return Value{Value::Kind::String, std::move(text), 0, {}, where};
    };
    Value disk{Value::Kind::List, {}, 0, {}, where};
    disk.items.push_back(string(fmt::format("{},access={},target={}",
                                            floppy  ? "vdev=fda"
                                            : image ? "vdev=hda"
                                                    : "vdev=hdc,devtype=cdrom",
                                            image ? "rw" : "ro", path)));
    std::vector<Entry> entries;
    entries.push_back({"name", where, false, string(name_from_path(path))});
    entries.push_back({"disk", where, false, std::move(disk)});
    entries.push_back({"boot", where, false, string(floppy ? "a" : image ? "c" : "d")});
    return entries;
}

} // namespace escalus
