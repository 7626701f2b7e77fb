// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/char/char_backends.hpp"
#include "devmodel/backends/char/char_hub.hpp"
#include "devmodel/machine/device_lock.hpp"

#include <optional>

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

namespace escalus {

namespace {

/// The terminal is shared with the shell that started us: settings and flags are put back at the end.
class StdioChar final : public HubBackend {
  public:
    StdioChar(boost::asio::io_context& loop, DeviceLock& device_lock)
        : HubBackend{loop, device_lock, "stdio"},
          input_flags_{::fcntl(STDIN_FILENO, F_GETFL)},
          output_flags_{::fcntl(STDOUT_FILENO, F_GETFL)} {
        if (termios settings{}; ::tcgetattr(STDIN_FILENO, &settings) == 0) {
            saved_ = settings;
            ::cfmakeraw(&settings);
            settings.c_lflag |= ISIG; // Ctrl-C ends us, as it does everything else
            settings.c_oflag |= OPOST;
            ::tcsetattr(STDIN_FILENO, TCSANOW, &settings);
        }
        hub()->attach(::dup(STDIN_FILENO), ::dup(STDOUT_FILENO));
    }
    ~StdioChar() override {
        hub()->close();
        if (saved_)
            ::tcsetattr(STDIN_FILENO, TCSANOW, &*saved_);
        ::fcntl(STDIN_FILENO, F_SETFL, input_flags_);
        ::fcntl(STDOUT_FILENO, F_SETFL, output_flags_);
    }
    StdioChar(const StdioChar&) = delete;
    StdioChar& operator=(const StdioChar&) = delete;

  private:
    int input_flags_, output_flags_;
    std::optional<termios> saved_;
};

} // namespace

std::unique_ptr<CharBackend> make_stdio_char(boost::asio::io_context& loop, DeviceLock& device_lock) {
    return std::make_unique<StdioChar>(loop, device_lock);
}

} // namespace escalus
