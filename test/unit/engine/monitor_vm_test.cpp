// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/engine/monitor_engine.hpp"
#include "test/unit/engine/fake_monitor.hpp"

#include <thread>

#include <catch2/catch.hpp>

using namespace escalus;
using Catch::Matchers::Contains;

namespace {
constexpr std::uint64_t mib = 1 << 20;

struct Fixture {
    FakeMonitor monitor;
    MonitorEngine engine{monitor.open()};
    std::unique_ptr<EngineVm> vm = engine.create_vm(12 * mib, 2);
};
} // namespace

TEST_CASE_METHOD(Fixture, "a VM's memory is mapped end to end, and belongs to the right extents") {
    auto& ram = vm->allocate("ram", 6 * mib);
    REQUIRE(ram.bytes().size() == 6 * mib);
    ram.bytes()[4 * mib] = 0x42; // first byte of the second extent
    CHECK(monitor.physical(FakeMonitor::pool + 8 * mib, 1)[0] == 0x42);
    CHECK_THROWS_AS(vm->allocate("more", 8 * mib), std::bad_alloc);

    monitor.forget();
    vm->map(GuestPhys{0x10'0000}, ram, 3 * mib, 2 * mib, Access::RWX);
    const auto calls = monitor.seen();
    REQUIRE(calls.size() == 2);
    CHECK(calls[0].arguments.rcx == (0x10'0000 | 7));
    CHECK(calls[0].arguments.r8 == FakeMonitor::pool + 3 * mib);
    CHECK(calls[0].arguments.r9 == mib);
    CHECK(calls[1].arguments.rcx == (0x20'0000 | 7));
    CHECK(calls[1].arguments.r8 == FakeMonitor::pool + 8 * mib);
}

TEST_CASE_METHOD(Fixture, "wrong mappings are refused before the monitor sees them") {
    auto& rom = vm->allocate("rom", 0x10000);
    monitor.forget();
    CHECK_THROWS_AS(vm->map(GuestPhys{0x100}, rom, 0, 0x1000, Access::RX), std::invalid_argument);
    CHECK_THROWS_AS(vm->map(GuestPhys{0x1000}, rom, 0xf000, 0x2000, Access::RX), std::invalid_argument);
    CHECK_THROWS_AS(vm->map(GuestPhys{0x1000}, rom, 1, 0x1000, Access::RX), std::invalid_argument);
    CHECK_THROWS_AS(vm->map(GuestPhys{abi::gpa_limit}, rom, 0, 0x1000, Access::RX), std::invalid_argument);
    CHECK_THROWS_AS(vm->unmap(GuestPhys{0}, 0), std::invalid_argument);
    CHECK(monitor.seen().empty());
}

TEST_CASE_METHOD(Fixture, "dirty pages are harvested in parts and cut to the range") {
    std::vector<std::uint64_t> bitmap;
    vm->harvest_dirty(GuestPhys{0}, 3 * page_size, bitmap);
    REQUIRE(bitmap.size() == 1);
    CHECK(bitmap[0] == 0x5);
    monitor.forget();
    vm->harvest_dirty(GuestPhys{0}, (abi::dirty_pages_max + 64) * page_size, bitmap);
    CHECK(bitmap.size() == abi::dirty_pages_max / 64 + 1);
    CHECK(bitmap.back() == 0xa5a5a5a5a5a5a5a5);
    CHECK(monitor.seen().size() == 2);
}

TEST_CASE_METHOD(Fixture, "a change of the map takes running vCPUs out of guest mode and lets them back in") {
    auto& ram = vm->allocate("ram", 2 * mib);
    std::atomic<bool> entered = false, stop = false;
    std::atomic<unsigned> runs = 0;
    monitor.guest = [&](abi::VcpuPage& page) {
        entered = true;
        // In guest mode until somebody wants something, as a guest that computes.
        while (__atomic_load_n(&page.exit_now, __ATOMIC_SEQ_CST) == 0)
            std::this_thread::yield();
        page.exit_reason = static_cast<std::uint32_t>(abi::ExitReason::Interrupted);
    };
    std::thread first{[&] {
        while (!stop) {
            runs += vm->vcpu(0).run() == abi::ExitReason::Interrupted ? 1 : 0; // Catch is not for threads
        }
    }};
    while (!entered)
        std::this_thread::yield();
    for (unsigned i = 0; i < 50; ++i) {
        monitor.forget();
        vm->map(GuestPhys{0}, ram, 0, 2 * mib, Access::RWX); // throws if the vCPU were still in
        CHECK(monitor.seen().back().call == abi::Call::VmMap);
    }
    stop = true;
    vm->vcpu(0).request_exit();
    first.join();
    CHECK(runs > 0);
}

TEST_CASE_METHOD(Fixture, "a vCPU that comes in the middle of a change waits for its end") {
    auto& ram = vm->allocate("ram", 2 * mib);
    std::atomic<bool> stop = false;
    std::atomic<unsigned> runs = 0;
    std::thread runner{[&] {
        while (!stop) {
            vm->vcpu(1).run(); // throws, and so ends the test, when the refusal comes through
            ++runs;
        }
    }};
    // A change that found the vCPU outside lasts until it comes; one behind the closed gate would wait for
    // ever.
    monitor.during_change = [&] {
        const auto before = monitor.refusals.load();
        for (unsigned i = 0; i < 1000 && monitor.refusals == before; ++i)
            std::this_thread::yield();
    };
    for (unsigned i = 0; i < 5000 && monitor.refusals < 10; ++i) {
        const auto before = runs.load();
        vm->map(GuestPhys{0}, ram, 0, 2 * mib, Access::RWX);
        while (runs == before)
            std::this_thread::yield();
    }
    stop = true;
    runner.join();
    CHECK(monitor.refusals >= 10);
}

TEST_CASE_METHOD(Fixture, "a request made between two runs ends the next one at once") {
    monitor.guest = [&](abi::VcpuPage& page) {
        page.exit_reason = static_cast<std::uint32_t>(page.exit_now != 0 ? abi::ExitReason::Interrupted
                                                                         : abi::ExitReason::Halt);
    };
    vm->vcpu(1).request_exit();
    CHECK(vm->vcpu(1).run() == abi::ExitReason::Interrupted);
    CHECK(vm->vcpu(1).run() == abi::ExitReason::Halt);
}

TEST_CASE_METHOD(Fixture, "the CPUID table goes to its page") {
    std::vector<abi::CpuidEntry> entries(2);
    entries[1].function = 0x80000000;
    vm->set_cpuid(entries);
    abi::CpuidPage page;
    std::memcpy(&page, monitor.physical(FakeMonitor::vm_area + page_size, sizeof page).data(), sizeof page);
    CHECK(page.count == 2);
    CHECK(page.entries[1].function == 0x80000000);
    CHECK_THROWS_AS(vm->set_cpuid(std::vector<abi::CpuidEntry>(abi::cpuid_entries_max + 1)), EngineError);
}

TEST_CASE_METHOD(Fixture, "the VM goes with its object, by its own key, after the host was given up") {
    CHECK(engine.created_vm().handle == FakeMonitor::handle);
    CHECK(engine.created_vm().key == FakeMonitor::vm_key);
    engine.give_up_host_access();
    CHECK(engine.info().pool_bytes == FakeMonitor::pool_bytes);
    CHECK_THROWS_AS(engine.create_vm(mib, 1), EngineError);
    vm.reset();
    const auto last = monitor.seen().back();
    CHECK(last.call == abi::Call::VmDestroy);
    CHECK(last.arguments.rsi == FakeMonitor::vm_key.low);
}

TEST_CASE("a pool that is too small is said with numbers") {
    FakeMonitor monitor;
    monitor.host().pool_free_bytes = 10 * mib;
    MonitorEngine engine{monitor.open()};
    CHECK_THROWS_WITH(engine.create_vm(64 * mib, 1),
                      Contains("64 MiB") && Contains("10 MiB") && Contains("32 MiB"));
    CHECK(monitor.seen().empty());
    monitor.create_status = abi::Status::NoMemory;
    CHECK_THROWS_WITH(engine.create_vm(4 * mib, 1), Contains("10 MiB"));
    monitor.create_status = abi::Status::NoSlot;
    CHECK_THROWS_WITH(engine.create_vm(4 * mib, 1), Contains("room for another VM"));
    CHECK_THROWS_AS(engine.create_vm(4 * mib, 0), EngineError);
    CHECK_THROWS_AS(engine.create_vm(4 * mib, abi::vcpus_max + 1), EngineError);
}

TEST_CASE("a VM whose memory cannot be mapped is destroyed again") {
    FakeMonitor monitor;
    monitor.extents = {{0x1000'0000'0000'0001, 2 * mib}}; // misaligned: mmap refuses
    MonitorEngine engine{monitor.open()};
    CHECK_THROWS_AS(engine.create_vm(2 * mib, 1), EngineError);
    CHECK(monitor.seen().back().call == abi::Call::VmDestroy);
}
