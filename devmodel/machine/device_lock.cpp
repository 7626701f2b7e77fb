// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/device_lock.hpp"

#include <memory>
#include <utility>

namespace escalus {

DeviceLock::~DeviceLock() {
    auto* work = left_.load();
    while (work != nullptr) {
        const std::unique_ptr<Work> forgotten{work};
        work = forgotten->next;
    }
}

[[gnu::hot]] void DeviceLock::run_held(std::function<void()> work) {
    auto* const mine = new Work{std::move(work), left_.load(std::memory_order_relaxed)};
    while (!left_.compare_exchange_weak(mine->next, mine)) {
    }
    take_care_of_left_work();
}

// Either this thread does it, or the lock's holder, who looks again after it has given it back.
[[gnu::hot]] void DeviceLock::take_care_of_left_work() {
    if (try_lock())
        unlock();
}

[[gnu::hot]] void DeviceLock::do_all_left_work() {
    while (auto* newest = left_.exchange(nullptr)) {
        Work* oldest = nullptr;
        while (newest != nullptr)
            oldest = std::exchange(newest, std::exchange(newest->next, oldest));
        while (oldest != nullptr) {
            const std::unique_ptr<Work> work{std::exchange(oldest, oldest->next)};
            work->run();
        }
    }
}

} // namespace escalus
