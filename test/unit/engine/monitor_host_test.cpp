// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/engine/monitor_host.hpp"
#include "test/unit/engine/fake_monitor.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using Catch::Matchers::Contains;

namespace {
CpuidFunction leaves(const char* text, std::uint32_t version) {
    return [=](std::uint32_t leaf, std::uint32_t) -> std::array<std::uint32_t, 4> {
        std::array<std::uint32_t, 4> r{};
        if (leaf == abi::leaf_signature) {
            r[0] = abi::leaf_host_page;
            for (unsigned i = 0; i < 3; ++i)
                std::memcpy(&r[i + 1], text + 4 * i, 4);
        } else if (leaf == abi::leaf_version) {
            r = {version, abi::feature_tsc_ratio, static_cast<std::uint32_t>(abi::Backend::Vmx), 0};
        } else if (leaf == abi::leaf_host_page) {
            r = {0x89abc000, 0x1, 0, 0};
        }
        return r;
    };
}
} // namespace

TEST_CASE("the monitor is found by its CPUID leaves") {
    const auto found = discover_monitor(leaves(abi::signature, 7));
    REQUIRE(found);
    CHECK(found->abi_version == 7);
    CHECK(found->backend == abi::Backend::Vmx);
    CHECK(found->features == abi::feature_tsc_ratio);
    CHECK(raw(found->host_page) == 0x1'89ab'c000);
    CHECK_FALSE(discover_monitor(leaves("KVMKVMKVM\0\0\0", 1)));
}

TEST_CASE("no monitor and a wrong version are told apart, with what to do") {
    CHECK_THROWS_WITH(require_monitor(leaves("KVMKVMKVM\0\0\0", 1)),
                      Contains("./lab boot") && Contains("docs/INSTALL.md"));
    CHECK_THROWS_WITH(require_monitor(leaves(abi::signature, abi::version + 1)),
                      Contains("version " + std::to_string(abi::version + 1)));
    CHECK(require_monitor(leaves(abi::signature, abi::version)).abi_version == abi::version);
}

TEST_CASE("the host page gives the pool and the VMs") {
    FakeMonitor monitor;
    const auto host = monitor.open();
    CHECK(host->info().pool_bytes == FakeMonitor::pool_bytes);
    CHECK(host->info().backend == "AMD-V");
    CHECK(host->vms().empty());
    monitor.host().vms[3] = {0x20003, 2 << 20, 2, FakeMonitor::vm_area};
    REQUIRE(host->vms().size() == 1);
    CHECK(host->vms()[0].handle == 0x20003);
    CHECK(host->statistics(0x20003, 1).has_value());
    CHECK_FALSE(host->statistics(0x20003, 2));
    CHECK_FALSE(host->statistics(0x20004, 0));
    CHECK_FALSE(host->statistics(0, 0));
}

TEST_CASE("a page that is not the host page is refused") {
    FakeMonitor monitor;
    monitor.host().magic = 1;
    CHECK_THROWS_AS(monitor.open(), EngineError);
}

TEST_CASE("the log ring is read from its oldest whole line, and followed") {
    FakeMonitor monitor;
    const auto host = monitor.open();
    CHECK(host->log().empty());
    monitor.write_log("first\nsecond\n");
    std::uint64_t position = 0;
    CHECK(host->log(&position) == "first\nsecond\n");
    CHECK(host->log(&position).empty());
    monitor.write_log("third\n");
    CHECK(host->log(&position) == "third\n");
    for (int i = 0; i < 10; ++i)
        monitor.write_log("0123456789\n");
    CHECK(host->log() == "0123456789\n0123456789\n0123456789\n0123456789\n0123456789\n");
}

TEST_CASE("a VM left behind is destroyed by the host key") {
    FakeMonitor monitor;
    const auto host = monitor.open();
    host->destroy(FakeMonitor::handle);
    CHECK(monitor.seen().back().call == abi::Call::VmDestroy);
    CHECK_THROWS_WITH(host->destroy(5), Contains("no such VM"));
}
