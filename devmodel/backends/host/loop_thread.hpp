// SPDX-License-Identifier: GPL-2.0-or-later
// A thread for an event loop of its own, so that the machine's loop is free for timers and disks: drawing and
// compressing pictures takes long, and what comes in by network gains by being taken in lots.
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

    /// Whether it takes the CPU from another thread as soon as it has work (sched(7)). One that is `Patient`
    /// lets whoever runs go on for its time slice, some milliseconds, and so finds more work at once. Where a
    /// CPU is free both begin at once.
    enum class Manner { Prompt, Patient };

    /// `name` is what `top -H` shows: 15 characters at most.
    void start(const char* name, Manner manner = Manner::Prompt);
    /// Returns when nothing runs on the loop any more. What was still to be run is forgotten with the loop.
    void stop();

  private:
    boost::asio::io_context& loop_;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{loop_.get_executor()};
    std::thread thread_;
};

} // namespace escalus
