// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/pc_machine.hpp"
#include "devmodel/machine/tsc_ratio.hpp"
#include "test/unit/machine/machine_fixture.hpp"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <future>
#include <iterator>
#include <thread>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <catch2/catch.hpp>

using namespace escalus;
using abi::ExitReason;

namespace {

struct Fixture : MachineFixture {};
struct TwoProcessors : MachineFixture {
    TwoProcessors() : MachineFixture{2} {}
};

} // namespace

TEST_CASE_METHOD(Fixture, "port accesses reach devices and complete the instruction") {
    auto& cpu = engine.vcpu(0);
    std::uint64_t first = 0, rip = 0, rax = 0;
    cpu.then([&](abi::VcpuPage& page) {
        first = page.segment[abi::seg_cs].base + page.rip;
        return out(0x3f8, 'A')(page);
    });
    cpu.then(out(0x80, 0x5a));
    cpu.then([](abi::VcpuPage& page) {
        page.gpr[abi::rax] = 0x1111111111111111;
        return in(0x80)(page);
    });
    cpu.then(look([&](abi::VcpuPage& page) { rip = page.rip, rax = page.gpr[abi::rax]; }));
    start();
    cpu.wait_for_steps(4);
    CHECK(first == 0xfffffff0);
    CHECK(rip == 0xfff6);
    CHECK(rax == 0x111111111111115a);
    cpu.then([](abi::VcpuPage& page) {
        page.gpr[abi::rax] = ~0ull;
        return in(0x5678, 4)(page);
    });
    cpu.then(look([&](abi::VcpuPage& page) { rax = page.gpr[abi::rax]; }));
    cpu.wait_for_steps(6);
    CHECK(rax == 0xffffffff); // nobody there; the upper half is cleared
    end();
    std::ifstream file{serial.path()};
    CHECK(std::string{std::istreambuf_iterator<char>{file}, {}} == "A");
}

TEST_CASE_METHOD(Fixture, "a plain move that is known takes no more state than its exit brings") {
    // mov ax, [bx] and mov ax, fs:[bx], in real mode, below the end of the firmware.
    std::vector<std::uint8_t> rom(128 << 10, 0x90);
    const std::vector<std::uint8_t> plain{0x8b, 0x07}, other_segment{0x64, 0x8b, 0x07};
    std::copy(plain.begin(), plain.end(), rom.begin() + 0x1e000);
    std::copy(other_segment.begin(), other_segment.end(), rom.begin() + 0x1e100);
    const TemporaryFile code{rom};
    config.bios = code.path();
    constexpr std::uint64_t hpet = 0xfed00000;
    const auto load = [=](std::uint64_t rip, unsigned segment) {
        return [=](abi::VcpuPage& page) {
            page.rip = rip;
            page.gpr[abi::rbx] = 0;
            page.segment[segment].base = hpet;
            page.exit.memory = {};
            page.exit.memory.gpa = hpet;
            page.valid = abi::group_general | abi::group_main_segments | abi::group_control;
            return ExitReason::Memory;
        };
    };
    auto& cpu = engine.vcpu(0);
    std::vector<unsigned> fetches;
    const auto note = look([&](abi::VcpuPage&) { fetches.push_back(cpu.fetches()); });
    for (const auto& [rip, segment] : {std::pair{0xe000, abi::seg_ds}, std::pair{0xe100, abi::seg_fs}})
        for (unsigned time = 0; time < 3; ++time) {
            cpu.then(load(static_cast<std::uint64_t>(rip), segment));
            cpu.then(note);
        }
    start();
    cpu.wait_for_steps(12);
    REQUIRE(fetches.size() == 6);
    CHECK(fetches[0] == fetches[2]); // learnt the first time
    CHECK(fetches[5] == fetches[2] + 3);
}

