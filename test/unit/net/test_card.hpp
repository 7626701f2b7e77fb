// SPDX-License-Identifier: GPL-2.0-or-later
// A card that is the test, and a loop to run backends on.
#pragma once

#include "devmodel/backends/net/net_backend.hpp"
#include "devmodel/machine/device_lock.hpp"

#include <chrono>
#include <mutex>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>

namespace escalus::test {

struct TestCard final : NetCard {
    [[nodiscard]] bool can_receive() override { return room > received.size(); }
    void receive(std::span<const std::uint8_t> frame, const NetOffload& offload) override {
        CHECK_FALSE(busy); // never from within a call of the card's
        received.emplace_back(frame.begin(), frame.end());
        offloads.push_back(offload);
    }
    void link_changed(bool up) override {
        CHECK_FALSE(busy);
        link.push_back(up);
    }
    /// A call of the card's, as it makes it.
    template <typename Call>
    void call(DeviceLock& lock, Call what) {
        const std::lock_guard guard{lock};
        busy = true;
        what();
        busy = false;
    }

    std::size_t room = 1000;
    bool busy = false;
    std::vector<std::vector<std::uint8_t>> received;
    std::vector<NetOffload> offloads;
    std::vector<bool> link;
};

struct Loop {
    boost::asio::io_context io;
    DeviceLock lock;
    /// Runs the loop until `done`, or gives up.
    template <typename Done>
    void run_until(Done done) {
        using namespace std::chrono_literals;
        const auto end = std::chrono::steady_clock::now() + 30s;
        while (!done() && std::chrono::steady_clock::now() < end) {
            io.restart();
            io.run_one_for(20ms);
        }
        CHECK(done());
    }
    /// Everything that can be done now.
    void settle() {
        io.restart();
        io.poll();
    }
};

} // namespace escalus::test
