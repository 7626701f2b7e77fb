// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/disk_spec.hpp"

#include "devmodel/config/settings.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <fmt/format.h>

namespace escalus {
namespace {

struct FormatName {
    std::string_view name;
    ImageFormat format;
};
constexpr std::array<FormatName, 10> image_formats{{{"raw", ImageFormat::Raw},
                                                    {"qcow", ImageFormat::Qcow},
                                                    {"qcow2", ImageFormat::Qcow2},
                                                    {"vhd", ImageFormat::Vhd},
                                                    {"vpc", ImageFormat::Vhd},
                                                    {"vhdx", ImageFormat::Vhdx},
                                                    {"vmdk", ImageFormat::Vmdk},
                                                    {"vdi", ImageFormat::Vdi},
                                                    {"qed", ImageFormat::Qed},
                                                    {"parallels", ImageFormat::Parallels}}};
// Said by xend and old libxl to choose an implementation; without meaning here.
constexpr std::array<std::string_view, 7> ignored_prefixes{"tapdisk", "tap",  "tap2", "aio",
                                                           "ioemu",   "file", "sync"};
constexpr std::array<std::string_view, 4> script_prefixes{"iscsi", "nbd", "enbd", "drbd"};
constexpr std::array<std::string_view, 4> ignored_flags{"direct-io-safe", "trusted", "untrusted",
                                                        "removable"};
constexpr std::array<std::string_view, 4> backend_types{"phy", "qdisk", "standalone", "tap"};
constexpr std::array<std::string_view, 2> uri_schemes{"nbd://", "nbd+unix://"};

bool among(std::string_view word, const auto& words) {
    return std::ranges::find(words, word) != std::end(words);
}

const FormatName* find_format(std::string_view name) {
    const auto* found = std::ranges::find(image_formats, name, &FormatName::name);
    return found == image_formats.end() ? nullptr : found;
}

/// The name that a numeric virtual device stands for, by xen-vbd-interface(7); numbers below the first of
/// those are how OpenSolaris' tools count disks. "0x301" and the like, which are partitions, give "hda1".
std::optional<std::string> name_of_number(std::string_view text) {
    unsigned number = 0;
    const bool hex = text.starts_with("0x") || text.starts_with("0X");
    const auto digits = text.substr(hex ? 2 : 0);
    const auto* end = digits.data() + digits.size();
    const auto [rest, error] = std::from_chars(digits.data(), end, number, hex ? 16 : 10);
    if (digits.empty() || error != std::errc{} || rest != end)
        return {};
    const auto named = [](std::string_view prefix, unsigned disk, unsigned partition) {
        return disk < 26 ? std::optional{fmt::format("{}{}{}", prefix, static_cast<char>('a' + disk),
                                                     partition != 0 ? std::to_string(partition) : "")}
                         : std::nullopt;
    };
    if (number < 256)
        return fmt::format("d{}", number);
    if (number >> 28 == 1)
        return named("xvd", number >> 8 & 0xfffff, number & 0xff);
    switch (number >> 8) {
    case 3:
        return named("hd", number >> 6 & 3, number & 63);
    case 22:
        return named("hd", 2 + (number >> 6 & 3), number & 63);
    case 8:
        return named("sd", number >> 4 & 15, number & 15);
    case 202:
        return named("xvd", number >> 4 & 15, number & 15);
    default:
        return {};
    }
}

bool is_lower(char c) {
    return c >= 'a' && c <= 'z';
}

/// "hda", "xvdb1", "sdaa", "fda", "d0p1", "nvme0n1", "51712", each perhaps with ":cdrom".
bool looks_like_vdev(std::string_view text) {
    text = text.substr(0, text.find(':', text.starts_with("ioemu:") ? 6 : 0));
    if (text.starts_with("ioemu:"))
        text.remove_prefix(6);
    if (text.size() >= 2 && text[0] == 'd' && text[1] >= '0' && text[1] <= '9')
        return true;
    if (name_of_number(text) || text.starts_with("nvme"))
        return true;
    for (const std::string_view prefix : {"xvd", "hd", "sd", "fd", "vd"})
        if (text.size() > prefix.size() && text.starts_with(prefix) && is_lower(text[prefix.size()]))
            return true;
    return false;
}

class DiskParser {
  public:
    DiskParser(std::string_view text, const Position& where, Diagnostics& diagnostics)
        : text_{text}, diagnostics_{&diagnostics} {
        spec_.where = where;
    }

