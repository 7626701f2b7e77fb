// SPDX-License-Identifier: GPL-2.0-or-later
// From a disk of the configuration to its bytes: file or device, image format, NBD server, snapshot.
#pragma once

#include "devmodel/backends/block/block_backend.hpp"
#include "devmodel/backends/host/descriptor.hpp"
#include "devmodel/config/machine_config.hpp"
#include "devmodel/machine/device_lock.hpp"

#include <memory>
#include <string>

namespace boost::asio {
class io_context;
}

namespace escalus {

/// `runtime_directory`: for sockets. Throws std::runtime_error with a message for the user. The disk must
/// have a path.
[[nodiscard]] std::unique_ptr<BlockBackend> open_image(const DiskConfig& disk, boost::asio::io_context& loop,
                                                       DeviceLock& device_lock,
                                                       const std::string& runtime_directory);

/// A medium for a running guest: the raw image behind a descriptor of open_image_file(), for the drive
/// `device`. Throws the same.
[[nodiscard]] std::unique_ptr<BlockBackend> adopt_image(Descriptor image, const std::string& path,
                                                        const std::string& device, DeviceLock& device_lock);

} // namespace escalus
