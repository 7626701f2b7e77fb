// SPDX-License-Identifier: GPL-2.0-or-later
#include "vnc/vnc_server.hpp"

#include "vnc/rfb_screen.hpp"
#include "vnc/viewer.hpp"
#include "vnc/web_session.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <list>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <fmt/format.h>

namespace escalus {

namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;
using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds refresh_period{33};
// A VNC viewer waits for the server to speak first, a browser speaks. This is how long the server waits to
// see.
constexpr milliseconds sniff_time{250};
constexpr milliseconds first_penalty{250}, last_penalty{8000}; // after wrong passwords
constexpr std::size_t max_connections = 64;
constexpr unsigned first_port = 5900, ports_to_try = 100;

tcp::endpoint endpoint_of(boost::asio::io_context& loop, const std::string& listen) {
    if (listen.empty())
        return {boost::asio::ip::address_v4::loopback(), 0};
    error_code error;
    if (const auto address = boost::asio::ip::make_address(listen, error); !error)
        return {address, 0};
    tcp::resolver resolver{loop};
    const auto found = resolver.resolve(listen, "", error);
    if (error || found.empty())
        throw VncError{fmt::format("vnclisten: '{}' is neither an address nor the name of one: {}", listen,
                                   error.message())};
    return found.begin()->endpoint();
}

tcp::acceptor listen_on(boost::asio::io_context& loop, const tcp::endpoint& endpoint, error_code& error) {
    tcp::acceptor acceptor{loop};
    const auto step = [&](auto&& action) {
        if (!error)
            action();
    };
    error = {};
    acceptor.open(endpoint.protocol(), error);
    step([&] { acceptor.set_option(tcp::acceptor::reuse_address{true}, error); });
    step([&] { acceptor.bind(endpoint, error); });
    step([&] { acceptor.listen(boost::asio::socket_base::max_listen_connections, error); });
    return acceptor;
}

tcp::acceptor listen(boost::asio::io_context& loop, const VncOptions& options) {
    auto endpoint = endpoint_of(loop, options.config.listen);
    const unsigned wanted = options.port ? *options.port : first_port + options.config.display.value_or(0);
    if (wanted > 0xffff)
        throw VncError{fmt::format("vncdisplay: there is no display {}", options.config.display.value_or(0))};
    const bool search = !options.port && options.config.find_unused;
    const unsigned last = search ? std::min(wanted + ports_to_try, 0xffffu) : wanted;
    for (unsigned port = wanted;; ++port) {
        endpoint.port(static_cast<std::uint16_t>(port));
        error_code error;
        auto acceptor = listen_on(loop, endpoint, error);
        if (!error)
            return acceptor;
        const auto where = fmt::format("{}:{}", endpoint.address().to_string(), port);
        if (error != boost::asio::error::address_in_use)
            throw VncError{fmt::format("cannot listen for VNC on {}: {}", where, error.message())};
        if (port < last)
            continue;
        if (search)
            throw VncPortTaken{fmt::format("all ports for VNC from {} to {} are taken on {}", wanted, last,
                                           endpoint.address().to_string())};
        throw VncPortTaken{fmt::format("the port for VNC, {}, is taken by another program: choose another "
                                       "(vncdisplay) or let a free one be found (vncunused = 1)",
                                       where)};
    }
}

} // namespace

class VncServer::Impl final : public ViewerHost, public std::enable_shared_from_this<VncServer::Impl> {
  public:
    Impl(boost::asio::io_context& loop, Display& display, KeyboardSink& keyboard, PointerSink& pointer,
         DeviceLock& lock, const VncOptions& options)
        : loop_{loop},
          display_{display},
          keyboard_{keyboard},
          pointer_{pointer},
          lock_{lock},
          keymap_{options.config.keymap},
          files_{options.web_root},
          screen_{options.name, options.config.password},
          acceptor_{listen(loop, options)},
          refresh_timer_{loop} {}