    std::optional<DiskSpec> parse() {
        std::size_t at = 0;
        while (at < text_.size() && good_) {
            at = std::min(text_.find_first_not_of(" \t", at), text_.size());
            const std::size_t comma = std::min(text_.find(',', at), text_.size());
            const std::string_view word = text_.substr(at, comma - at);
            if (word.starts_with("target=")) { // consumes the rest, commas and all
                set_target(text_.substr(at + 7));
                break;
            }
            parameter(word);
            at = comma + 1;
        }
        finish();
        return good_ ? std::optional{spec_} : std::nullopt;
    }

  private:
    void error(std::string_view part, std::string message, std::string help) {
        good_ = false;
        const auto offset = part.data() >= text_.data() && part.data() <= text_.data() + text_.size()
                                ? static_cast<std::size_t>(part.data() - text_.data())
                                : 0;
        diagnostics_->error(part_position(spec_.where, offset, part.size()), std::move(message),
                            std::move(help));
    }

    void parameter(std::string_view word) {
        const auto equals = word.find('=');
        const bool keyed = equals != std::string_view::npos && equals != 0 &&
                           word.substr(0, equals).find_first_of("/: ") == std::string_view::npos;
        if (keyed)
            return named(word, word.substr(0, equals), word.substr(equals + 1));
        if (word == "cdrom")
            return set_devtype(word);
        if (among(word, ignored_flags))
            return;
        if (word == "discard" || word == "no-discard") {
            spec_.discard = word == "discard";
            return;
        }
        if (word == "snapshot") { // of Escalus
            spec_.snapshot = true;
            return;
        }
        if (word.starts_with("colo"))
            return error(word, "COLO replication is not supported", "leave it away");
        positional(word);
    }

    /// Target, format, vdev, access: whichever has not been given yet. An empty one is skipped over.
    void positional(std::string_view word) {
        if (!target_seen_)
            return set_target(strip_prefixes(word));
        if (!format_seen_) {
            // The old form has no format: "phy:/dev/x,hda,w", ",hdc:cdrom,r". "vdi" is one.
            if (vdev_seen_ || find_format(word) != nullptr || !looks_like_vdev(word))
                return set_format(word);
            format_seen_ = true;
        }
        if (!vdev_seen_)
            return set_vdev(word);
        if (!access_seen_)
            return set_access(word);
        if (!backend_seen_ && (word.empty() || word == "0" || word == "Domain-0")) { // Xen 3
            backend_seen_ = true;
            return;
        }
        if (!word.empty())
            error(word, fmt::format("'{}' is one part too many", word),
                  "write TARGET,FORMAT,VDEV,ACCESS, for example '/images/disk.img,raw,hda,rw'");
    }

    void named(std::string_view word, std::string_view key, std::string_view value) {
        if (key == "format")
            return set_format(value);
        if (key == "vdev")
            return set_vdev(value);
        if (key == "access")
            return set_access(value);
        if (key == "devtype")
            return set_devtype(value);
        if (key == "backendtype") {
            if (!value.empty() && !among(value, backend_types))
                error(value, fmt::format("'{}' is not a backend type", value),
                      "leave backendtype= away: there is one way to a disk here");
            spec_.device_path |= value == "phy";
            return;
        }
        if (key == "backend") {
            if (!value.empty() && value != "0" && value != "Domain-0")
                error(word, "there are no driver domains: disks are files and devices of the control OS",
                      "leave backend= away");
            return;
        }
        if (key == "script")
            return script(word, value);
        if (key == "specification")
            return set_specification(value);
        if (key == "grant_usage")
            return;
        if (key == "active-disk" || key == "hidden-disk")
            return error(word, "COLO replication is not supported", "leave it away");
        error(word, fmt::format("'{}' is not a disk parameter", key),
              "known are target, format, vdev, access, devtype, backendtype, backend, specification, script");
    }

    void set_specification(std::string_view value) {
        if (value == "virtio")
            spec_.controller = DiskController::Virtio;
        else if (value == "nvme") // of Escalus
            spec_.controller = DiskController::Nvme;
        else if (!value.empty() && value != "xen")
            error(value, fmt::format("'{}' is not a specification", value),
                  "write virtio or nvme, or leave it away");
    }

    std::string_view strip_prefixes(std::string_view target) {
        for (;;) {
            if (std::ranges::any_of(uri_schemes,
                                    [&](std::string_view scheme) { return target.starts_with(scheme); }))
                return target;
            const auto colon = target.find(':');
            const std::string_view prefix = target.substr(0, std::min(colon, target.size()));
            if (colon == std::string_view::npos)
                return target;
            if (prefix == "phy")
                spec_.device_path = true;
            else if (among(prefix, script_prefixes)) {
                script(target, prefix);
                return target;
            } else if (find_format(prefix) != nullptr)
                set_format(prefix);
            else if (!among(prefix, ignored_prefixes))
                return target; // a file name with a colon
            target.remove_prefix(colon + 1);
        }
    }

