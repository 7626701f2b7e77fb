// SPDX-License-Identifier: GPL-2.0-or-later
// Starts a kernel without firmware: sets up the board as firmware would, places the ACPI tables, loads the
// kernel, and leaves the bootstrap processor at its entry. Done again at every reset.
// Missing: the video BIOS does not run, so the VGA shows nothing until a driver sets a mode.
#pragma once

#include "devmodel/config/machine_config.hpp"
#include "devmodel/machine/boot_image.hpp"

#include <memory>
#include <span>

namespace escalus {

class PcBoard;
class VcpuThread;

class DirectBoot {
  public:
    /// Opens and checks the files. Throws std::runtime_error.
    static std::unique_ptr<DirectBoot> open(const MachineConfig& config);

    /// With board and processor just reset. Throws std::runtime_error when something does not fit.
    void load(PcBoard& board, std::span<const std::unique_ptr<VcpuThread>> processors) const;

  private:
    explicit DirectBoot(std::unique_ptr<BootImage> image) : image_{std::move(image)} {}
    std::unique_ptr<BootImage> image_;
};

} // namespace escalus
