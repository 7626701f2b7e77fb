// SPDX-License-Identifier: GPL-2.0-or-later
// The sockets that libslirp waits for, as an epoll set that an Asio loop waits for as a whole. libslirp names
// all of them again and again; only differences reach the kernel.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include <slirp/libslirp.h>

namespace boost::asio {
class io_context;
}

namespace escalus {

class SlirpPoll {
  public:
    explicit SlirpPoll(boost::asio::io_context& loop);
    ~SlirpPoll();
    SlirpPoll(const SlirpPoll&) = delete;
    SlirpPoll& operator=(const SlirpPoll&) = delete;

    // A new list: begin, any number of add, end. What was added before and is not now is waited for no more.
    void begin();
    /// Returns its index, good until the next begin(). `events` are SLIRP_POLL_*.
    int add(int descriptor, int events);
    void end();
    /// It is about to be closed.
    void forget(int descriptor);

    /// Calls `ready` on the loop once something in the list is; no second wait begins before take_events().
    void wait(std::function<void()> ready);
    /// Looks which are ready, without waiting.
    void take_events();
    [[nodiscard]] int events_of(int index) const;
    void clear_events();
    void close();

  private:
    struct Socket {
        int wanted = 0, known = 0; ///< SLIRP_POLL_*: of this list, and of what the kernel was told
        int index = -1;
    };
    struct Wait; // the epoll descriptor on the loop
    void tell_kernel(int descriptor, Socket& socket);

    std::shared_ptr<Wait> wait_;
    std::unordered_map<int, Socket> sockets_;
    std::vector<int> ready_; ///< by index
    int count_ = 0;
};

} // namespace escalus
