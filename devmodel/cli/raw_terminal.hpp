// SPDX-License-Identifier: GPL-2.0-or-later
// A terminal that passes every key on, and writing all of something.
#pragma once

#include <cerrno>
#include <string_view>

#include <termios.h>
#include <unistd.h>

namespace escalus {

/// The terminal on standard input, if it is one, is in raw mode for as long as this lives. What was typed
/// ahead stays to be read.
class RawTerminal {
  public:
    RawTerminal() : active_{::isatty(STDIN_FILENO) == 1 && ::tcgetattr(STDIN_FILENO, &before_) == 0} {
        if (!active_)
            return;
        termios raw = before_;
        ::cfmakeraw(&raw);
        ::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    }
    ~RawTerminal() {
        if (active_)
            ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
    }
    RawTerminal(const RawTerminal&) = delete;
    RawTerminal& operator=(const RawTerminal&) = delete;
    [[nodiscard]] bool active() const { return active_; }

  private:
    termios before_{};
    bool active_;
};

/// False when the other end is gone.
inline bool write_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t count = ::write(fd, bytes.data(), bytes.size());
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return false;
        bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
}

} // namespace escalus
