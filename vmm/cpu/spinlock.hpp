// SPDX-License-Identifier: GPL-2.0-or-later
// A lock for the monitor's rare shared structures. The monitor runs with interrupts off, so a holder is never
// preempted and the wait is as short as the critical section. The hot path (VcpuRun) takes none.
#pragma once

#include "vmm/cpu/instructions.hpp"

namespace escalus::vmm {

class SpinLock {
  public:
    constexpr SpinLock() = default;
    void lock() {
        while (__atomic_exchange_n(&held_, true, __ATOMIC_ACQUIRE))
            while (__atomic_load_n(&held_, __ATOMIC_RELAXED))
                pause();
    }
    void unlock() { __atomic_store_n(&held_, false, __ATOMIC_RELEASE); }

  private:
    bool held_ = false;
};

class LockGuard {
  public:
    explicit LockGuard(SpinLock& lock) : lock_{lock} { lock_.lock(); }
    ~LockGuard() { lock_.unlock(); }
    LockGuard(const LockGuard&) = delete;
    LockGuard& operator=(const LockGuard&) = delete;

  private:
    SpinLock& lock_;
};

} // namespace escalus::vmm
