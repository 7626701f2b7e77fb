// SPDX-License-Identifier: GPL-2.0-or-later
// Asks a running guest's control socket (control_server.hpp).
#pragma once

#include "devmodel/cli/runtime_directory.hpp"

#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>

#include <boost/json/fwd.hpp>

namespace escalus {

/// The guest does not answer, or said no; what() says what for the user.
class ControlError : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

class ControlClient {
  public:
    explicit ControlClient(const FoundGuest& guest);
    ~ControlClient();
    ControlClient(const ControlClient&) = delete;
    ControlClient& operator=(const ControlClient&) = delete;

    /// The reply to `{"request": NAME, ...arguments}`. A limit of zero waits for as long as the guest lives.
    boost::json::object request(std::string_view name, boost::json::object arguments,
                                std::chrono::milliseconds limit = std::chrono::seconds{10});
    boost::json::object request(std::string_view name);
    /// A request along with which the other side gets a copy of an open descriptor.
    boost::json::object request_with(int descriptor, std::string_view name, boost::json::object arguments);

    /// The connection itself, for what follows a reply; and what of that was read with the reply already.
    [[nodiscard]] int socket() const { return socket_; }
    [[nodiscard]] std::string take_rest() { return std::exchange(buffer_, {}); }

  private:
    void send(std::string_view bytes, int descriptor);
    boost::json::object reply_to_last(std::chrono::milliseconds limit);
    [[nodiscard]] std::string read_line(std::chrono::milliseconds limit);

    std::string name_;
    int socket_ = -1;
    std::string buffer_;
};

/// A Unix socket at `path`, connected; -1 with errno when it cannot be.
[[nodiscard]] int connect_unix(const std::filesystem::path& path);

} // namespace escalus
