// SPDX-License-Identifier: GPL-2.0-or-later
// A pc machine over the scripted engine, on a loop of its own thread; and steps for its guests.
#pragma once

#include "devmodel/machine/pc_machine.hpp"
#include "test/unit/machine/scripted_engine.hpp"
#include "test/unit/machine/temporary_file.hpp"

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

namespace escalus {

inline ScriptedVcpu::Step out(std::uint16_t port, std::uint32_t value, std::uint8_t width = 1) {
    return [=](abi::VcpuPage& page) {
        page.exit.io = {port, width, 0, 0, 0, 0, 0};
        page.gpr[abi::rax] = value;
        page.next_rip = page.rip + 2;
        return abi::ExitReason::Io;
    };
}
inline ScriptedVcpu::Step in(std::uint16_t port, std::uint8_t width = 1) {
    return [=](abi::VcpuPage& page) {
        page.exit.io = {port, width, 1, 0, 0, 0, 0};
        page.next_rip = page.rip + 2;
        return abi::ExitReason::Io;
    };
}
inline ScriptedVcpu::Step write_msr(std::uint32_t index, std::uint64_t value) {
    return [=](abi::VcpuPage& page) {
        page.exit.msr = {.index = index, .reserved = 0, .value = value};
        page.next_rip = page.rip + 2;
        return abi::ExitReason::MsrWrite;
    };
}
inline ScriptedVcpu::Step look(const std::function<void(abi::VcpuPage&)>& at) {
    return [=](abi::VcpuPage& page) {
        at(page);
        return abi::ExitReason::Interrupted;
    };
}

/// A machine on a loop of its own thread.
struct MachineFixture {
    explicit MachineFixture(unsigned vcpus = 1) : engine{vcpus} {
        config.name = "test";
        config.memory_bytes = 4 << 20;
        config.vcpus = vcpus;
        config.vga = VgaKind::None;
        config.bios = bios.path();
        config.serial = {{SerialKind::File, serial.path()}};
    }
    ~MachineFixture() { end(); }
    MachineFixture(const MachineFixture&) = delete;
    MachineFixture& operator=(const MachineFixture&) = delete;

    /// The machine is gone. As in a device model, nothing runs on the loop by then.
    void end() {
        if (machine)
            machine->stop();
        work.reset();
        loop.stop();
        if (thread.joinable())
            thread.join();
        machine.reset();
    }
    void start() {
        machine = Machine::create(loop, engine, config, "/tmp");
        thread = std::thread{[this] { loop.run(); }};
        machine->start([this](StopReason reason, const std::string& details) {
            const std::lock_guard lock{mutex};
            stopped = reason;
            why = details;
            changed.notify_all();
        });
    }
    StopReason wait_until_stopped() {
        std::unique_lock lock{mutex};
        changed.wait(lock, [&] { return stopped.has_value(); });
        return *stopped;
    }

    TemporaryFile bios{std::vector<std::uint8_t>(128 << 10, 0x90)};
    TemporaryFile serial{{}};
    MachineConfig config;
    boost::asio::io_context loop;
    std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> work{
        boost::asio::make_work_guard(loop)};
    ScriptedEngine engine;
    std::unique_ptr<Machine> machine;
    std::thread thread;
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<StopReason> stopped;
    std::string why;
};

} // namespace escalus
