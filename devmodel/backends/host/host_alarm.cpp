// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/host/host_alarm.hpp"

#include <cerrno>
#include <ctime>

#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <system_error>

namespace escalus {

HostAlarm::HostAlarm() : timer_{timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)} {
    if (!timer_)
        throw std::system_error{errno, std::generic_category(), "timerfd"};
}

void HostAlarm::set(std::chrono::nanoseconds from_now) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(from_now);
    const itimerspec when{{}, {seconds.count(), (from_now - seconds).count()}};
    timerfd_settime(timer_.get(), 0, &when, nullptr);
}

void sleep_precisely() {
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
}

} // namespace escalus
