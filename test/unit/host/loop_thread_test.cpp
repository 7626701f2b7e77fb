// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/host/loop_thread.hpp"

#include <future>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <catch2/catch.hpp>
#include <pthread.h>
#include <sched.h>

using namespace escalus;

namespace {
int policy_of(LoopThread::Manner manner) {
    boost::asio::io_context loop;
    LoopThread thread{loop};
    thread.start("test", manner);
    std::promise<int> found;
    boost::asio::post(loop, [&] {
        int policy = -1;
        sched_param ignored{};
        pthread_getschedparam(pthread_self(), &policy, &ignored);
        found.set_value(policy);
    });
    return found.get_future().get();
}
} // namespace

TEST_CASE("a patient loop takes the CPU from nobody, a prompt one does") {
    CHECK(policy_of(LoopThread::Manner::Prompt) == SCHED_OTHER);
    CHECK(policy_of(LoopThread::Manner::Patient) == SCHED_BATCH);
}
