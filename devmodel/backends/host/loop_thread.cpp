// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/host/loop_thread.hpp"

#include <future>
#include <utility>

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

namespace escalus {

namespace {
// Refused: it is prompt.
void be_patient() {
    const sched_param none{};
    pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
    setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), LoopThread::niceness_of_patient);
}
} // namespace

void LoopThread::start(const char* name, Manner manner) {
    std::promise<void> set_up; // who starts it may give up privileges next
    const auto ready = set_up.get_future();
    thread_ = std::thread{[this, manner, set_up = std::move(set_up)]() mutable {
        if (manner == Manner::Patient)
            be_patient();
        set_up.set_value();
        loop_.run();
    }};
    pthread_setname_np(thread_.native_handle(), name);
    ready.wait();
}

void LoopThread::stop() {
    loop_.stop();
    if (thread_.joinable())
        thread_.join();
}

} // namespace escalus
