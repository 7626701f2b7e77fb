// SPDX-License-Identifier: GPL-2.0-or-later
// The VNC server of one machine: RFB 3.3 to 3.8 (RFC 6143) by libvncserver, driven from an Asio loop.
//
// One TCP port serves VNC viewers, WebSocket viewers and, over HTTP, the noVNC page: who speaks first with
// "GET " is a browser, who waits is a VNC viewer. Everything runs on the loop's thread, which is not the one
// that serves the devices: a picture takes longer to compress than a guest's timer may wait. Nothing in it
// blocks, whatever a viewer does or leaves undone:
//   - Sockets are Asio's. libvncserver sees, for each viewer, one end of a socket pair, so the bytes that go
//     through it are ours to buffer. Its blocking reads never block because only whole messages are handed to
//     it (rfb_framing.hpp), its blocking writes because updates are cut into slices that fit the socket pair.
//   - A viewer that reads slowly gets its next update when the last has left; others go on. What is buffered
//     for it is bounded.
//   - The display is refreshed (30 times a second) only while a viewer waits for an update.
//
// A guest with a USB tablet gets the viewer's positions. Else the pointer is relative for the guest (a PS/2
// mouse): the server sends the differences of the viewer's positions. The guest's own acceleration makes its
// pointer drift from the viewer's; moving the viewer's pointer to an edge of the picture pushes the guest's
// against the same edge, which lines them up again.
#pragma once

#include "devmodel/config/machine_config.hpp"
#include "devmodel/devices/display/display.hpp"
#include "devmodel/devices/input/input.hpp"
#include "devmodel/machine/device_lock.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

namespace boost::asio {
class io_context;
}

namespace escalus {

/// The server cannot be started; what() says why and what to do instead.
class VncError : public std::runtime_error {
    using std::runtime_error::runtime_error;
};
/// Another program listens on the port.
class VncPortTaken : public VncError {
    using VncError::VncError;
};

struct VncOptions {
    VncConfig config;
    std::string name;                          ///< the desktop's name, as viewers show it
    std::string web_root = "/usr/share/novnc"; ///< empty, or a folder that is not there: no web page
    /// Takes precedence over config.display; 0 lets the system choose.
    std::optional<std::uint16_t> port;
};

class VncServer {
  public:
    /// Listens. `lock` is the device lock, taken around each call of the display and the sinks. All
    /// references must outlive the server, and the server must be destroyed on the loop's thread or when the
    /// loop no longer runs.
    VncServer(boost::asio::io_context& loop, Display& display, KeyboardSink& keyboard, PointerSink& pointer,
              DeviceLock& lock, const VncOptions& options);
    ~VncServer();
    VncServer(const VncServer&) = delete;
    VncServer& operator=(const VncServer&) = delete;

    [[nodiscard]] std::uint16_t port() const;
    /// "127.0.0.1:5901"
    [[nodiscard]] std::string address() const;
    /// "http://127.0.0.1:5901/vnc.html"; empty when there is no web page.
    [[nodiscard]] std::string web_address() const;
    /// Connected and past the handshake.
    [[nodiscard]] unsigned viewers() const;
    /// What is buffered for all of them together.
    [[nodiscard]] std::size_t buffered_bytes() const;

  private:
    class Impl;
    std::shared_ptr<Impl> impl_;
};

} // namespace escalus