TEST_CASE_METHOD(Fixture, "a halted processor sleeps until the timer's interrupt is injected") {
    auto& cpu = engine.vcpu(0);
    // 8259: vectors 0x20, only IRQ 0 open. LINT0 as ExtINT. 8254: mode 0, about 20 ms.
    for (const auto& step : {out(0x20, 0x11), out(0x21, 0x20), out(0x21, 4), out(0x21, 1), out(0x21, 0xfe)})
        cpu.then(step);
    cpu.then(write_msr(0x1b, 0xfee00000 | 0xd00)); // x2APIC
    cpu.then(write_msr(0x80f, 0x1ff));
    cpu.then(write_msr(0x835, 0x700));
    for (const auto& step : {out(0x43, 0x30), out(0x40, 0), out(0x40, 0x60)})
        cpu.then(step);
    cpu.then([](abi::VcpuPage& page) {
        page.rflags |= 0x200;
        page.interrupt_shadow = 1; // STI; HLT
        page.next_rip = page.rip + 1;
        return ExitReason::Halt;
    });
    abi::Event event{};
    std::uint64_t rip = 0;
    cpu.then(look([&](abi::VcpuPage& page) { event = page.event, rip = page.rip; }));
    start();
    cpu.wait_for_steps(13);
    CHECK(event.valid == 1);
    CHECK(event.type == abi::EventType::Interrupt);
    CHECK(event.vector == 0x20);
    CHECK(rip == 0xfff0 + 11 * 2 + 1);
}

TEST_CASE_METHOD(Fixture, "an interrupt that cannot be taken yet asks for a window") {
    auto& cpu = engine.vcpu(0);
    cpu.then(write_msr(0x1b, 0xfee00000 | 0xd00));
    cpu.then(write_msr(0x80f, 0x1ff));
    cpu.then(write_msr(0x83f, 0x51)); // self IPI, with interrupts off
    std::uint32_t window = 0, vector = 0;
    cpu.then([&](abi::VcpuPage& page) {
        window = page.request_interrupt_window, vector = page.window_vector;
        page.rflags |= 0x200;
        return ExitReason::InterruptWindow;
    });
    abi::Event event{};
    std::uint32_t window_after = 1;
    cpu.then(look([&](abi::VcpuPage& page) {
        event = page.event;
        window_after = page.request_interrupt_window;
        page.event.valid = 0;
    }));
    start();
    cpu.wait_for_steps(5);
    CHECK(window == 1);
    CHECK(vector == 0x51);
    CHECK(event.valid == 1);
    CHECK(event.vector == 0x51);
    CHECK(window_after == 0);
}

TEST_CASE_METHOD(Fixture, "an interrupt that the CPU took by itself is in service") {
    auto& cpu = engine.vcpu(0);
    cpu.then(write_msr(0x1b, 0xfee00000 | 0xd00));
    cpu.then(write_msr(0x80f, 0x1ff));
    cpu.then(write_msr(0x83f, 0x51));
    cpu.then([](abi::VcpuPage& page) {
        page.window_taken = 1; // the CPU has delivered it, and then the handler reads its APIC
        page.exit.msr = {.index = 0x812, .reserved = 0, .value = 0};
        page.next_rip = page.rip + 2;
        return ExitReason::MsrRead;
    });
    std::uint64_t in_service = 0;
    std::uint32_t window = 1;
    bool event = true;
    cpu.then([&](abi::VcpuPage& page) {
        page.window_taken = 0;
        in_service = page.gpr[abi::rax], window = page.request_interrupt_window,
        event = page.event.valid != 0;
        return ExitReason::Interrupted;
    });
    start();
    cpu.wait_for_steps(5);
    CHECK(in_service == 1u << 0x11);
    CHECK(window == 0);
    CHECK_FALSE(event);
}

