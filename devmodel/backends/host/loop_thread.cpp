// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/host/loop_thread.hpp"

#include <pthread.h>
#include <sched.h>

namespace escalus {

void LoopThread::start(const char* name, Manner manner) {
    thread_ = std::thread{[this] { loop_.run(); }};
    pthread_setname_np(thread_.native_handle(), name);
    if (manner == Manner::Patient) {
        const sched_param none{};
        pthread_setschedparam(thread_.native_handle(), SCHED_BATCH, &none); // refused: it is prompt
    }
}

void LoopThread::stop() {
    loop_.stop();
    if (thread_.joinable())
        thread_.join();
}

} // namespace escalus
