// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/unit/vnc/rfb_client.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <rfb/rfb.h>
#include <sys/socket.h>
#include <unistd.h>

namespace escalus {

TestSocket::TestSocket(std::uint16_t port, int receive_buffer) : fd_{::socket(AF_INET, SOCK_STREAM, 0)} {
    if (receive_buffer != 0)
        ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    const timeval patience{5, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
        throw RfbEnd{"connect"};
}

TestSocket::~TestSocket() {
    ::close(fd_);
}

void TestSocket::send(std::span<const std::uint8_t> bytes) {
    if (::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size()))
        throw RfbEnd{"send"};
}

void TestSocket::send(std::string_view text) {
    send(std::vector<std::uint8_t>{text.begin(), text.end()});
}

std::vector<std::uint8_t> TestSocket::receive(std::size_t size) {
    std::vector<std::uint8_t> bytes(size);
    for (std::size_t have = 0; have < size;) {
        const auto n = ::recv(fd_, bytes.data() + have, size - have, 0);
        if (n <= 0)
            throw RfbEnd{n == 0 ? "closed" : "nothing came"};
        have += static_cast<std::size_t>(n);
    }
    return bytes;
}

std::string TestSocket::receive_until(std::string_view end) {
    std::string text;
    while (!text.ends_with(end))
        text += static_cast<char>(receive(1)[0]);
    return text;
}

bool TestSocket::readable(int milliseconds) {
    pollfd p{fd_, POLLIN, 0};
    return ::poll(&p, 1, milliseconds) > 0;
}

std::uint32_t RfbClient::be(unsigned size) {
    std::uint32_t value = 0;
    for (auto b : receive(size))
        value = value << 8 | b;
    return value;
}

std::vector<std::uint8_t> RfbClient::greet() {
    const auto version = receive(12);
    if (std::memcmp(version.data(), "RFB 003.008\n", 12) != 0)
        throw RfbEnd{"version"};
    send_bytes(version);
    return receive(be(1));
}

std::uint32_t RfbClient::handshake(std::string_view password) {
    const auto types = greet();
    const std::uint8_t type = password.empty() ? 1 : 2;
    if (std::ranges::find(types, type) == types.end())
        throw RfbEnd{"security type"};
    send(Message{}.u8(type));
    if (type == 2) {
        auto challenge = receive(16);
        std::string word{password};
        rfbEncryptBytes(challenge.data(), word.data());
        send_bytes(challenge);
    }
    if (const auto result = be(4); result != 0) {
        const auto text = receive(be(4));
        reason.assign(text.begin(), text.end());
        return result;
    }
    send(Message{}.u8(0)); // not shared: the server shares all the same
    width = be(2);
    height = be(2);
    receive(16);
    const auto text = receive(be(4));
    name.assign(text.begin(), text.end());
    pixels.assign(std::size_t{width} * height, 0);
    return 0;
}

void RfbClient::set_encodings(std::initializer_list<std::int32_t> encodings) {
    Message m;
    m.u8(2).u8(0).u16(static_cast<unsigned>(encodings.size()));
    for (auto e : encodings)
        m.u32(static_cast<std::uint32_t>(e));
    send(m);
}

void RfbClient::request(bool incremental) {
    request(incremental, 0, 0, width, height);
}

void RfbClient::request(bool incremental, unsigned x, unsigned y, unsigned w, unsigned h) {
    send(Message{}.u8(3).u8(incremental).u16(x).u16(y).u16(w).u16(h));
}

std::vector<std::int32_t> RfbClient::update() {
    if (be(1) != 0)
        throw RfbEnd{"not an update"};
    be(1);
    std::vector<std::int32_t> encodings;
    for (auto rects = be(2); rects > 0; --rects) {
        const auto x = be(2), y = be(2), w = be(2), h = be(2);
        encodings.push_back(static_cast<std::int32_t>(be(4)));
        switch (encodings.back()) {
        case raw: {
            const auto data = receive(std::size_t{w} * h * 4);
            for (unsigned row = 0; row < h; ++row)
                std::memcpy(&pixels.at(std::size_t{y + row} * width + x), &data[std::size_t{row} * w * 4],
                            std::size_t{w} * 4);
            break;
        }
        case extended_size:
            receive(std::size_t{be(1)} * 16 + 3);
            [[fallthrough]];
        case new_size:
            width = w;
            height = h;
            pixels.assign(std::size_t{w} * h, 0);
            break;
        default:
            break;
        }
    }
    return encodings;
}

bool RfbClient::updates_until(const std::vector<std::uint32_t>& wanted) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{20};
    while (pixels != wanted) {
        if (std::chrono::steady_clock::now() > end || !socket.readable(5000))
            return false;
        update();
    }
    return true;
}

std::string WebRfbClient::upgrade(const std::string& host, const std::string& origin) {
    socket.send("GET /websockify HTTP/1.1\r\nHost: " + host + "\r\nOrigin: " + origin +
                "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Protocol: binary\r\n\r\n");
    return socket.receive_until("\r\n\r\n");
}

void WebRfbClient::send_bytes(std::span<const std::uint8_t> bytes) {
    const std::array<std::uint8_t, 4> mask{1, 2, 3, 4};
    Message frame;
    frame.u8(0x82).u8(0x80 | static_cast<unsigned>(bytes.size())); // short ones only
    for (auto m : mask)
        frame.u8(m);
    for (std::size_t i = 0; i < bytes.size(); ++i)
        frame.u8(bytes[i] ^ mask[i % 4]);
    socket.send(frame.bytes);
}

std::vector<std::uint8_t> WebRfbClient::receive(std::size_t size) {
    while (payload_.size() < size) {
        const auto head = socket.receive(2);
        std::uint64_t length = head[1] & 0x7f;
        if (length >= 126) {
            const auto bytes = socket.receive(length == 126 ? 2 : 8);
            length = 0;
            for (auto b : bytes)
                length = length << 8 | b;
        }
        const auto data = socket.receive(length);
        if ((head[0] & 0xf) <= 2)
            payload_.insert(payload_.end(), data.begin(), data.end());
    }
    const auto end = payload_.begin() + static_cast<std::ptrdiff_t>(size);
    std::vector<std::uint8_t> result{payload_.begin(), end};
    payload_.erase(payload_.begin(), end);
    return result;
}

} // namespace escalus