TEST_CASE_METHOD(Fixture, "a vCPU that is left at the deadline fires the timers") {
    auto& cpu = engine.vcpu(0);
    cpu.then(write_msr(0x1b, 0xfee00000 | 0xd00));
    cpu.then(write_msr(0x80f, 0x1ff));
    cpu.then(write_msr(0x83e, 0xb));  // divide by 1
    cpu.then(write_msr(0x832, 0x52)); // one shot
    cpu.then(write_msr(0x838, 1'000'000));
    std::uint64_t deadline = 0;
    cpu.then([&](abi::VcpuPage& page) {
        deadline = page.deadline;
        while (host_tsc() < deadline) {
        }
        page.rflags |= 0x200;
        return ExitReason::Deadline;
    });
    abi::Event event{};
    cpu.then(look([&](abi::VcpuPage& page) {
        event = page.event;
        page.event.valid = 0;
    }));
    start();
    cpu.wait_for_steps(7);
    CHECK(deadline != 0);
    CHECK(event.valid == 1);
    CHECK(event.vector == 0x52);
}

TEST_CASE_METHOD(Fixture, "a vCPU's own timer needs no other thread, whether it computes or sleeps") {
    engine.deadline_timer = GENERATE(false, true);
    const bool sleeps = GENERATE(false, true);
    auto& cpu = engine.vcpu(0);
    start();
    std::promise<void> done;
    boost::asio::post(loop, [waits = done.get_future().share()] { waits.wait(); });
    cpu.execute(write_msr(0x1b, 0xfee00000 | 0xd00));
    cpu.execute(write_msr(0x80f, 0x1ff));
    cpu.execute(write_msr(0x83e, 0xb));  // divide by 1
    cpu.execute(write_msr(0x832, 0x52)); // one shot
    cpu.execute(look([](abi::VcpuPage& page) { page.rflags |= 0x200; }));
    abi::Event event{};
    for (unsigned tick = 0; tick < 3; ++tick) {
        cpu.execute(write_msr(0x838, 2'000'000));
        if (sleeps)
            cpu.execute([](abi::VcpuPage& page) {
                page.next_rip = page.rip + 1;
                return ExitReason::Halt;
            });
        do {
            cpu.execute(look([&](abi::VcpuPage& page) { event = std::exchange(page.event, {}); }));
        } while (event.valid == 0);
        CHECK(event.vector == 0x52);
        cpu.execute(write_msr(0x80b, 0)); // its end
    }
    done.set_value();
}

TEST_CASE_METHOD(Fixture, "unknown MSRs raise #GP and leave RIP alone") {
    auto& cpu = engine.vcpu(0);
    cpu.then(write_msr(0x12345678, 1));
    abi::Event event{};
    std::uint64_t rip = 0;
    cpu.then(look([&](abi::VcpuPage& page) { event = page.event, rip = page.rip; }));
    start();
    cpu.wait_for_steps(2);
    CHECK(event.type == abi::EventType::Exception);
    CHECK(event.vector == 13);
    CHECK(event.has_error_code == 1);
    CHECK(rip == 0xfff0);
}

TEST_CASE_METHOD(Fixture, "the keyboard controller's reset pulse restarts the machine in place") {
    auto& cpu = engine.vcpu(0);
    cpu.then(look([](abi::VcpuPage& page) { page.rip = 0x1234, page.cr0 = 0x11; }));
    cpu.then(out(0x64, 0xfe));
    std::uint64_t rip = 0, cr0 = 0;
    cpu.then(look([&](abi::VcpuPage& page) { rip = page.rip, cr0 = page.cr0; }));
    start();
    cpu.wait_for_steps(3);
    CHECK(rip == 0xfff0);
    CHECK(cr0 == 0x60000010);
    CHECK(machine->state() == MachineState::Running);
}

TEST_CASE_METHOD(Fixture, "a reboot is reported when it is not to restart") {
    config.on_reboot = LifecycleAction::Destroy;
    engine.vcpu(0).then(out(0xcf9, 0x06));
    start();
    CHECK(wait_until_stopped() == StopReason::Reboot);
    CHECK(machine->state() == MachineState::PoweredOff);
}

