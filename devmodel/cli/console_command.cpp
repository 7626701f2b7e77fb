// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/cli/commands.hpp"
#include "devmodel/cli/control_client.hpp"
#include "devmodel/cli/guest_access.hpp"
#include "devmodel/cli/raw_terminal.hpp"

#include <array>
#include <cerrno>

#include <boost/json.hpp>
#include <boost/program_options.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <system_error>
#include <termios.h>
#include <unistd.h>

namespace escalus {
namespace {

constexpr char leave_key = 0x1d; // Ctrl-]

int open_port(const std::string& path) {
    struct stat status {};
    int fd = -1;
    const bool there = ::stat(path.c_str(), &status) == 0;
    if (there && S_ISREG(status.st_mode))
        throw std::runtime_error(fmt::format("the serial port goes to the file {}; read it there", path));
    if (there && S_ISSOCK(status.st_mode)) {
        fd = connect_unix(path);
    } else {
        fd = ::open(path.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
        termios raw{};
        if (fd >= 0 && ::tcgetattr(fd, &raw) == 0) { // a pty: bytes as they are
            ::cfmakeraw(&raw);
            ::tcsetattr(fd, TCSANOW, &raw);
        }
    }
    if (fd < 0)
        throw std::runtime_error(fmt::format("the serial port {} cannot be opened: {}", path,
                                             std::generic_category().message(errno)));
    return fd;
}

/// What the user types goes to the port, up to the key that leaves; false then, or when the port is gone.
bool pass_input(int port, std::string_view typed, bool keys) {
    const auto leave = keys ? typed.find(leave_key) : std::string_view::npos;
    return write_all(port, typed.substr(0, leave)) && leave == std::string_view::npos;
}

} // namespace

bool attach_console(const std::string& path) {
    const int port = open_port(path);
    bool left = false;
    {
        const RawTerminal terminal;
        // Said once every key goes to the guest, and not to this terminal's line editing.
        if (terminal.active())
            fmt::print(stderr, "Connected to the serial port; Ctrl-] leaves.\r\n");
        std::array<pollfd, 2> polls{{{port, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}}};
        std::array<char, 4096> bytes{};
        for (;;) {
            if (::poll(polls.data(), polls.size(), -1) < 0 && errno != EINTR)
                break;
            if (polls[0].revents != 0) {
                const ssize_t count = ::read(port, bytes.data(), bytes.size());
                if (count <= 0 || !write_all(STDOUT_FILENO, {bytes.data(), static_cast<std::size_t>(count)}))
                    break;
            }
            if (polls[1].revents != 0) {
                const ssize_t count = ::read(STDIN_FILENO, bytes.data(), bytes.size());
                if (count <= 0)
                    polls[1].fd = -1; // a script's input ended: go on showing what comes
                else if (!pass_input(port, {bytes.data(), static_cast<std::size_t>(count)},
                                     terminal.active())) {
                    left = true;
                    break;
                }
            }
        }
    }
    ::close(port);
    if (::isatty(STDIN_FILENO) == 1)
        fmt::print(stderr, "\nDisconnected.\n");
    return left;
}

void console_options(boost::program_options::options_description_easy_init add) {
    add("serial,s", boost::program_options::value<unsigned>()->value_name("PORT"),
        "which port: 1 is COM1 (the default)");
    add("vga,v", "the screen in text mode and the keyboard instead");
}

std::string serial_path_of(const std::string& guest, unsigned port) {
    const boost::json::object info = ControlClient{running_guest(guest)}.request("info");
    const auto& ports = info.at("serial").as_array();
    if (port == 0 || port > ports.size() || ports[port - 1].as_string().empty())
        throw std::runtime_error(
            fmt::format("the guest {} has no terminal at COM{}: write serial = 'unix' or "
                        "serial = 'pty' in its domain file",
                        guest, port));
    return std::string{ports[port - 1].as_string()};
}

int run_console(const Invocation& invocation) {
    if (invocation.flag("vga")) {
        if (invocation.flag("serial"))
            throw UsageError("--vga and --serial exclude each other");
        attach_vga_console(invocation.arguments[0]);
        return exit_ok;
    }
    const unsigned port = invocation.flag("serial") ? invocation.options["serial"].as<unsigned>() : 1;
    attach_console(serial_path_of(invocation.arguments[0], port));
    return exit_ok;
}

} // namespace escalus
