// SPDX-License-Identifier: GPL-2.0-or-later
#include "vnc/web_session.hpp"

#include <chrono>
#include <optional>
#include <utility>

#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>

namespace escalus {

namespace {

namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;
using beast::error_code;
using boost::asio::ip::tcp;

constexpr auto request_time = std::chrono::seconds{60};
constexpr std::size_t max_message = 1 << 20;

class WebSocketStream final : public ByteStream, public std::enable_shared_from_this<WebSocketStream> {
  public:
    explicit WebSocketStream(beast::tcp_stream stream) : socket_{std::move(stream)} {
        // The suggested times: a ping when it is quiet, an end when no answer comes.
        socket_.set_option(websocket::stream_base::timeout::suggested(beast::role_type::server));
        socket_.read_message_max(max_message);
        socket_.binary(true);
    }
    template <typename Handler>
    void accept(const http::request<http::string_body>& request, Handler handler) {
        // Old noVNC names the subprotocol and wants it confirmed.
        if (request[http::field::sec_websocket_protocol].find("binary") != beast::string_view::npos)
            socket_.set_option(websocket::stream_base::decorator{[](websocket::response_type& response) {
                response.set(http::field::sec_websocket_protocol, "binary");
            }});
        socket_.async_accept(request, [self = shared_from_this(),
                                       handler = std::move(handler)](error_code error) { handler(!error); });
    }
    void read(ReadHandler handler) override {
        socket_.async_read_some(
            input_, input_limit,
            [self = shared_from_this(), handler = std::move(handler)](error_code error, std::size_t) {
                const auto data = self->input_.cdata();
                const std::span bytes{static_cast<const std::uint8_t*>(data.data()), data.size()};
                const std::vector<std::uint8_t> copy{bytes.begin(), bytes.end()};
                self->input_.consume(copy.size());
                handler(!error, copy);
            });
    }
    void write(std::vector<std::uint8_t> bytes, WriteHandler handler) override {
        output_ = std::move(bytes);
        socket_.async_write(boost::asio::buffer(output_),
                            [self = shared_from_this(), handler = std::move(handler)](
                                error_code error, std::size_t) { handler(!error); });
    }
    void close() override { beast::get_lowest_layer(socket_).close(); }

  private:
    static constexpr std::size_t input_limit = 16384;
    static constexpr bool compression = false; // what ZRLE and Tight send is compressed already
    websocket::stream<beast::tcp_stream, compression> socket_;
    beast::flat_buffer input_;
    std::vector<std::uint8_t> output_;
};

class WebSession final : public std::enable_shared_from_this<WebSession> {
  public:
    WebSession(tcp::socket socket, const WebFiles& files,
               std::function<void(std::shared_ptr<ByteStream>)> opened)
        : stream_{std::in_place, std::move(socket)}, files_{files}, opened_{std::move(opened)} {}

    void read() {
        request_ = {};
        stream_->expires_after(request_time);
        http::async_read(*stream_, buffer_, request_,
                         [self = shared_from_this()](error_code error, std::size_t) {
                             if (!self->stream_)
                                 return;
                             if (error)
                                 self->end(nullptr);
                             else
                                 self->answer();
                         });
    }
    void close() {
        if (stream_)
            stream_->close();
        if (socket_)
            std::exchange(socket_, nullptr)->close();
        opened_ = nullptr;
    }

  private:
    void end(std::shared_ptr<ByteStream> socket) {
        if (!socket && stream_)
            stream_->close();
        if (const auto opened = std::exchange(opened_, nullptr))
            opened(std::move(socket));
    }

    void answer() {
        if (websocket::is_upgrade(request_)) {
            if (same_origin(request_[http::field::origin], request_[http::field::host]))
                upgrade();
            else
                respond(http::status::forbidden, "text/plain",
                        "The console's WebSocket may only be opened by its own page.\n");
            return;
        }
        if (request_.method() != http::verb::get && request_.method() != http::verb::head) {
            respond(http::status::method_not_allowed, "text/plain", "Only GET and HEAD are served here.\n");
            return;
        }
        const auto target = std::string_view{request_.target().data(), request_.target().size()};
        if (target == "/") {
            respond(http::status::found, "text/plain", "The console is at /vnc.html.\n", "/vnc.html");
        } else if (const auto* file = files_.find(target)) {
            respond(http::status::ok, file->type, file->content);
        } else {
            respond(http::status::not_found, "text/plain", "There is no such file.\n");
        }
    }

    void respond(http::status status, const std::string& type, std::string body,
                 const std::string& location = {}) {
        auto response = std::make_shared<http::response<http::string_body>>(status, request_.version());
        response->set(http::field::content_type, type);
        response->set(http::field::cache_control, "no-cache");
        response->set("X-Content-Type-Options", "nosniff");
        if (!location.empty())
            response->set(http::field::location, location);
        response->keep_alive(request_.keep_alive());
        const bool head = request_.method() == http::verb::head;
        response->content_length(body.size());
        if (!head)
            response->body() = std::move(body);
        auto serializer = std::make_shared<http::serializer<false, http::string_body>>(*response);
        const auto written = [self = shared_from_this(), response, serializer](error_code error,
                                                                               std::size_t) {
            if (!self->opened_)
                return;
            if (error || !response->keep_alive())
                self->end(nullptr);
            else
                self->read();
        };
        stream_->expires_after(request_time);
        if (head)
            http::async_write_header(*stream_, *serializer, written);
        else
            http::async_write(*stream_, *serializer, written);
    }

    void upgrade() {
        stream_->expires_never();
        socket_ = std::make_shared<WebSocketStream>(std::move(*stream_));
        stream_.reset();
        socket_->accept(request_, [self = shared_from_this()](bool ok) {
            auto socket = std::exchange(self->socket_, nullptr);
            self->end(ok ? std::move(socket) : nullptr);
        });
    }

    std::optional<beast::tcp_stream> stream_; // gone once the connection is a WebSocket
    std::shared_ptr<WebSocketStream> socket_; // while the upgrade is under way
    const WebFiles& files_;
    std::function<void(std::shared_ptr<ByteStream>)> opened_;
    beast::flat_buffer buffer_{65536};
    http::request<http::string_body> request_;
};

} // namespace

bool same_origin(std::string_view origin, std::string_view host) {
    if (origin.empty())
        return true;
    const auto scheme = origin.find("://");
    return scheme != std::string_view::npos && origin.substr(scheme + 3) == host;
}

std::function<void()> start_web_session(tcp::socket socket, const WebFiles& files,
                                        std::function<void(std::shared_ptr<ByteStream>)> opened) {
    auto session = std::make_shared<WebSession>(std::move(socket), files, std::move(opened));
    session->read();
    return [weak = std::weak_ptr{session}] {
        if (const auto alive = weak.lock())
            alive->close();
    };
}

} // namespace escalus
