// SPDX-License-Identifier: GPL-2.0-or-later
// One VNC viewer: the way of its bytes from and to libvncserver, and the pace of its updates.
//
// libvncserver reads and writes a socket of its own and would wait there. It is given one end of a socket
// pair; what it is to read is written to the other end first, message by whole message, and what it wrote is
// taken from there after each call into it, into a queue that leaves as fast as the viewer takes it. An
// update is cut into slices that fit the pair, and none is made while much is queued.
#pragma once

#include "devmodel/devices/input/keysym_map.hpp"
#include "vnc/byte_stream.hpp"
#include "vnc/viewer_input.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>

struct _rfbClientRec;  // NOLINT(bugprone-reserved-identifier): libvncserver's name
struct _rfbScreenInfo; // NOLINT(bugprone-reserved-identifier): libvncserver's name

namespace escalus {

class Viewer;

/// The server, as a viewer needs it.
class ViewerHost {
  public:
    virtual ~ViewerHost() = default;
    virtual _rfbScreenInfo& screen() = 0;
    /// Brings the screen up to date now: a viewer is about to be told its size.
    virtual void refresh_now() = 0;
    /// A viewer began to wait for an update.
    virtual void viewer_waits() = 0;
    virtual void authentication(bool passed) = 0;
    /// The viewer is closed; it calls nothing after this.
    virtual void viewer_gone(Viewer& viewer) = 0;
};

class Viewer : public std::enable_shared_from_this<Viewer> {
  public:
    Viewer(std::shared_ptr<ByteStream> stream, const boost::asio::any_io_executor& executor, ViewerHost& host,
           ViewerInput input);
    ~Viewer();
    Viewer(const Viewer&) = delete;
    Viewer& operator=(const Viewer&) = delete;

    void start();
    void close();
    /// Past the handshake.
    [[nodiscard]] bool connected() const;
    /// Asked for an update, and can take one.
    [[nodiscard]] bool waiting() const;
    /// What is on its way to it, and what of its own is not handled yet.
    [[nodiscard]] std::size_t buffered() const { return queue_.size() + in_flight_ + received_.size(); }
    /// Sends what is due of the update asked for.
    void pump();

    /// Sets the screen's callbacks up, to find their Viewer.
    static void install_hooks(_rfbScreenInfo& screen);

  private:
    class Callbacks;

    bool open_client();
    void read();
    void received(std::span<const std::uint8_t> bytes);
    [[nodiscard]] bool process_one();
    void handle_message(std::size_t size);
    void after_library_call();
    bool send_due_slice();
    void drain();
    void write();
    void finish_or_write();

    std::shared_ptr<ByteStream> stream_;
    boost::asio::any_io_executor executor_;
    ViewerHost* host_; // null once closed
    ViewerInput input_;
    boost::asio::steady_timer handshake_deadline_;
    _rfbClientRec* client_ = nullptr;
    int pair_ = -1; // our end
    std::size_t slice_pixels_ = 0;
    std::vector<std::uint8_t> received_;
    std::size_t to_skip_ = 0; // of the viewer's bytes: the rest of a message without meaning
    std::size_t to_hide_ = 0; // of libvncserver's bytes: the greeting, which was sent already
    std::vector<std::uint8_t> queue_;
    std::size_t in_flight_ = 0;
    bool reading_ = false, writing_ = false, pump_posted_ = false, ending_ = false;
};

} // namespace escalus
