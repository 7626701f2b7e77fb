// SPDX-License-Identifier: GPL-2.0-or-later
// A thread for an event loop of work that takes long: drawing and compressing pictures. The machine's loop is
// then free for timers, disks and the network, whoever looks at the guest.
#pragma once

#include <thread>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

namespace escalus {

class LoopThread {
  public:
    /// Declare it after what uses the loop, so that nothing runs there any more when that is destroyed.
    explicit LoopThread(boost::asio::io_context& loop) : loop_{loop} {}
    ~LoopThread() { stop(); }
    LoopThread(const LoopThread&) = delete;
    LoopThread& operator=(const LoopThread&) = delete;

    /// `name` is what `top -H` shows: 15 characters at most.
    void start(const char* name);
    /// Returns when nothing runs on the loop any more. What was still to be run is forgotten with the loop.
    void stop();

  private:
    boost::asio::io_context& loop_;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{loop_.get_executor()};
    std::thread thread_;
};

} // namespace escalus
