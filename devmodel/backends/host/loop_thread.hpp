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
    /// lets whoever runs go on for its time slice, some milliseconds, and so finds more work at once; and
    /// does all of that before those whom it wakes by it take the CPU from it in turn, each for a single
    /// piece: it is nicer to itself, where the process may ask for that. Where a CPU is free all begin at
    /// once.
    enum class Manner { Prompt, Patient };
    /// So that a thread's use of the CPU counts a third (sched(7)), and less than that of those it works for.
    static constexpr int niceness_of_patient = -5;

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