TEST_CASE_METHOD(Fixture, "soft off by ACPI ends the machine") {
    auto& cpu = engine.vcpu(0);
    constexpr std::uint32_t pm = 0x80000000 | 1 << 11 | 3 << 8;
    cpu.then(out(0xcf8, pm | 0x40, 4));
    cpu.then(out(0xcfc, 0x601, 4));
    cpu.then(out(0xcf8, pm | 0x80, 4));
    cpu.then(out(0xcfc, 1, 1));
    cpu.then(out(0x604, 1 << 13, 2)); // SLP_EN, type 0
    start();
    CHECK(wait_until_stopped() == StopReason::PowerOff);
    const auto runs = cpu.runs();
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
    CHECK(cpu.runs() == runs); // nothing runs any more
}

TEST_CASE_METHOD(Fixture, "a triple fault resets; a row of them is a crash with a dump") {
    auto& cpu = engine.vcpu(0);
    cpu.for_ever([](abi::VcpuPage&) { return ExitReason::Shutdown; });
    start();
    CHECK(wait_until_stopped() == StopReason::Crash);
    CHECK_THAT(why, Catch::Matchers::Contains("triple fault"));
    CHECK(machine->state() == MachineState::Crashed);
    CHECK(cpu.runs() >= 5); // more where the host was too slow for them to be in a row
}

TEST_CASE_METHOD(Fixture, "an invalid state is a crash that names the check") {
    engine.vcpu(0).then([](abi::VcpuPage& page) {
        page.exit.failure = {.code = 0xffffffff, .info1 = 0, .info2 = 0, .text = "CR0.PG without CR0.PE"};
        return ExitReason::EntryFailed;
    });
    start();
    CHECK(wait_until_stopped() == StopReason::Crash);
    CHECK_THAT(why, Catch::Matchers::Contains("CR0.PG without CR0.PE"));
}

TEST_CASE_METHOD(Fixture, "while paused nothing runs and the TSC stands still") {
    auto& cpu = engine.vcpu(0);
    std::uint64_t before = 0, after = 0;
    cpu.then(look([&](abi::VcpuPage& page) { before = page.msrs.tsc_offset; }));
    start();
    cpu.wait_for_steps(1);
    machine->pause();
    CHECK(machine->state() == MachineState::Paused);
    const auto runs = cpu.runs();
    cpu.then(look([&](abi::VcpuPage& page) { after = page.msrs.tsc_offset; }));
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
    CHECK(cpu.runs() == runs);
    machine->resume();
    cpu.wait_for_steps(2);
    CHECK(static_cast<std::int64_t>(before - after) > 1'000'000); // 20 ms, at any clock rate
    machine->pause();
    machine->reset();
    CHECK(machine->state() == MachineState::Paused);
    machine->resume();
}

