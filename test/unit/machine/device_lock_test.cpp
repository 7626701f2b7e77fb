// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/device_condition.hpp"

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
    DeviceCondition changed;
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

TEST_CASE("work for the device lock is done at once, or by its holder") {
    DeviceLock lock;
    std::vector<int> done;
    const auto note = [&](int what) {
        return [&, what] {
            CHECK_FALSE(lock.try_lock());
            done.push_back(what);
        };
    };
    lock.run_held(note(1));
    CHECK(done == std::vector{1});
    {
        const std::scoped_lock guard{lock};
        std::thread{[&] {
            lock.run_held(note(2));
            lock.run_held(note(3));
        }}.join();
        CHECK(done == std::vector{1});
        lock.do_left_work();
        CHECK(done == std::vector{1, 2, 3});
        lock.run_held([&] { lock.run_held(note(4)); });
        CHECK(done.size() == 3);
    }
    CHECK(done == std::vector{1, 2, 3, 4});
    CHECK(lock.try_lock());
    lock.run_held(note(5)); // never done, and gone with the lock
}

TEST_CASE("no work for the device lock is forgotten, whoever holds it, and none runs beside another") {
    DeviceLock lock;
    constexpr unsigned threads = 3, rounds = 20'000;
    unsigned held = 0, left = 0; // no atomics: the lock is what keeps them whole
    std::vector<std::thread> workers;
    for (unsigned i = 0; i < threads; ++i)
        workers.emplace_back([&] {
            for (unsigned round = 0; round < rounds; ++round) {
                lock.run_held([&] { left = left + 1; });
                if (round % 4 == 0) {
                    const std::scoped_lock guard{lock};
                    held = held + 1;
                }
            }
        });
    for (auto& worker : workers)
        worker.join();
    CHECK(lock.try_lock());
    CHECK(left == threads * rounds);
    CHECK(held == threads * rounds / 4);
    lock.unlock();
}

TEST_CASE("work left to a thread that is about to wait wakes it") {
    DeviceLock lock;
    DeviceCondition changed;
    for (unsigned round = 0; round < 2000; ++round) {
        bool ready = false;
        std::thread other{[&] {
            lock.run_held([&] {
                ready = true;
                changed.notify_one();
            });
        }};
        {
            std::unique_lock guard{lock};
            changed.wait(guard, [&] { return ready; });
        }
        other.join();
    }
}

TEST_CASE("that work is expected is told once") {
    DeviceLock lock;
    const std::lock_guard held{lock};
    CHECK_FALSE(lock.take_expectation());
    lock.expect_work();
    CHECK(lock.take_expectation());
    CHECK_FALSE(lock.take_expectation());
    lock.expect_work();
    lock.expect_no_work();
    CHECK_FALSE(lock.take_expectation());
}
