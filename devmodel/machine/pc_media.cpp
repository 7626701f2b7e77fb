// SPDX-License-Identifier: GPL-2.0-or-later
// Media that are changed while the machine runs: the user's hand at its CD-ROM and floppy drives.
#include "devmodel/devices/storage/atapi_cdrom.hpp"
#include "devmodel/machine/pc_board.hpp"

#include <stdexcept>

#include <fmt/format.h>

namespace escalus {

namespace {
std::runtime_error locked(const std::string& device) {
    return std::runtime_error{fmt::format("the guest has locked {}: it was asked to let go of the medium (or "
                                          "take it away with --force)",
                                          device)};
}
} // namespace

std::vector<Machine::RemovableDrive> PcBoard::removable_drives() const {
    std::vector<Machine::RemovableDrive> drives;
    for (unsigned unit = 0; floppy && unit < FloppyController::drives; ++unit)
        if (const auto* drive = floppy->drive(unit); drive != nullptr)
            drives.push_back({.device = fmt::format("fd{}", static_cast<char>('a' + unit)),
                              .kind = DiskKind::Floppy,
                              .medium = drive->medium() != nullptr ? drive->medium()->description() : ""});
    for (const auto& [device, drive] : cdroms_)
        drives.push_back({.device = device, .kind = DiskKind::CdRom, .medium = drive->medium_name()});
    return drives;
}

void PcBoard::insert_medium(const std::string& device, std::unique_ptr<BlockBackend> medium, bool force) {
    if (const auto cdrom = cdroms_.find(device); cdrom != cdroms_.end()) {
        if (!force && !cdrom->second->ask_to_eject())
            throw locked(device);
        cdrom->second->insert(std::move(medium));
    } else {
        const auto path = medium->description();
        try {
            floppy->insert(floppy_unit(device), std::move(medium));
        } catch (const std::invalid_argument& error) {
            throw std::runtime_error{fmt::format("{}: {}: {}", device, path, error.what())};
        }
    }
}

void PcBoard::eject_medium(const std::string& device, bool force) {
    if (const auto cdrom = cdroms_.find(device); cdrom != cdroms_.end()) {
        if (force)
            cdrom->second->eject();
        else if (!cdrom->second->ask_to_eject())
            throw locked(device);
    } else {
        floppy->eject(floppy_unit(device));
    }
}

unsigned PcBoard::floppy_unit(const std::string& device) const {
    const unsigned unit =
        device.size() == 3 && device.starts_with("fd") ? static_cast<unsigned>(device[2] - 'a') : 99;
    if (!floppy || floppy->drive(unit) == nullptr)
        throw std::runtime_error{fmt::format("there is no removable drive {}", device)};
    return unit;
}

} // namespace escalus
