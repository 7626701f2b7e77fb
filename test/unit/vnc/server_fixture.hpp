// SPDX-License-Identifier: GPL-2.0-or-later
// A VNC server on a loop of its own thread, a display to draw on, and records of what arrives.
#pragma once

#include "devmodel/machine/device_lock.hpp"
#include "vnc/vnc_server.hpp"

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

namespace escalus {

struct CanvasDisplay final : Display {
    std::vector<Rect> refresh(Picture& picture) override {
        ++refreshes;
        if (picture.width != canvas.width || picture.height != canvas.height ||
            picture.pixels.size() != canvas.pixels.size()) {
            picture = canvas;
            changed.clear();
            return {Rect{0, 0, canvas.width, canvas.height}};
        }
        picture.pixels = canvas.pixels;
        return std::exchange(changed, {});
    }
    Picture snapshot() override { return canvas; }
    TextScreen text() override { return {}; }

    Picture canvas;
    std::vector<Rect> changed;
    std::atomic<unsigned> refreshes = 0;
};

struct Recorder final : KeyboardSink, PointerSink {
    struct Move {
        int dx, dy, wheel;
        unsigned buttons;
        bool operator==(const Move&) const = default;
    };
    void key(KeyNumber number, bool down) override { keys.emplace_back(number, down); }
    void move(int dx, int dy, int wheel, unsigned buttons) override {
        moves.push_back({dx, dy, wheel, buttons});
    }
    [[nodiscard]] bool absolute() const override { return tablet; }
    void place(unsigned x, unsigned y, int wheel, unsigned buttons) override {
        places.push_back({static_cast<int>(x), static_cast<int>(y), wheel, buttons});
    }
    std::vector<std::pair<int, bool>> keys;
    std::vector<Move> moves, places;
    bool tablet = false;
};

struct ServerFixture {
    explicit ServerFixture(VncOptions options = {}, unsigned width = 64, unsigned height = 48) {
        if (!options.port)
            options.port = 0;
        options.name = "Escalus test";
        resize(width, height);
        server = std::make_unique<VncServer>(loop, display, recorder, recorder, lock, options);
        thread = std::thread{[this] { loop.run(); }};
    }
    ~ServerFixture() {
        boost::asio::post(loop, [this] {
            server.reset();
            work.reset();
        });
        thread.join();
    }
    void resize(unsigned width, unsigned height) {
        const std::lock_guard guard{lock};
        display.canvas = {width, height, std::vector<std::uint32_t>(std::size_t{width} * height)};
        for (std::size_t i = 0; i < display.canvas.pixels.size(); ++i)
            display.canvas.pixels[i] = static_cast<std::uint32_t>(i * 2654435761u) & 0xffffff;
    }
    std::vector<std::uint32_t> draw(unsigned x, unsigned y, std::uint32_t colour) {
        const std::lock_guard guard{lock};
        display.canvas.pixels.at(std::size_t{y} * display.canvas.width + x) = colour;
        display.changed.push_back({x, y, 1, 1});
        return display.canvas.pixels;
    }
    /// Waits until `condition` holds, with the device lock held while it is asked.
    bool eventually(const std::function<bool()>& condition) {
        for (int i = 0; i < 500; ++i) {
            {
                const std::lock_guard guard{lock};
                if (condition())
                    return true;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds{10});
        }
        return false;
    }
    unsigned viewers() {
        std::promise<unsigned> count;
        boost::asio::post(loop, [&] { count.set_value(server->viewers()); });
        return count.get_future().get();
    }
    std::size_t buffered() {
        std::promise<std::size_t> count;
        boost::asio::post(loop, [&] { count.set_value(server->buffered_bytes()); });
        return count.get_future().get();
    }

    boost::asio::io_context loop;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{loop.get_executor()};
    DeviceLock lock;
    CanvasDisplay display;
    Recorder recorder;
    std::unique_ptr<VncServer> server;
    std::thread thread;
};

} // namespace escalus
