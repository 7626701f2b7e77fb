// SPDX-License-Identifier: GPL-2.0-or-later
// A condition that is waited for with the device lock. (std::condition_variable_any would not do: it holds a
// lock of its own while it gives the device lock back, and what is done then may notify it.) It is no atomic
// that is waited for: the C++ library tries a few times before it sleeps, and gives the processor away.
#pragma once

#include "devmodel/machine/device_lock.hpp"

#include <chrono>
#include <condition_variable>

namespace escalus {

class DeviceCondition {
  public:
    /// May also return when nobody notified.
    void wait(std::unique_lock<DeviceLock>& lock) {
        const auto seen = notices_.load();
        lock.unlock();
        {
            std::unique_lock own{mutex_};
            changed_.wait(own, [&] { return notices_.load() != seen; });
        }
        lock.lock();
    }
    /// The same, but returns after that long at the latest.
    void wait_for(std::unique_lock<DeviceLock>& lock, std::chrono::nanoseconds limit) {
        const auto seen = notices_.load();
        lock.unlock();
        {
            std::unique_lock own{mutex_};
            changed_.wait_for(own, limit, [&] { return notices_.load() != seen; });
        }
        lock.lock();
    }
    template <typename Condition>
    void wait(std::unique_lock<DeviceLock>& lock, Condition condition) {
        while (!condition())
            wait(lock);
    }
    void notify_one() {
        count();
        changed_.notify_one();
    }
    void notify_all() {
        count();
        changed_.notify_all();
    }

  private:
    void count() {
        const std::scoped_lock own{mutex_};
        ++notices_;
    }

    std::mutex mutex_; // never held while the device lock is taken or given back
    std::condition_variable changed_;
    std::atomic<std::uint32_t> notices_ = 0;
};

} // namespace escalus
