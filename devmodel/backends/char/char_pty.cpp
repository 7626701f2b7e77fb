// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/char/char_backends.hpp"
#include "devmodel/backends/char/char_hub.hpp"
#include "devmodel/machine/device_lock.hpp"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include <fcntl.h>
#include <fmt/format.h>
#include <termios.h>
#include <unistd.h>

namespace escalus {

namespace {

class PtyChar final : public HubBackend {
  public:
    PtyChar(boost::asio::io_context& loop, DeviceLock& device_lock) : HubBackend{loop, device_lock, "pty"} {
        const int master = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
        std::array<char, 64> name{};
        if (master < 0 || ::grantpt(master) != 0 || ::unlockpt(master) != 0 ||
            ::ptsname_r(master, name.data(), name.size()) != 0)
            fail("cannot make a pseudo-terminal", master);
        // Kept open, so that the master does not see a hang-up whenever a viewer leaves.
        slave_ = ::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC);
        termios settings{};
        if (slave_ < 0 || ::tcgetattr(slave_, &settings) != 0)
            fail("cannot open the pseudo-terminal", master);
        ::cfmakeraw(&settings);
        ::tcsetattr(slave_, TCSANOW, &settings);
        describe(name.data());
        hub()->attach(master, ::dup(master));
    }
    ~PtyChar() override { ::close(slave_); }
    PtyChar(const PtyChar&) = delete;
    PtyChar& operator=(const PtyChar&) = delete;

  private:
    [[noreturn]] void fail(const char* what, int master) const {
        const std::string reason = std::strerror(errno);
        for (const int fd : {master, slave_})
            if (fd >= 0)
                ::close(fd);
        throw std::runtime_error{fmt::format("serial: {}: {}", what, reason)};
    }

    int slave_ = -1;
};

} // namespace

std::unique_ptr<CharBackend> make_pty_char(boost::asio::io_context& loop, DeviceLock& device_lock) {
    return std::make_unique<PtyChar>(loop, device_lock);
}

} // namespace escalus