    void accept() {
        acceptor_.async_accept([weak = weak_from_this()](error_code error, tcp::socket socket) {
            const auto self = weak.lock();
            if (!self || error == boost::asio::error::operation_aborted)
                return;
            if (!error && self->connections_.size() < max_connections)
                self->sniff(std::move(socket));
            if (error) // out of descriptors, say: not at once again
                self->accept_later();
            else
                self->accept();
        });
    }
    void shut_down() {
        error_code ignored;
        acceptor_.close(ignored);
        refresh_timer_.cancel();
        while (!connections_.empty()) {
            const auto connection = connections_.front();
            connections_.pop_front();
            connection->end();
        }
    }

    [[nodiscard]] tcp::endpoint endpoint() const { return acceptor_.local_endpoint(); }
    [[nodiscard]] bool has_web_page() const { return files_.find("/vnc.html") != nullptr; }
    [[nodiscard]] unsigned viewers() const {
        return static_cast<unsigned>(std::ranges::count_if(
            connections_, [](const auto& c) { return c->viewer && c->viewer->connected(); }));
    }

    [[nodiscard]] std::size_t buffered_bytes() const {
        std::size_t sum = 0;
        for (const auto& connection : connections_)
            sum += connection->viewer ? connection->viewer->buffered() : 0;
        return sum;
    }

    // ViewerHost
    _rfbScreenInfo& screen() override { return *screen_.get(); }
    void refresh_now() override {
        std::vector<Rect> changed;
        {
            const std::lock_guard guard{lock_};
            changed = display_.refresh(screen_.picture());
        }
        screen_.drawn(changed);
        refreshed_ = SteadyClock::now();
    }
    void viewer_waits() override {
        if (std::exchange(refresh_planned_, true))
            return;
        refresh_timer_.expires_at(refreshed_ + refresh_period);
        refresh_timer_.async_wait([weak = weak_from_this()](error_code error) {
            const auto self = weak.lock();
            if (self && !error)
                self->refresh();
        });
    }
    void authentication(bool passed) override {
        penalty_ = passed ? milliseconds{} : std::clamp(penalty_ * 2, first_penalty, last_penalty);
    }
    void viewer_gone(Viewer& viewer) override {
        connections_.remove_if([&](const auto& c) { return c->viewer.get() == &viewer; });
    }

  private:
    /// From the accepted socket to the viewer or browser that it turns out to be.
    struct Connection {
        explicit Connection(tcp::socket accepted)
            : socket{std::move(accepted)}, timer{socket.get_executor()} {}
        void end() {
            error_code ignored;
            timer.cancel();
            socket.close(ignored);
            if (close_web)
                std::exchange(close_web, nullptr)();
            if (const auto v = std::exchange(viewer, nullptr))
                v->close();
        }
        tcp::socket socket;
        boost::asio::steady_timer timer;
        std::function<void()> close_web;
        std::shared_ptr<Viewer> viewer;
    };

    void accept_later() {
        accept_timer_ = std::make_unique<boost::asio::steady_timer>(loop_, milliseconds{200});
        accept_timer_->async_wait([weak = weak_from_this()](error_code error) {
            const auto self = weak.lock();
            if (self && !error)
                self->accept();
        });
    }

    void sniff(tcp::socket socket) {
        error_code error;
        socket.non_blocking(true, error);
        auto connection = connections_.emplace_back(std::make_shared<Connection>(std::move(socket)));
        await_first_byte(connection);
        connection->timer.expires_after(std::max(sniff_time, penalty_));
        connection->timer.async_wait([weak = weak_from_this(), connection](error_code cancelled) {
            const auto self = weak.lock();
            if (!self || cancelled || !connection->socket.is_open())
                return;
            error_code ignored;
            connection->socket.cancel(ignored);
            self->view(connection, make_tcp_stream(std::move(connection->socket)));
        });
    }

