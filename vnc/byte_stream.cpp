// SPDX-License-Identifier: GPL-2.0-or-later
#include "vnc/byte_stream.hpp"

#include <array>
#include <utility>

#include <boost/asio/write.hpp>

namespace escalus {

namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;

class TcpStream final : public ByteStream, public std::enable_shared_from_this<TcpStream> {
  public:
    explicit TcpStream(tcp::socket socket) : socket_{std::move(socket)} {
        error_code ignored;
        socket_.set_option(tcp::no_delay{true}, ignored);
    }
    void read(ReadHandler handler) override {
        socket_.async_read_some(
            boost::asio::buffer(input_),
            [self = shared_from_this(), handler = std::move(handler)](error_code error, std::size_t size) {
                handler(!error, std::span{self->input_}.first(size));
            });
    }
    void write(std::vector<std::uint8_t> bytes, WriteHandler handler) override {
        output_ = std::move(bytes);
        boost::asio::async_write(socket_, boost::asio::buffer(output_),
                                 [self = shared_from_this(), handler = std::move(handler)](
                                     error_code error, std::size_t) { handler(!error); });
    }
    void close() override {
        error_code ignored;
        socket_.shutdown(tcp::socket::shutdown_both, ignored);
        socket_.close(ignored);
    }

  private:
    tcp::socket socket_;
    std::array<std::uint8_t, 16384> input_{};
    std::vector<std::uint8_t> output_;
};

} // namespace

std::shared_ptr<ByteStream> make_tcp_stream(tcp::socket socket) {
    return std::make_shared<TcpStream>(std::move(socket));
}

} // namespace escalus