    void script(std::string_view word, std::string_view name) {
        if (!name.empty())
            error(word, fmt::format("block scripts ('{}') are not supported", name),
                  "attach the disk in the control OS and give its device: 'phy:/dev/...,hda,w'");
    }

    bool once(bool& seen, std::string_view word, std::string_view what) {
        if (seen && !word.empty())
            error(word, fmt::format("the {} is given twice", what), {});
        return !std::exchange(seen, true);
    }

    void set_target(std::string_view target) {
        if (target_seen_ && !spec_.target.empty())
            return error(target, "the target is given twice", {});
        target_seen_ = true;
        spec_.target = target;
    }

    void set_format(std::string_view format) {
        if (!once(format_seen_, format, "format"))
            return;
        if (format == "empty")
            empty_ = true;
        else if (const auto* known = find_format(format))
            spec_.format = known->format;
        else if (!format.empty())
            error(format, fmt::format("'{}' is not an image format", format),
                  "write raw, qcow2, qcow, vhd, vhdx, vmdk, vdi, qed or parallels; nothing is raw");
    }

    void set_vdev(std::string_view vdev) {
        if (!once(vdev_seen_, vdev, "virtual device"))
            return;
        if (vdev.starts_with("ioemu:"))
            vdev.remove_prefix(6);
        if (const auto colon = vdev.find(':'); colon != std::string_view::npos) {
            set_devtype(vdev.substr(colon + 1));
            vdev = vdev.substr(0, colon);
        }
        spec_.vdev = name_of_number(vdev).value_or(std::string{vdev});
    }

    void set_access(std::string_view access) {
        if (!once(access_seen_, access, "access"))
            return;
        if (access == "r" || access == "ro" || access == "r!")
            spec_.read_only = true;
        else if (access == "w" || access == "rw" || access == "w!")
            writable_ = true;
        else if (!access.empty())
            error(access, fmt::format("'{}' is not an access mode", access),
                  "write r (read only) or w (read and write)");
    }

    void set_devtype(std::string_view type) {
        if (type == "cdrom")
            spec_.cdrom = true;
        else if (!type.empty() && type != "disk")
            error(type, fmt::format("'{}' is not a device type", type), "write cdrom, or nothing for a disk");
    }

    void finish() {
        if (!good_)
            return;
        if (empty_)
            spec_.target.clear();
        if (spec_.vdev.empty())
            return error(text_, "the virtual device is missing",
                         fmt::format("write '{0},raw,hda,rw' for a disk, '{0},raw,hdc,cdrom' for a CD-ROM",
                                     spec_.target.empty() ? "PATH" : spec_.target));
        if (spec_.is_nbd() && spec_.format != ImageFormat::Raw)
            return error(text_, "what an NBD server gives is raw",
                         "leave the format away; give the file itself to have it taken for another format");
        const bool floppy = spec_.vdev.starts_with("fd");
        if (floppy && spec_.cdrom)
            return error(text_, fmt::format("{} is a floppy drive, no CD-ROM drive", spec_.vdev),
                         "leave cdrom away, or write hdc");
        if (floppy && spec_.controller)
            return error(text_, fmt::format("{} is a floppy drive, of neither virtio nor NVMe", spec_.vdev),
                         "leave specification= away");
        if (spec_.cdrom) {
            if (writable_)
                diagnostics_->warning(spec_.where, "a CD-ROM is read only, whatever the access mode says");
            spec_.read_only = true;
        } else if (spec_.target.empty() && !floppy) {
            error(text_, "a disk needs a file or a device",
                  "write its path first; only a CD-ROM or floppy drive can be empty: ',,hdc,cdrom', ',,fda'");
        }
    }

    std::string_view text_;
    Diagnostics* diagnostics_;
    DiskSpec spec_;
    bool good_ = true;
    bool target_seen_ = false, format_seen_ = false, vdev_seen_ = false, access_seen_ = false,
         backend_seen_ = false;
    bool writable_ = false, empty_ = false;
};

} // namespace

std::optional<ImageFormat> image_format(std::string_view name) {
    const auto* found = find_format(name);
    return found == nullptr ? std::nullopt : std::optional{found->format};
}

std::optional<DiskSpec> parse_disk_spec(std::string_view text, const Position& where,
                                        Diagnostics& diagnostics) {
    return DiskParser{text, where, diagnostics}.parse();
}

} // namespace escalus
