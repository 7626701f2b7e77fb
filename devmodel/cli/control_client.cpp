// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/cli/control_client.hpp"

#include <array>
#include <cerrno>
#include <cstring>

#include <boost/json.hpp>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <system_error>
#include <unistd.h>

namespace escalus {
namespace {

constexpr std::size_t reply_max = 64 << 20; // a screenshot in base64

}

int connect_unix(const std::filesystem::path& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string text = path;
    if (text.size() >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    std::memcpy(address.sun_path, text.c_str(), text.size() + 1);
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): the sockets interface
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        const int error = errno;
        ::close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

ControlClient::ControlClient(const FoundGuest& guest)
    : name_{guest.name}, socket_{connect_unix(guest.path / "control")} {
    if (socket_ < 0)
        throw ControlError(fmt::format("the guest {} cannot be reached: {}{}", name_,
                                       std::generic_category().message(errno),
                                       errno == EACCES ? "; run escalus as root" : ""));
}

ControlClient::~ControlClient() {
    ::close(socket_);
}

std::string ControlClient::read_line(std::chrono::milliseconds limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    for (;;) {
        if (const auto newline = buffer_.find('\n'); newline != std::string::npos) {
            std::string line = buffer_.substr(0, newline);
            buffer_.erase(0, newline + 1);
            return line;
        }
        int wait = -1;
        if (limit.count() != 0)
            wait = static_cast<int>(std::max<std::int64_t>(
                0, std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now())
                       .count()));
        pollfd poll{socket_, POLLIN, 0};
        const int ready = ::poll(&poll, 1, wait);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready == 0)
            throw ControlError(fmt::format("the guest {} does not answer", name_));
        std::array<char, 65536> bytes{};
        const ssize_t count = ::recv(socket_, bytes.data(), bytes.size(), 0);
        if (count <= 0 || buffer_.size() > reply_max)
            throw ControlError(fmt::format("the guest {} ended before it answered", name_));
        buffer_.append(bytes.data(), static_cast<std::size_t>(count));
    }
}

/// The descriptor (or -1) goes with the first byte.
void ControlClient::send(std::string_view bytes, int descriptor) {
    while (!bytes.empty()) {
        iovec piece{const_cast<char*>(bytes.data()), bytes.size()}; // NOLINT: it is only read
        msghdr message{};
        message.msg_iov = &piece;
        message.msg_iovlen = 1;
        alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> ancillary{};
        if (descriptor >= 0) {
            message.msg_control = ancillary.data();
            message.msg_controllen = ancillary.size();
            auto* part = CMSG_FIRSTHDR(&message);
            part->cmsg_level = SOL_SOCKET;
            part->cmsg_type = SCM_RIGHTS;
            part->cmsg_len = CMSG_LEN(sizeof(int));
            std::memcpy(CMSG_DATA(part), &descriptor, sizeof descriptor);
        }
        const ssize_t count = ::sendmsg(socket_, &message, MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            throw ControlError(fmt::format("the guest {} ended before it answered", name_));
        descriptor = -1;
        bytes.remove_prefix(static_cast<std::size_t>(count));
    }
}

boost::json::object ControlClient::request(std::string_view name, boost::json::object arguments,
                                           std::chrono::milliseconds limit) {
    arguments["request"] = name;
    send(boost::json::serialize(arguments) + '\n', -1);
    return reply_to_last(limit);
}

boost::json::object ControlClient::request_with(int descriptor, std::string_view name,
                                                boost::json::object arguments) {
    arguments["request"] = name;
    send(boost::json::serialize(arguments) + '\n', descriptor);
    return reply_to_last(std::chrono::seconds{10});
}

boost::json::object ControlClient::reply_to_last(std::chrono::milliseconds limit) {
    boost::system::error_code error;
    const auto reply = boost::json::parse(read_line(limit), error);
    const auto* object = error ? nullptr : reply.if_object();
    if (object == nullptr)
        throw ControlError(fmt::format("the guest {} gave an answer that cannot be read", name_));
    const auto* ok = object->if_contains("ok");
    if (ok != nullptr && ok->is_bool() && ok->get_bool())
        return *object;
    const auto* problem = object->if_contains("message");
    throw ControlError(problem != nullptr && problem->is_string() ? std::string{problem->get_string()}
                                                                  : "the guest refused");
}

boost::json::object ControlClient::request(std::string_view name) {
    return request(name, {});
}

} // namespace escalus