    void await_first_byte(const std::shared_ptr<Connection>& connection) {
        const auto ready = [weak = weak_from_this(), connection](error_code failed) {
            const auto self = weak.lock();
            if (!self || failed || !connection->socket.is_open()) // the timer was first
                return;
            std::array<char, 1> first{};
            error_code nothing;
            const auto n =
                connection->socket.receive(boost::asio::buffer(first), tcp::socket::message_peek, nothing);
            // Asio may wake us for an event of the socket that had this number before.
            if (nothing == boost::asio::error::would_block)
                return self->await_first_byte(connection);
            connection->timer.cancel();
            if (nothing || n == 0)
                self->drop(connection);
            else if (first[0] == 'R')
                self->view(connection, make_tcp_stream(std::move(connection->socket)));
            else
                self->browse(connection);
        };
        connection->socket.async_wait(tcp::socket::wait_read, ready);
    }

    void drop(const std::shared_ptr<Connection>& connection) {
        connections_.remove(connection);
        connection->end();
    }

    void browse(const std::shared_ptr<Connection>& connection) {
        const auto opened = [weak = weak_from_this(),
                             held = std::weak_ptr{connection}](std::shared_ptr<ByteStream> stream) {
            const auto self = weak.lock();
            const auto alive = held.lock();
            if (!self || !alive)
                return;
            alive->close_web = nullptr;
            if (stream)
                self->view(alive, std::move(stream));
            else
                self->drop(alive);
        };
        connection->close_web = start_web_session(std::move(connection->socket), files_, opened);
    }

    void view(const std::shared_ptr<Connection>& connection, std::shared_ptr<ByteStream> stream) {
        connection->viewer = std::make_shared<Viewer>(std::move(stream), loop_.get_executor(), *this,
                                                      ViewerInput{keyboard_, pointer_, lock_, keymap_});
        connection->viewer->start();
    }

    void refresh() {
        refresh_planned_ = false;
        std::vector<std::shared_ptr<Viewer>> waiting;
        for (const auto& connection : connections_)
            if (connection->viewer && connection->viewer->waiting())
                waiting.push_back(connection->viewer);
        if (waiting.empty())
            return;
        refresh_now();
        for (const auto& viewer : waiting)
            viewer->pump();
        if (std::ranges::any_of(waiting, [](const auto& viewer) { return viewer->waiting(); }))
            viewer_waits();
    }

    boost::asio::io_context& loop_;
    Display& display_;
    KeyboardSink& keyboard_;
    PointerSink& pointer_;
    DeviceLock& lock_;
    KeysymMap keymap_;
    WebFiles files_;
    RfbScreen screen_;
    tcp::acceptor acceptor_;
    boost::asio::steady_timer refresh_timer_;
    std::unique_ptr<boost::asio::steady_timer> accept_timer_;
    bool refresh_planned_ = false;
    SteadyClock::time_point refreshed_{};
    milliseconds penalty_{};
    std::list<std::shared_ptr<Connection>> connections_;
};

VncServer::VncServer(boost::asio::io_context& loop, Display& display, KeyboardSink& keyboard,
                     PointerSink& pointer, DeviceLock& lock, const VncOptions& options)
    : impl_{std::make_shared<Impl>(loop, display, keyboard, pointer, lock, options)} {
    impl_->accept();
}

VncServer::~VncServer() {
    impl_->shut_down();
}

std::uint16_t VncServer::port() const {
    return impl_->endpoint().port();
}

std::string VncServer::address() const {
    const auto endpoint = impl_->endpoint();
    const auto address = endpoint.address().to_string();
    return fmt::format(fmt::runtime(endpoint.address().is_v6() ? "[{}]:{}" : "{}:{}"), address,
                       endpoint.port());
}

std::string VncServer::web_address() const {
    if (!impl_->has_web_page())
        return {};
    // Where it listens on every address, this one will do.
    const auto endpoint = impl_->endpoint();
    const auto host =
        endpoint.address().is_unspecified() ? fmt::format("localhost:{}", endpoint.port()) : address();
    return fmt::format("http://{}/vnc.html", host);
}

unsigned VncServer::viewers() const {
    return impl_->viewers();
}

std::size_t VncServer::buffered_bytes() const {
    return impl_->buffered_bytes();
}

} // namespace escalus
