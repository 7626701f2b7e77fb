// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/disk_spec.hpp"
#include "devmodel/config/machine_draft.hpp"

#include <algorithm>
#include <array>
#include <cctype>

#include <fmt/format.h>

namespace escalus {

namespace {
constexpr std::array<std::string_view, 4> ide_positions{"hda", "hdb", "hdc", "hdd"};
constexpr std::array<std::string_view, 4> nvme_positions{"nvme0n1", "nvme1n1", "nvme2n1", "nvme3n1"};
constexpr std::array<std::string_view, 16> virtio_positions{"xvda", "xvdb", "xvdc", "xvdd", "xvde", "xvdf",
                                                            "xvdg", "xvdh", "xvdi", "xvdj", "xvdk", "xvdl",
                                                            "xvdm", "xvdn", "xvdo", "xvdp"};

/// Which disk goes where.
class DiskPlacement {
  public:
    explicit DiskPlacement(MachineDraft& draft) : draft_{draft} {}

    void run() {
        if (const auto texts = draft_.settings.strings("disk"))
            for (const Text& text : *texts)
                if (const auto spec = parse_disk_spec(text.text, text.where, draft_.diagnostics))
                    placed_.push_back({*spec, {}});
        if (const auto cdrom = draft_.settings.string("cdrom"); cdrom && !cdrom->text.empty())
            placed_.push_back({{.target = cdrom->text,
                                .vdev = "hdc",
                                .cdrom = true,
                                .read_only = true,
                                .controller = {},
                                .where = cdrom->where},
                               {}});

        for (const std::string key : {"fda", "fdb"})
            if (const auto floppy = draft_.settings.string(key); floppy && !floppy->text.empty())
                placed_.push_back(
                    {{.target = floppy->text, .vdev = key, .controller = {}, .where = floppy->where}, {}});

        for (PlacedDisk& disk : placed_)
            if (!disk.spec.controller &&
                std::ranges::find(ide_positions, disk.spec.vdev) != ide_positions.end())
                claim(disk, disk.spec.vdev);
        for (PlacedDisk& disk : placed_)
            if (disk.position.empty())
                place(disk);

        const auto controller = draft_.settings
                                    .choice<DiskController>("hdtype", {{"ide", DiskController::Ide},
                                                                       {"ahci", DiskController::Ahci}})
                                    .value_or(DiskController::Ide);
        const bool snapshot = draft_.settings.boolean("snapshot").value_or(false);
        std::ranges::stable_sort(placed_, {}, &PlacedDisk::position);
        for (const PlacedDisk& disk : placed_) {
            const DiskSpec& spec = disk.spec;
            const auto kind = kind_of(spec);
            draft_.machine.disks.push_back(
                {.path = disk_path(spec),
                 .device = disk.position,
                 .kind = kind,
                 .read_only = spec.read_only,
                 .controller = disk.position.starts_with("xvd")    ? DiskController::Virtio
                               : disk.position.starts_with("nvme") ? DiskController::Nvme
                               : kind == DiskKind::Floppy          ? DiskController::Floppy
                                                                   : controller,
                 .format = spec.format,
                 .snapshot = !spec.read_only && (spec.snapshot || snapshot),
                 .discard = spec.discard});
        }
    }

  private:
    struct PlacedDisk {
        DiskSpec spec;
        std::string position; // "hda" ...
    };

    static DiskKind kind_of(const DiskSpec& spec) {
        return spec.cdrom ? DiskKind::CdRom : spec.vdev.starts_with("fd") ? DiskKind::Floppy : DiskKind::Disk;
    }

    std::string disk_path(const DiskSpec& spec) {
        if (spec.target.empty() || spec.is_nbd())
            return spec.target;
        const bool below_dev = spec.device_path && !spec.target.starts_with('/');
        const bool written =
            !spec.read_only && !spec.snapshot && !draft_.settings.boolean("snapshot").value_or(false);
        const auto kind = kind_of(spec);
        auto path = draft_.file(kind == DiskKind::CdRom    ? FileUse::Kind::CdRom
                                : kind == DiskKind::Floppy ? FileUse::Kind::Floppy
                                                           : FileUse::Kind::Disk,
                                below_dev ? "/dev/" + spec.target : spec.target, spec.where, written);
        draft_.files.back().format = spec.format;
        return path;
    }

    void claim(PlacedDisk& disk, std::string_view position) {
        if (std::ranges::find(placed_, position, &PlacedDisk::position) != placed_.end())
            draft_.diagnostics.error(
                disk.spec.where, fmt::format("two disks cannot both be {}", position),
                position.starts_with("fd")     ? "the floppy drives are fda and fdb"
                : position.starts_with("xvd")  ? "there are virtio disks from xvda to xvdp"
                : position.starts_with("nvme") ? "there are NVMe disks from nvme0n1 to nvme3n1"
                                               : "the IDE controller has hda, hdb, hdc and hdd");
        disk.position = position;
    }

