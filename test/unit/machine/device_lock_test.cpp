// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/device_lock.hpp"

#include <condition_variable>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

using namespace escalus;

TEST_CASE("the device lock admits one thread at a time, and wakes each that waits") {
    DeviceLock lock;
    constexpr unsigned threads = 4, rounds = 20'000;
    unsigned count = 0; // no atomic: the lock is what keeps it whole
    std::vector<std::thread> workers;
    for (unsigned i = 0; i < threads; ++i)
        workers.emplace_back([&] {
            for (unsigned round = 0; round < rounds; ++round) {
                const std::scoped_lock guard{lock};
                count = count + 1;
                if (round % 1000 == 0)
                    std::this_thread::yield(); // with the lock held, so that others wait
            }
        });
    for (auto& worker : workers)
        worker.join();
    CHECK(count == threads * rounds);
    CHECK(lock.try_lock());
    CHECK(!lock.try_lock());
    lock.unlock();
}

TEST_CASE("a condition is waited for with the device lock") {
    DeviceLock lock;
    std::condition_variable_any changed;
    bool asked = false, answered = false;
    std::thread other{[&] {
        std::unique_lock guard{lock};
        changed.wait(guard, [&] { return asked; });
        answered = true;
        changed.notify_all();
    }};
    {
        std::unique_lock guard{lock};
        asked = true;
        changed.notify_all();
        changed.wait(guard, [&] { return answered; });
    }
    other.join();
    CHECK(answered);
}
