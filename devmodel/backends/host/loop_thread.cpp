// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/host/loop_thread.hpp"

#include <pthread.h>

namespace escalus {

void LoopThread::start(const char* name) {
    thread_ = std::thread{[this] { loop_.run(); }};
    pthread_setname_np(thread_.native_handle(), name);
}

void LoopThread::stop() {
    loop_.stop();
    if (thread_.joinable())
        thread_.join();
}

} // namespace escalus
