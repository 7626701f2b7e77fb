// SPDX-License-Identifier: GPL-2.0-or-later
// Opening an image file or block device: what needs the user's rights, apart from what a backend does with
// it. The device model opens its images before it gives its rights up; a medium for a running guest is opened
// by the command that inserts it, which passes the descriptor on.
#pragma once

#include "devmodel/backends/host/descriptor.hpp"

#include <string>

namespace escalus {

/// The image, opened and locked. Throws std::runtime_error with a message for the user that names the path
/// and what is wrong: missing, a directory, unreadable, empty, in use.
[[nodiscard]] Descriptor open_image_file(const std::string& path, bool read_only);

} // namespace escalus
