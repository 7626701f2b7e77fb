// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/host/loop_thread.hpp"

#include <future>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <catch2/catch.hpp>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

using namespace escalus;

namespace {
struct Priority {
    int policy = -1, niceness = 0;
};

Priority priority_of(LoopThread::Manner manner) {
    boost::asio::io_context loop;
    LoopThread thread{loop};
    thread.start("test", manner);
    std::promise<Priority> found;
    boost::asio::post(loop, [&] {
        Priority priority;
        sched_param ignored{};
        pthread_getschedparam(pthread_self(), &priority.policy, &ignored);
        priority.niceness = getpriority(PRIO_PROCESS, static_cast<id_t>(gettid()));
        found.set_value(priority);
    });
    return found.get_future().get();
}
} // namespace

TEST_CASE("a patient loop takes the CPU from nobody, a prompt one does") {
    CHECK(priority_of(LoopThread::Manner::Prompt).policy == SCHED_OTHER);
    CHECK(priority_of(LoopThread::Manner::Patient).policy == SCHED_BATCH);
}

TEST_CASE("a patient loop that runs is not soon interrupted, where that may be asked for") {
    const int own = getpriority(PRIO_PROCESS, 0);
    CHECK(priority_of(LoopThread::Manner::Prompt).niceness == own);
    const auto patient = priority_of(LoopThread::Manner::Patient).niceness;
    // Root may lack the right as well, in a container.
    auto asked = std::async(std::launch::async, [] {
        return setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), LoopThread::niceness_of_patient) == 0;
    });
    CHECK(patient == (asked.get() ? LoopThread::niceness_of_patient : own));
}
