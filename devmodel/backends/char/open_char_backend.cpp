// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/char/open_char_backend.hpp"

#include "devmodel/backends/char/char_backends.hpp"

#include <csignal>

namespace escalus {

std::unique_ptr<CharBackend> open_char_backend(boost::asio::io_context& loop, DeviceLock& device_lock,
                                               const SerialConfig& config, const std::string& default_path) {
    // A viewer that hangs up is an error code from write, not the end of the process. Asio asks for that on
    // sockets only, and pipes and terminals have no flag for it.
    std::signal(SIGPIPE, SIG_IGN);
    switch (config.kind) {
    case SerialKind::Unix:
        return make_unix_char(loop, device_lock, config.path.empty() ? default_path : config.path);
    case SerialKind::File:
        return make_file_char(loop, device_lock, config.path);
    case SerialKind::Pty:
        return make_pty_char(loop, device_lock);
    case SerialKind::Stdio:
        return make_stdio_char(loop, device_lock);
    case SerialKind::None:
        break;
    }
    return nullptr;
}

} // namespace escalus
