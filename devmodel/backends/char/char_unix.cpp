// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/char/char_backends.hpp"
#include "devmodel/backends/char/char_hub.hpp"
#include "devmodel/machine/device_lock.hpp"

#include <stdexcept>

#include <boost/asio/local/stream_protocol.hpp>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace escalus {

namespace {

using boost::asio::local::stream_protocol;

constexpr std::size_t most_clients = 16;

/// Accepts on the loop, and outlives the backend while an accept is under way.
class Listener final : public std::enable_shared_from_this<Listener> {
  public:
    Listener(boost::asio::io_context& loop, const std::string& path) : acceptor_{loop} {
        struct stat there {};
        if (::lstat(path.c_str(), &there) == 0) {
            if (!S_ISSOCK(there.st_mode))
                throw std::runtime_error{fmt::format("serial: {} exists and is not a socket", path)};
            boost::system::error_code error;
            stream_protocol::socket probe{loop};
            probe.connect(endpoint(path), error);
            if (!error)
                throw std::runtime_error{fmt::format("serial: {} belongs to a running process", path)};
            ::unlink(path.c_str());
        }
        boost::system::error_code error;
        acceptor_.open(stream_protocol{}, error);
        if (!error)
            acceptor_.bind(endpoint(path), error);
        if (!error && ::chmod(path.c_str(), S_IRUSR | S_IWUSR) != 0)
            error.assign(errno, boost::system::system_category());
        if (!error)
            acceptor_.listen(boost::asio::socket_base::max_listen_connections, error);
        if (error)
            throw std::runtime_error{fmt::format("serial: cannot listen on {}: {}", path, error.message())};
    }

    void accept_into(const std::shared_ptr<CharHub>& hub) {
        acceptor_.async_accept([self = shared_from_this(), weak = std::weak_ptr{hub}](
                                   const boost::system::error_code& error, stream_protocol::socket socket) {
            const auto target = weak.lock();
            if (!target || target->closed() || error == boost::asio::error::operation_aborted)
                return;
            if (!error)
                self->attach(*target, std::move(socket));
            self->accept_into(target);
        });
    }
    void close() {
        boost::system::error_code ignored;
        acceptor_.close(ignored);
    }

  private:
    static stream_protocol::endpoint endpoint(const std::string& path) {
        try {
            return stream_protocol::endpoint{path};
        } catch (const boost::system::system_error&) { // longer than sockaddr_un has room for
            throw std::runtime_error{fmt::format("serial: the socket path {} is too long", path)};
        }
    }
    void attach(CharHub& hub, stream_protocol::socket socket) {
        if (hub.connection_count() >= most_clients)
            return; // closes it
        boost::system::error_code error;
        const int input = socket.release(error);
        if (error)
            return;
        const int output = ::dup(input);
        hub.attach(input, output);
    }

    stream_protocol::acceptor acceptor_;
};

class UnixChar final : public HubBackend {
  public:
    UnixChar(boost::asio::io_context& loop, DeviceLock& device_lock, const std::string& path)
        : HubBackend{loop, device_lock, path}, listener_{std::make_shared<Listener>(loop, path)} {
        listener_->accept_into(hub());
    }
    ~UnixChar() override {
        listener_->close();
        ::unlink(description().c_str());
    }
    UnixChar(const UnixChar&) = delete;
    UnixChar& operator=(const UnixChar&) = delete;

  private:
    std::shared_ptr<Listener> listener_;
};

} // namespace

std::unique_ptr<CharBackend> make_unix_char(boost::asio::io_context& loop, DeviceLock& device_lock,
                                            const std::string& path) {
    return std::make_unique<UnixChar>(loop, device_lock, path);
}

} // namespace escalus
