// SPDX-License-Identifier: GPL-2.0-or-later
// The kinds of character backend. Each throws std::runtime_error that names its path and the reason when it
// cannot be made.
#pragma once

#include "devmodel/backends/char/char_backend.hpp"
#include "devmodel/machine/device_lock.hpp"

#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>

namespace escalus {

/// A listening unix socket. A socket that a dead process left at `path` is replaced, anything else there is
/// not. Mode 0600; removed at the end.
std::unique_ptr<CharBackend> make_unix_char(boost::asio::io_context& loop, DeviceLock& device_lock,
                                            const std::string& path);
/// Output only. A regular file is truncated, as QEMU does it. A FIFO or device is written as it takes it.
std::unique_ptr<CharBackend> make_file_char(boost::asio::io_context& loop, DeviceLock& device_lock,
                                            const std::string& path);
/// A new pseudo-terminal in raw mode; its slave may be opened and closed at will.
std::unique_ptr<CharBackend> make_pty_char(boost::asio::io_context& loop, DeviceLock& device_lock);
/// The process' own terminal or pipes. A terminal is in raw mode (signals excepted) meanwhile.
std::unique_ptr<CharBackend> make_stdio_char(boost::asio::io_context& loop, DeviceLock& device_lock);

} // namespace escalus
