// SPDX-License-Identifier: GPL-2.0-or-later
// Takes all vCPUs of a VM out of guest mode while its memory map changes, and lets them in again.
//
// The vCPUs' side costs one flag on the way in and one on the way out. Whoever changes the map closes the
// gate, kicks the vCPUs that are inside, and waits until each has left; a vCPU that comes to a closed gate
// waits in front of it. Both sides set their own flag before they read the other's (sequentially consistent),
// so that at least one of them sees the other.
//
// A change that needs nobody to be kicked (no vCPU happens to be in guest mode) is tried with the gate open.
// A vCPU that the engine refuses meanwhile waits for the end of that change, and comes again.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>

namespace escalus {

class RunGate {
  public:
    using Inside = std::atomic<bool>; ///< one a vCPU

    void enter(Inside& inside) {
        inside.store(true);
        if (closed_.load()) [[unlikely]]
            wait_for_opening(inside);
    }
    void leave(Inside& inside) {
        inside.store(false);
        if (closed_.load()) [[unlikely]]
            notify();
    }

    /// For a vCPU that was refused because of a change: waits outside until no change is under way.
    void wait_for_change(Inside& inside) {
        leave(inside);
        { const std::lock_guard under_way{changers_}; }
        enter(inside);
    }

    /// Tries `change` with the gate open.
    template <typename Change>
    auto try_open(Change change) {
        const std::lock_guard one_at_a_time{changers_};
        return change();
    }

    /// Runs `change` with everybody outside. `kick_all` makes those that are inside leave soon;
    /// `all_outside` says whether the last one has.
    template <typename Kick, typename AllOutside, typename Change>
    auto while_closed(Kick kick_all, AllOutside all_outside, Change change) {
        const std::lock_guard one_at_a_time{changers_};
        const Closed closed{*this};
        kick_all();
        {
            std::unique_lock lock{mutex_};
            moved_.wait(lock, all_outside);
        }
        return change();
    }

  private:
    struct Closed {
        explicit Closed(RunGate& g) : gate{g} { gate.closed_.store(true); }
        ~Closed() {
            const std::lock_guard lock{gate.mutex_};
            gate.closed_.store(false);
            gate.moved_.notify_all();
        }
        Closed(const Closed&) = delete;
        Closed& operator=(const Closed&) = delete;
        RunGate& gate;
    };

    void notify() {
        const std::lock_guard lock{mutex_};
        moved_.notify_all();
    }
    void wait_for_opening(Inside& inside) {
        std::unique_lock lock{mutex_};
        while (closed_.load()) {
            inside.store(false);
            moved_.notify_all();
            moved_.wait(lock);
            inside.store(true);
        }
    }

    std::atomic<bool> closed_ = false;
    std::mutex changers_;
    std::mutex mutex_;
    std::condition_variable moved_;
};

} // namespace escalus
