// SPDX-License-Identifier: GPL-2.0-or-later
// A qemu-nbd of our own, which serves one image in a format of its own (qcow2, VMDK ...) on a socket.
//
// It is handed a listening socket and is connected to before it runs, so that nothing has to be waited for or
// tried again. It ends by itself when the connection closes, however that happened (kill -9 too), after it
// has written out what it holds. Its words go to this process's standard error.
#pragma once

#include <string>

#include <sys/types.h>

namespace escalus {

class NbdServer {
  public:
    /// `format`: as QEMU calls it; never guessed. `socket_path` is used for a moment. Call before root is
    /// dropped. Throws std::runtime_error with a message for the user.
    NbdServer(std::string image, const std::string& format, bool read_only, const std::string& socket_path);
    /// Waits until it has ended, for a while.
    ~NbdServer();
    NbdServer(const NbdServer&) = delete;
    NbdServer& operator=(const NbdServer&) = delete;

    [[nodiscard]] const std::string& image() const { return image_; }
    /// The connection to it; the caller's from now on.
    [[nodiscard]] int take_socket();
    /// For the user, when it did not answer.
    [[nodiscard]] std::string why_silent() const;

  private:
    std::string image_, format_;
    int socket_ = -1;
    int process_ = -1; // a pidfd
};

} // namespace escalus
