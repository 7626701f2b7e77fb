// SPDX-License-Identifier: GPL-2.0-or-later
// `escalus console --vga NAME`: the guest's text screen in this terminal, and this terminal's keys on the
// guest's keyboard. One connection to the control socket carries the screen, a second one the keys.
#include "devmodel/cli/commands.hpp"
#include "devmodel/cli/control_client.hpp"
#include "devmodel/cli/guest_access.hpp"
#include "devmodel/cli/raw_terminal.hpp"
#include "devmodel/cli/terminal_keys.hpp"
#include "devmodel/cli/terminal_screen.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <stdexcept>

#include <boost/json.hpp>
#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

namespace escalus {

namespace {
namespace json = boost::json;

constexpr unsigned pace_ms = 5; // between key events; the keyboard has room for 16 bytes
constexpr std::size_t line_limit = 1 << 20;

/// The requests that type what was typed here.
std::string requests_for(const std::vector<TypedKey>& keys) {
    std::string lines;
    for (const auto& key : keys) {
        json::object request{{"request", "send-key"}, {"pace", pace_ms}};
        if (key.chord.empty())
            request["text"] = key.text;
        else
            request["keys"] = json::array{json::string{key.chord}};
        lines += json::serialize(request) + '\n';
    }
    return lines;
}

void check_terminal() {
    winsize size{};
    if (::isatty(STDIN_FILENO) != 1 || ::isatty(STDOUT_FILENO) != 1)
        throw std::runtime_error(
            "--vga needs a terminal; without one, escalus screenshot --text prints the screen");
    if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != 0 &&
        (size.ws_col < 80 || size.ws_row < 25))
        fmt::print(stderr, "The guest's screen has 80 columns and 25 rows, this terminal {} and {}.\n",
                   size.ws_col, size.ws_row);
}

class VgaConsole {
  public:
    explicit VgaConsole(const FoundGuest& guest) : screen_{guest}, keyboard_{guest} {
        screen_.request("watch-screen");
        line_ = screen_.take_rest();
    }

    void run() {
        const RawTerminal terminal;
        show(TerminalScreen::enter());
        show_lines();
        while (alive_)
            wait();
        show(TerminalScreen::leave());
    }

  private:
    void show(std::string_view bytes) { alive_ = write_all(STDOUT_FILENO, bytes) && alive_; }

    void wait() {
        std::array<pollfd, 3> polls{
            {{screen_.socket(), POLLIN, 0}, {keyboard_.socket(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}}};
        if (::poll(polls.data(), polls.size(), -1) < 0) {
            alive_ = errno == EINTR;
            return;
        }
        if (polls[0].revents != 0)
            receive_screen();
        if (polls[1].revents != 0) { // answers to keys: what cannot be typed is not
            alive_ = ::read(keyboard_.socket(), bytes_.data(), bytes_.size()) > 0 && alive_;
        }
        if (polls[2].revents != 0)
            receive_keys();
    }
    void receive_screen() {
        const ssize_t count = ::read(screen_.socket(), bytes_.data(), bytes_.size());
        if (count <= 0 || line_.size() > line_limit) {
            alive_ = false;
            return;
        }
        line_.append(bytes_.data(), static_cast<std::size_t>(count));
        show_lines();
    }
    void show_lines() {
        for (std::size_t end = 0; (end = line_.find('\n')) != std::string::npos; line_.erase(0, end + 1))
            show(drawing_.draw(std::string_view{line_}.substr(0, end)));
    }
    void receive_keys() {
        const ssize_t count = ::read(STDIN_FILENO, bytes_.data(), bytes_.size());
        const auto typed = typed_keys({bytes_.data(), static_cast<std::size_t>(std::max<ssize_t>(count, 0))});
        alive_ =
            count > 0 && write_all(keyboard_.socket(), requests_for(typed.keys)) && !typed.leave && alive_;
    }

    ControlClient screen_, keyboard_;
    TerminalScreen drawing_;
    std::string line_;
    std::array<char, 65536> bytes_{};
    bool alive_ = true;
};

} // namespace

void attach_vga_console(const std::string& name) {
    check_terminal();
    VgaConsole{running_guest(name)}.run();
    fmt::print(stderr, "Disconnected.\n");
}

} // namespace escalus
