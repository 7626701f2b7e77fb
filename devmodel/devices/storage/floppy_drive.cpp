// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/storage/floppy_drive.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace escalus {

void FloppyDrive::insert(std::unique_ptr<BlockBackend> medium) {
    if (auto why = why_no_floppy(type_, medium->size()); !why.empty())
        throw std::invalid_argument{why};
    format_ = *floppy_format(medium->size());
    medium_ = std::move(medium);
    changed_ = true;
}

void FloppyDrive::eject() {
    medium_.reset();
    format_ = {};
    changed_ = true;
}

unsigned FloppyDrive::last_cylinder() const {
    return type_ == FloppyDriveType::Dd525 ? 41 : 83; // a little beyond what disks use
}

void FloppyDrive::step(unsigned pulses, bool inward) {
    if (pulses == 0)
        return;
    cylinder_ =
        inward ? std::min(cylinder_ + pulses, last_cylinder()) : cylinder_ - std::min(cylinder_, pulses);
    if (medium_ != nullptr)
        changed_ = false;
}

unsigned FloppyDrive::track() const {
    const bool double_step = type_ == FloppyDriveType::Hd525 && format_.cylinders == 40;
    return double_step ? cylinder_ / 2 : cylinder_;
}

bool FloppyDrive::at_rate(FloppyRate rate) const {
    if (rate == format_.rate)
        return true;
    // A 360 KB disk turns faster in a 1.2 MB drive, and its bits come at 300 kbit/s. Firmware asks for that
    // in a 360 KB drive, too (SeaBIOS), as some of those turn as fast.
    return format_.drive == FloppyDriveType::Dd525 && rate == FloppyRate::K300;
}

} // namespace escalus
