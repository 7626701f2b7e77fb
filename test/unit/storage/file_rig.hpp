// SPDX-License-Identifier: GPL-2.0-or-later
// Image files in a directory of their own, the device lock that their backends complete under, and a loop for
// those that need one.
#pragma once

#include "devmodel/backends/block/file_backend.hpp"
#include "devmodel/machine/device_lock.hpp"
#include "test/unit/storage/ide_rig.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <catch2/catch.hpp>

namespace escalus::test {

namespace fs = std::filesystem;

struct Files {
    Files() {
        std::string name = (fs::temp_directory_path() / "escalus-block-XXXXXX").string();
        directory = ::mkdtemp(name.data());
    }
    ~Files() { fs::remove_all(directory); }
    Files(const Files&) = delete;
    Files& operator=(const Files&) = delete;

    [[nodiscard]] std::string file(const std::string& name, const Bytes& bytes) const {
        const auto path = directory / name;
        std::ofstream{path, std::ios::binary}.write(reinterpret_cast<const char*>(bytes.data()), // NOLINT
                                                    static_cast<std::streamsize>(bytes.size()));
        return path;
    }
    std::unique_ptr<FileBackend> open(const std::string& path, bool read_only) {
        return FileBackend::open(path, read_only, lock);
    }
    // Until a completion has set `done`.
    void wait(const bool& done) {
        for (;;) {
            loop.poll();
            {
                const std::scoped_lock held{lock};
                if (done)
                    return;
            }
            std::this_thread::yield();
        }
    }
    std::error_code read(BlockBackend& backend, std::uint64_t offset, std::span<std::uint8_t> data) {
        return await([&](auto done) { backend.read(offset, data, done); });
    }
    std::error_code write(BlockBackend& backend, std::uint64_t offset, std::span<const std::uint8_t> data) {
        return await([&](auto done) { backend.write(offset, data, done); });
    }
    std::error_code flush(BlockBackend& backend) {
        return await([&](auto done) { backend.flush(done); });
    }
    template <typename Start>
    std::error_code await(Start start) {
        bool done = false;
        std::error_code result;
        {
            const std::scoped_lock held{lock};
            start(BlockBackend::Completion{[&](std::error_code error) {
                CHECK_FALSE(lock.try_lock()); // the device lock is held, by whichever thread
                result = error;
                done = true;
            }});
        }
        wait(done);
        return result;
    }
    fs::path directory;
    boost::asio::io_context loop;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard{loop.get_executor()};
    DeviceLock lock;
};

} // namespace escalus::test