    /// nvme0n1, and any first disk with "specification=nvme". False when the disk is not such a one.
    bool place_nvme(PlacedDisk& disk) {
        const DiskSpec& spec = disk.spec;
        const bool named = spec.vdev.starts_with("nvme");
        if (spec.controller != DiskController::Nvme && !named)
            return false;
        const auto error = [&](const std::string& message, const std::string& help) {
            draft_.diagnostics.error(spec.where, message, help);
            return true;
        };
        if (named && spec.controller && spec.controller != DiskController::Nvme)
            return error(fmt::format("{} is an NVMe disk", spec.vdev), "leave specification= away");
        if (spec.cdrom)
            return error("there are no NVMe CD-ROM drives",
                         "give it another virtual device, for example hdc");
        std::size_t wanted = nvme_positions.size();
        if (named)
            wanted = static_cast<std::size_t>(std::ranges::find(nvme_positions, spec.vdev) -
                                              nvme_positions.begin());
        else if (const auto number =
                     spec.vdev.starts_with('d') ? to_integer(spec.vdev.substr(1)) : std::nullopt)
            wanted = static_cast<std::size_t>(*number);
        else if (spec.vdev.size() == (spec.vdev.starts_with("xvd") ? 4 : 3))
            wanted = static_cast<std::size_t>(spec.vdev.back() - 'a');
        if (wanted >= nvme_positions.size())
            return error(fmt::format("there is no NVMe disk {}: they are nvme0n1 to nvme3n1", spec.vdev),
                         "write nvme0n1");
        claim(disk, nvme_positions[wanted]);
        return true;
    }

    /// xvda and vda are the virtio disk xvda. sda and d0 go to hda and so on, as Xen's emulated disks do, or
    /// to the next free position; so do CD-ROM drives, which virtio has not.
    void place(PlacedDisk& disk) {
        if (place_nvme(disk))
            return;
        const std::string& vdev = disk.spec.vdev;
        std::string_view unit = vdev;
        for (const std::string_view prefix : {"xvd", "hd", "sd", "vd", "fd", "d"})
            if (unit.starts_with(prefix)) {
                unit.remove_prefix(prefix.size());
                break;
            }
        const auto error = [&](const std::string& message, const std::string& help) {
            draft_.diagnostics.error(disk.spec.where, message, help);
        };
        if (vdev.starts_with("fd")) {
            if (vdev != "fda" && vdev != "fdb")
                return error(fmt::format("there is no {}: the floppy controller has two drives", vdev),
                             "write fda or fdb");
            return claim(disk, vdev);
        }
        const bool by_number = vdev.starts_with('d') && to_integer(unit.substr(0, unit.find('p')));
        if (unit.empty() || unit.size() == vdev.size() ||
            (!by_number && std::islower(static_cast<unsigned char>(unit[0])) == 0))
            return error(fmt::format("'{}' is not a virtual device", vdev), "write hda, hdb, hdc or hdd");
        if (unit.back() >= '0' && unit.back() <= '9' && (!by_number || unit.find('p') != unit.npos))
            return error(fmt::format("'{}' is a partition: a machine has whole disks", vdev),
                         fmt::format("write {}", vdev.substr(0, vdev.find_last_not_of("0123456789p") + 1)));
        const auto wanted = by_number ? *to_integer(unit) : unit.size() == 1 ? unit[0] - 'a' : 99;
        const bool paravirtual = vdev.starts_with("xvd") || vdev.starts_with("vd");
        if (disk.spec.controller == DiskController::Virtio || (paravirtual && !disk.spec.cdrom)) {
            if (disk.spec.cdrom)
                return error("there are no virtio CD-ROM drives", "leave specification= away: it is IDE");
            if (wanted < 0 || wanted >= static_cast<std::int64_t>(virtio_positions.size()))
                return error(fmt::format("there is no {}: virtio disks are xvda to xvdp", vdev),
                             "write xvda");
            return claim(disk, virtio_positions[static_cast<std::size_t>(wanted)]);
        }
        if (vdev.starts_with("hd"))
            return error(fmt::format("there is no {}: the IDE controller has room for four", vdev),
                         "write hda, hdb, hdc or hdd");
        std::vector<std::string_view> order{ide_positions.begin(), ide_positions.end()};
        if (wanted >= 0 && wanted < 4)
            std::rotate(order.begin(), order.begin() + wanted, order.end());
        else if (disk.spec.cdrom) // where PCs have had it
            std::rotate(order.begin(), order.begin() + 2, order.end());
        const auto free = std::ranges::find_if(order, [&](std::string_view position) {
            return std::ranges::find(placed_, position, &PlacedDisk::position) == placed_.end();
        });
        if (free == order.end())
            return error(fmt::format("there is no room for {}: the IDE controller has room for four", vdev),
                         "give the guest fewer disks");
        disk.position = *free;
        draft_.diagnostics.note(disk.spec.where,
                                fmt::format("{} becomes the IDE disk {}", vdev, disk.position));
    }

    MachineDraft& draft_;
    std::vector<PlacedDisk> placed_;
};
} // namespace

void describe_disks(MachineDraft& draft) {
    DiskPlacement{draft}.run();
}

} // namespace escalus