TEST_CASE_METHOD(Fixture,
                 "a TSC at another rate: from 0, over a pause, and for the timer that counts by it") {
    constexpr std::uint64_t khz = 10'000'000;
    config.tsc_khz = khz;
    engine.scales_tsc = true;
    auto& cpu = engine.vcpu(0);
    std::uint64_t ratio = 0, first = 0, before = 0, after = 0, deadline = 0, fired = 0;
    abi::Event event{};
    const auto now = [](const abi::VcpuPage& page) {
        return abi::scale_tsc(host_tsc(), page.msrs.tsc_ratio) + page.msrs.tsc_offset;
    };
    cpu.then(look([&](abi::VcpuPage& page) { ratio = page.msrs.tsc_ratio, first = now(page); }));
    start();
    cpu.wait_for_steps(1);
    cpu.then(look([&](abi::VcpuPage& page) { before = now(page); }));
    cpu.wait_for_steps(2);
    machine->pause();
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
    machine->resume();
    cpu.then(look([&](abi::VcpuPage& page) { after = now(page); }));
    cpu.then(write_msr(0x1b, 0xfee00000 | 0xd00));
    cpu.then(write_msr(0x80f, 0x1ff));
    cpu.then(write_msr(0x832, 0x40000 | 0x60)); // deadline mode
    cpu.then([&](abi::VcpuPage& page) {
        deadline = now(page) + khz * 20;
        return write_msr(0x6e0, deadline)(page);
    });
    cpu.then([](abi::VcpuPage& page) {
        page.rflags |= 0x200;
        page.next_rip = page.rip + 1;
        return ExitReason::Halt;
    });
    cpu.then(look([&](abi::VcpuPage& page) { event = page.event, fired = now(page); }));
    cpu.wait_for_steps(9);
    CHECK(ratio != abi::tsc_ratio_one);
    const auto host_khz =
        static_cast<double>(khz) * static_cast<double>(abi::tsc_ratio_one) / static_cast<double>(ratio);
    CHECK(host_khz > 100'000);
    CHECK(first < khz * 10'000); // ten seconds for a machine to start
    CHECK(after >= before);
    CHECK(event.vector == 0x60);
    CHECK(fired >= deadline);
    CHECK(fired - deadline < khz * 10'000);
}

TEST_CASE_METHOD(Fixture, "a TSC at another rate is refused where the CPU cannot do it") {
    config.tsc_khz = 10'000'000;
    CHECK_THROWS_WITH(start(), Catch::Matchers::Contains("tsc_khz = 10000000") &&
                                   Catch::Matchers::Contains("Remove the line"));
}

TEST_CASE("ratios of TSCs convert both ways") {
    const TscRatio same, half{1'250'000'000, 2'500'000'000}, odd{3'333'333'333, 2'495'999'996};
    CHECK(same.fixed_point() == abi::tsc_ratio_one);
    CHECK(half.to_guest(1'000'001) == 500'000);
    CHECK(half.to_host(500'000) == 1'000'000);
    CHECK(half.to_host(~0ull) == ~0ull); // beyond what the host's TSC can reach
    CHECK((odd.fixed_point() & 0xffff) == 0);
    for (const std::uint64_t ticks : {1ull, 12345ull, 99'999'999'999ull, 1ull << 60}) {
        CHECK(odd.to_guest(odd.to_host(ticks)) >= ticks);
        CHECK(odd.to_guest(odd.to_host(ticks) - 1) < ticks);
    }
    const auto second = odd.to_guest(2'495'999'996);
    CHECK(second <= 3'333'333'333);
    CHECK(second > 3'333'333'331);
}

TEST_CASE_METHOD(TwoProcessors, "application processors wait for INIT and SIPI") {
    auto& first = engine.vcpu(0);
    auto& second = engine.vcpu(1);
    std::uint64_t base = 0;
    second.then(look([&](abi::VcpuPage& page) { base = page.segment[abi::seg_cs].base + page.rip; }));
    first.then(write_msr(0x1b, 0xfee00000 | 0xd00));
    first.then(write_msr(0x80f, 0x1ff));
    start();
    first.wait_for_steps(2);
    CHECK(second.runs() == 0);
    first.then(write_msr(0x830, 1ull << 32 | 0x4500));
    first.then(write_msr(0x830, 1ull << 32 | 0x4600 | 0x9a));
    second.wait_for_steps(1);
    CHECK(base == 0x9a000);
    // A second SIPI is ignored by a running processor.
    first.then(write_msr(0x830, 1ull << 32 | 0x4600 | 0x77));
    first.wait_for_steps(5);
    second.then(look([&](abi::VcpuPage& page) { base = page.segment[abi::seg_cs].base; }));
    second.wait_for_steps(2);
    CHECK(base == 0x9a000);
}

TEST_CASE("a machine that cannot be built says why") {
    Fixture fixture;
    fixture.config.disks = {{.path = "/nonexistent/disk.img", .device = "hda"}};
    CHECK_THROWS_WITH(fixture.start(), Catch::Matchers::Contains("/nonexistent/disk.img"));
    fixture.config.disks = {{.path = {}, .device = "sdz"}};
    CHECK_THROWS_WITH(fixture.start(), Catch::Matchers::Contains("sdz"));
}

TEST_CASE_METHOD(Fixture, "network cards are on the PCI bus from device 3 on") {
    config.networks = {{.mac = {0, 0x16, 0x3e, 1, 2, 3}, .kind = NetworkKind::User},
                       {.mac = {0, 0x16, 0x3e, 1, 2, 4},
                        .kind = NetworkKind::User,
                        .rate_bytes = 1000,
                        .rate_interval_us = 1000}};
    auto& cpu = engine.vcpu(0);
    std::array<std::uint64_t, 3> found{};
    for (unsigned i = 0; i < found.size(); ++i) {
        cpu.then(out(0xcf8, 0x80000000 | (3 + i) << 11, 4));
        cpu.then(in(0xcfc, 4));
        cpu.then(look([&found, i](abi::VcpuPage& page) { found.at(i) = page.gpr[abi::rax]; }));
    }
    start();
    cpu.wait_for_steps(9);
    CHECK(found[0] == 0x10001af4);
    CHECK(found[1] == 0x10001af4);
    CHECK(found[2] == 0xffffffff);
}

TEST_CASE_METHOD(Fixture,
                 "the USB controller is function 2 of the PIIX3, with a hub when its ports are not enough") {
    config.usb = UsbController::Uhci;
    config.usb_devices = {{.kind = UsbDeviceKind::Keyboard, .disk = {}}};
    const bool many = GENERATE(false, true);
    if (many) {
        config.usb_devices.push_back({.kind = UsbDeviceKind::Tablet, .disk = {}});
        config.usb_devices.push_back(
            {.kind = UsbDeviceKind::Disk, .disk = {.path = bios.path(), .device = "usb0"}});
    }
    auto& cpu = engine.vcpu(0);
    std::array<std::uint64_t, 3> found{};
    const auto read = [&](unsigned offset, std::uint64_t& into) {
        cpu.then(out(0xcf8, 0x80000a00 | offset, 4));
        cpu.then(in(0xcfc, 4));
        cpu.then(look([&into](abi::VcpuPage& page) { into = page.gpr[abi::rax]; }));
    };
    read(0x00, found[0]);
    read(0x3c, found[1]);
    cpu.then(out(0xcf8, 0x80000a20, 4));
    cpu.then(out(0xcfc, 0xc040, 4));
    cpu.then(out(0xcf8, 0x80000a04, 4));
    cpu.then(out(0xcfc, 5, 4));
    cpu.then(in(0xc050, 4));
    cpu.then(look([&](abi::VcpuPage& page) { found[2] = page.gpr[abi::rax]; }));
    start();
    cpu.wait_for_steps(12);
    CHECK(found[0] == 0x70208086);
    CHECK((found[1] >> 8 & 0xff) == 4);
    CHECK((found[2] & 1) == 1);
    CHECK((found[2] >> 16 & 1) == (many ? 1 : 0));
}

TEST_CASE_METHOD(Fixture, "the xHCI controller is a card of its own") {
    config.usb = UsbController::Xhci;
    for (unsigned i = 0; i < 5; ++i)
        config.usb_devices.push_back(
            {.kind = UsbDeviceKind::Disk,
             .disk = {.path = bios.path(), .device = "usb" + std::to_string(i), .snapshot = true}});
    auto& cpu = engine.vcpu(0);
    std::uint64_t found = 0;
    cpu.then(out(0xcf8, 0x80000000 | 9 << 11, 4));
    cpu.then(in(0xcfc, 4));
    cpu.then(look([&](abi::VcpuPage& page) { found = page.gpr[abi::rax]; }));
    start();
    cpu.wait_for_steps(3);
    CHECK(found == 0x000d1b36);
}

TEST_CASE_METHOD(Fixture, "a network card that cannot be had is named, and what to write") {
    config.networks = {{.kind = NetworkKind::User, .user = {.forwards = {{.host_address = "256.1.1.1"}}}}};
    CHECK_THROWS_WITH(start(), Catch::Contains("256.1.1.1"));
}
