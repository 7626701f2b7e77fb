// SPDX-License-Identifier: GPL-2.0-or-later
// A floppy disk drive and the disks that fit into it: what the controller sees at the drive's connector
// (track 0, write protect, disk change), and which sectors lie under the heads.
//
// A disk is an image of its sectors, 512 bytes each, in the order cylinder, head, sector; its format is told
// by its size. The disk change line is set when a disk is taken out or put in, and cleared by a step pulse
// with a disk in the drive, as in every drive of an AT (IBM PC AT Technical Reference, diskette drive;
// 82077AA, digital input register).
//
// State: the medium, where the heads stand, the disk change line. Missing: rotation and motor (a disk is
// always at speed), sectors of other sizes, deleted-data marks, tracks of mixed formats.
#pragma once

#include "devmodel/backends/block/block_backend.hpp"
#include "devmodel/devices/storage/floppy_format.hpp"

#include <cstdint>
#include <memory>

namespace escalus {

class FloppyDrive {
  public:
    static constexpr std::size_t sector_bytes = 512;

    explicit FloppyDrive(FloppyDriveType type) : type_{type} {}

    // The user's side. insert throws std::invalid_argument for a disk that does not fit; one that is in the
    // drive comes out.
    void insert(std::unique_ptr<BlockBackend> medium);
    void eject();
    /// Power comes: a drive does not know whether its disk is another one.
    void power_on() { changed_ = true; }

    [[nodiscard]] FloppyDriveType type() const { return type_; }
    [[nodiscard]] BlockBackend* medium() { return medium_.get(); }
    [[nodiscard]] const BlockBackend* medium() const { return medium_.get(); }
    [[nodiscard]] const FloppyFormat& format() const { return format_; }

    // The connector.
    [[nodiscard]] bool changed() const { return changed_; }
    [[nodiscard]] bool track0() const { return cylinder_ == 0; }
    [[nodiscard]] bool write_protected() const { return medium_ != nullptr && medium_->read_only(); }
    /// That many step pulses, inward or outward; the heads stop at the ends of their way.
    void step(unsigned pulses, bool inward);

    /// The track of the medium under the heads: a drive with twice as many reads each of a disk's two times.
    [[nodiscard]] unsigned track() const;
    /// Whether the medium can be read at this data rate.
    [[nodiscard]] bool at_rate(FloppyRate rate) const;
    /// Where a sector's bytes are in the image.
    [[nodiscard]] std::uint64_t offset(unsigned track, unsigned head, unsigned sector) const {
        return ((std::uint64_t{track} * format_.heads + head) * format_.sectors + sector - 1) * sector_bytes;
    }

  private:
    [[nodiscard]] unsigned last_cylinder() const;

    FloppyDriveType type_;
    std::unique_ptr<BlockBackend> medium_;
    FloppyFormat format_;
    unsigned cylinder_ = 0;
    bool changed_ = true;
};

} // namespace escalus
