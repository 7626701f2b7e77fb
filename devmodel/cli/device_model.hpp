// SPDX-License-Identifier: GPL-2.0-or-later
// The device model process of one guest, as the guardian's child: engine, machine and control socket on one
// Asio loop, VNC and screenshots on another.
#pragma once

#include "devmodel/cli/guardian.hpp"
#include "devmodel/config/machine_config.hpp"

#include <filesystem>

namespace escalus {

struct DeviceModelOptions {
    bool paused = false; ///< wait for `escalus unpause` before the guest's first instruction
    bool sandbox = true; ///< drop root and filter system calls before the guest runs
};

/// Returns the process's exit code: 0, or 1 after a failure, which was reported on the status pipe.
int run_device_model(const MachineConfig& config, const std::filesystem::path& directory,
                     const ChildPipes& pipes, const DeviceModelOptions& options);

} // namespace escalus
