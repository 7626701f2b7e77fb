// SPDX-License-Identifier: GPL-2.0-or-later
// The device lock: the one lock of a machine. Whoever touches a device or a vCPU's state holds it.
//
// Taken and given back at each exit, and then almost always free. It is no std::mutex, because a call into
// the C library touches more pages than the rest of an exit's way through the machine, and every page costs a
// walk of two tables after a world switch. "Futexes Are Tricky" (U. Drepper, 2011), section 6, mutex 2.
//
// Lockable (for std::scoped_lock, std::unique_lock, std::condition_variable_any). Not recursive. As fair as
// the kernel's wake-up.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex> // what takes it: std::scoped_lock, std::unique_lock

namespace escalus {

class DeviceLock {
  public:
    DeviceLock() = default;
    DeviceLock(const DeviceLock&) = delete;
    DeviceLock& operator=(const DeviceLock&) = delete;

    void lock() {
        if (!try_lock()) [[unlikely]]
            wait();
    }
    [[nodiscard]] bool try_lock() {
        auto expected = free;
        return state_.compare_exchange_strong(expected, taken, std::memory_order_acquire);
    }
    void unlock() {
        if (state_.exchange(free, std::memory_order_release) == awaited) [[unlikely]]
            wake_one();
    }

  private:
    static constexpr std::uint32_t free = 0, taken = 1, awaited = 2; ///< awaited: taken, and others may wait

    [[gnu::cold, gnu::noinline]] void wait() {
        while (state_.exchange(awaited, std::memory_order_acquire) != free)
            state_.wait(awaited, std::memory_order_relaxed);
    }
    [[gnu::cold, gnu::noinline]] void wake_one() { state_.notify_one(); }

    std::atomic<std::uint32_t> state_ = free;
};

} // namespace escalus
