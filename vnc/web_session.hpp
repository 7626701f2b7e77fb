// SPDX-License-Identifier: GPL-2.0-or-later
// A browser's connection (HTTP/1.1 and WebSocket, RFC 6455, by Boost.Beast): serves the files of the web
// page, and becomes a ByteStream when the page opens its WebSocket.
//
// A page from elsewhere, open in the user's browser, could connect to a server on the loopback address too.
// So a WebSocket is only accepted from the origin that this server's own page has.
#pragma once

#include "vnc/byte_stream.hpp"
#include "vnc/web_files.hpp"

#include <functional>
#include <memory>

#include <boost/asio/ip/tcp.hpp>

namespace escalus {

/// `opened` is called when the connection has become a WebSocket (with null when it ended otherwise).
/// The returned function closes the connection. `files` must outlive it.
std::function<void()> start_web_session(boost::asio::ip::tcp::socket socket, const WebFiles& files,
                                        std::function<void(std::shared_ptr<ByteStream>)> opened);

/// "http://host:5901" speaks for "host:5901". An absent origin (no browser) is accepted.
bool same_origin(std::string_view origin, std::string_view host);

} // namespace escalus
