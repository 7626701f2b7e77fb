// SPDX-License-Identifier: GPL-2.0-or-later
// Makes the character backend a `serial` key names: a unix socket that viewers come to and leave, a file, a
// pseudo-terminal, or the standard input and output of this process. All of them live on the Asio loop, never
// block, and keep at most `char_buffer_limit` bytes in each direction.
#pragma once

#include "devmodel/backends/char/char_backend.hpp"
#include "devmodel/config/machine_config.hpp"
#include "devmodel/machine/device_lock.hpp"

#include <memory>

namespace boost::asio {
class io_context;
}

namespace escalus {

inline constexpr std::size_t char_buffer_limit = 64 * 1024;

/// `device_lock` is held around every call of the receiver, and callers of send(), ready() and on_receive()
/// hold it too (from any thread). `default_path` is where the socket goes when the configuration names none.
/// Null for SerialKind::None. Throws std::runtime_error that names the path and the reason.
///
/// description() is the place to attach to: the socket's or file's path, the pseudo-terminal's slave
/// ("/dev/pts/3"), "stdio". Destroy it on the loop thread, or when the loop does not run, without the lock.
[[nodiscard]] std::unique_ptr<CharBackend> open_char_backend(boost::asio::io_context& loop,
                                                             DeviceLock& device_lock,
                                                             const SerialConfig& config,
                                                             const std::string& default_path);

} // namespace escalus
