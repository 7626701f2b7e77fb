// SPDX-License-Identifier: GPL-2.0-or-later
// The device lock: the one lock of a machine. Whoever touches a device or a vCPU's state holds it.
//
// Taken and given back at each exit, and then almost always free. It is no std::mutex, because a call into
// the C library touches more pages than the rest of an exit's way through the machine, and every page costs a
// walk of two tables after a world switch. "Futexes Are Tricky" (U. Drepper, 2011), section 6, mutex 2.
//
// State: who has it, and what others left to be done under it. A thread that must not wait (a disk's worker)
// leaves its work to the holder, who does it before the lock is free: so it is done soon, by a thread that
// runs anyway, and nobody wakes up for it.
//
// Lockable (for std::scoped_lock, std::unique_lock). Not recursive. As fair as the kernel's wake-up. For
// conditions there is DeviceCondition: what is left to a thread that is about to wait may notify it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex> // what takes it: std::scoped_lock, std::unique_lock
#include <utility>

namespace escalus {

class DeviceLock {
  public:
    DeviceLock() = default;
    ~DeviceLock(); ///< forgets what was left to be done
    DeviceLock(const DeviceLock&) = delete;
    DeviceLock& operator=(const DeviceLock&) = delete;

    void lock() {
        if (!try_lock()) [[unlikely]]
            wait();
    }
    [[nodiscard]] bool try_lock() {
        auto expected = free;
        return state_.compare_exchange_strong(expected, taken);
    }
    void unlock() {
        do_left_work();
        if (state_.exchange(free) == awaited) [[unlikely]]
            wake_one();
        // Whoever left something since, and found the lock taken, relies on this look.
        if (left_.load() != nullptr) [[unlikely]]
            take_care_of_left_work();
    }

    /// Runs `work` with the lock held: now if it is free, otherwise by its holder. Never waits. Works run in
    /// the order in which they were left. They must not throw.
    void run_held(std::function<void()> work);
    /// Does what others left; for a holder who wants its effects before giving the lock back.
    void do_left_work() {
        if (left_.load(std::memory_order_relaxed) != nullptr) [[unlikely]]
            do_all_left_work();
    }

    /// Tells, with the lock held, that another thread has got something to do that it will leave here, and
    /// may have done soon if it is let go first.
    void expect_work() { expected_ = true; }
    /// It has been left.
    void expect_no_work() { expected_ = false; }
    /// Whether it is still expected, and nobody has asked yet. With the lock held.
    [[nodiscard]] bool take_expectation() { return std::exchange(expected_, false); }

  private:
    struct Work {
        std::function<void()> run;
        Work* next;
    };
    static constexpr std::uint32_t free = 0, taken = 1, awaited = 2; ///< awaited: taken, and others may wait

    [[gnu::cold, gnu::noinline]] void wait() {
        while (state_.exchange(awaited, std::memory_order_acquire) != free)
            state_.wait(awaited, std::memory_order_relaxed);
    }
    [[gnu::cold, gnu::noinline]] void wake_one() { state_.notify_one(); }
    void do_all_left_work();
    void take_care_of_left_work();

    std::atomic<std::uint32_t> state_ = free;
    std::atomic<Work*> left_ = nullptr; // the newest first
    bool expected_ = false;
};

} // namespace escalus
