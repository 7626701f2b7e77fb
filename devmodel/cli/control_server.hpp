// SPDX-License-Identifier: GPL-2.0-or-later
// A running guest's control socket: one JSON object a line, one reply a line, in order.
//
//   {"request": "info"}          {"ok": true, "name": ..., "id": ..., "state": "running", "memory_mib": ...,
//                                 "vcpus": ..., "cpu_seconds": ..., "vnc": ..., "web": ..., "serial": [...]}
//   pause, resume, reboot        {"ok": true}
//   shutdown                     presses the power button
//   destroy                      ends the guest; the reply comes first
//   stat                         {"ok": true, "cpu_seconds": ..., "exits": [{"name": ..., "count": ...}]}
//   screenshot                   {"ok": true, "width": ..., "height": ..., "png": BASE64}
//   screenshot-text              {"ok": true, "columns": ..., "rows": ..., "lines": [...], "cursor": [c, r]}
//   send-key                     with "keys": [CHORD, ...] and/or "text": STRING, and "pace": MILLISECONDS;
//                                the reply comes when all is typed
//   watch-screen                 {"ok": true}, then on the same connection a line for each change of the text
//                                screen (screen_feed.hpp), until the client closes it
//
//   insert-medium                with "kind": "cdrom" or "floppy", "device" (or the first drive of that
//   kind),
//                                "path" for messages, "force", and the image's open descriptor as ancillary
//                                data (SCM_RIGHTS); {"ok": true, "device": ...}
//   eject-medium                 with "kind", "device", "force"; {"ok": true, "device": ...}
//   drives                       {"ok": true, "drives": [{"device": ..., "kind": ..., "medium": ...}]}
//
// A request that cannot be done gets {"ok": false, "error": KIND, "message": TEXT} with KIND one of
// "bad-request", "unknown-request", "wrong-state", "no-display", "failed". A line longer than 64 KiB ends the
// connection. The socket is root's: who can open it may do anything to the guest.
#pragma once

#include "devmodel/config/machine_config.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace boost::asio {
class io_context;
}

namespace escalus {

class Machine;

struct ControlHooks {
    std::uint64_t id = 0; ///< what `escalus list` shows
    std::string vnc_address, web_address;
    std::function<void()> start;   ///< lets a machine go that was created paused
    std::function<void()> destroy; ///< ends the guest, soon
};

class ControlServer {
  public:
    /// Listens at `path`. Throws std::runtime_error when it cannot. Machine and config must outlive it.
    /// Everything is done on `loop`, but screenshots, which are made where `pictures` runs: compressing one
    /// takes longer than a guest's timer may wait. `pictures` must no longer run when the server is
    /// destroyed.
    ControlServer(boost::asio::io_context& loop, boost::asio::io_context& pictures,
                  const std::filesystem::path& path, Machine& machine, const MachineConfig& config,
                  ControlHooks hooks);
    ~ControlServer();
    ControlServer(const ControlServer&) = delete;
    ControlServer& operator=(const ControlServer&) = delete;

  private:
    class Impl;
    std::shared_ptr<Impl> impl_;
};

} // namespace escalus
