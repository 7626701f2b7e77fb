// SPDX-License-Identifier: GPL-2.0-or-later
// A connection that bytes go through both ways: a plain TCP connection, or a WebSocket. One read and one
// write at a time. Handlers run on the loop, never from within the call; after close() they come with ok ==
// false.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include <boost/asio/ip/tcp.hpp>

namespace escalus {

class ByteStream {
  public:
    using ReadHandler = std::function<void(bool ok, std::span<const std::uint8_t> bytes)>;
    using WriteHandler = std::function<void(bool ok)>;

    virtual ~ByteStream() = default;
    virtual void read(ReadHandler handler) = 0;
    virtual void write(std::vector<std::uint8_t> bytes, WriteHandler handler) = 0;
    virtual void close() = 0;
};

std::shared_ptr<ByteStream> make_tcp_stream(boost::asio::ip::tcp::socket socket);

} // namespace escalus
