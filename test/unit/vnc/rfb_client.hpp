// SPDX-License-Identifier: GPL-2.0-or-later
// A small VNC viewer on a blocking socket, for tests: RFB 3.8, raw encoding.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace escalus {

/// The peer closed, or said nothing for five seconds.
struct RfbEnd : std::runtime_error {
    using std::runtime_error::runtime_error;
};

class TestSocket {
  public:
    explicit TestSocket(std::uint16_t port, int receive_buffer = 0);
    ~TestSocket();
    TestSocket(const TestSocket&) = delete;
    TestSocket& operator=(const TestSocket&) = delete;

    void send(std::span<const std::uint8_t> bytes);
    void send(std::string_view text);
    std::vector<std::uint8_t> receive(std::size_t size);
    std::string receive_until(std::string_view end);
    /// Whether something comes within this time.
    bool readable(int milliseconds);

  private:
    int fd_;
};

/// Bytes, big-endian.
class Message {
  public:
    Message& u8(unsigned v) {
        bytes.push_back(static_cast<std::uint8_t>(v));
        return *this;
    }
    Message& u16(unsigned v) { return u8(v >> 8).u8(v & 0xff); }
    Message& u32(std::uint32_t v) { return u16(v >> 16).u16(v & 0xffff); }
    std::vector<std::uint8_t> bytes;
};

class RfbClient {
  public:
    static constexpr std::int32_t raw = 0, new_size = -223, extended_size = -308, extended_keys = -258;

    explicit RfbClient(std::uint16_t port, int receive_buffer = 0) : socket{port, receive_buffer} {}
    virtual ~RfbClient() = default;

    /// Up to the choice of security; returns the types offered.
    std::vector<std::uint8_t> greet();
    /// The whole handshake; the security result is 0 when all went well.
    std::uint32_t handshake(std::string_view password = {});
    void set_encodings(std::initializer_list<std::int32_t> encodings);
    void request(bool incremental);
    void request(bool incremental, unsigned x, unsigned y, unsigned w, unsigned h);
    /// Receives one FramebufferUpdate into `pixels`; returns the encodings in it.
    std::vector<std::int32_t> update();
    /// Updates until `pixels` is what is given; false when something else is left after twenty seconds.
    bool updates_until(const std::vector<std::uint32_t>& wanted);
    void key(std::uint32_t keysym, bool down) { send(Message{}.u8(4).u8(down).u16(0).u32(keysym)); }
    void extended_key(std::uint32_t keysym, std::uint32_t number, bool down) {
        send(Message{}.u8(255).u8(0).u16(down).u32(keysym).u32(number));
    }
    void pointer(unsigned buttons, unsigned x, unsigned y) {
        send(Message{}.u8(5).u8(buttons).u16(x).u16(y));
    }

    virtual void send_bytes(std::span<const std::uint8_t> bytes) { socket.send(bytes); }
    virtual std::vector<std::uint8_t> receive(std::size_t size) { return socket.receive(size); }
    void send(const Message& message) { send_bytes(message.bytes); }
    std::uint32_t be(unsigned size);

    TestSocket socket;
    unsigned width = 0, height = 0;
    std::string name, reason;
    std::vector<std::uint32_t> pixels;
};

/// The same through a WebSocket.
class WebRfbClient final : public RfbClient {
  public:
    explicit WebRfbClient(std::uint16_t port) : RfbClient{port} {}
    /// Returns the HTTP status line and headers.
    std::string upgrade(const std::string& host, const std::string& origin);
    void send_bytes(std::span<const std::uint8_t> bytes) override;
    std::vector<std::uint8_t> receive(std::size_t size) override;

  private:
    std::vector<std::uint8_t> payload_;
};

} // namespace escalus
