// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/exit_names.hpp"

#include <catch2/catch.hpp>

using namespace escalus;

TEST_CASE("exits are named by the back end that counts them") {
    abi::StatPage page{};
    page.entries = 7;
    page.reason[static_cast<std::size_t>(abi::ExitReason::TaskSwitch)] = 1;
    page.reason[static_cast<std::size_t>(abi::ExitReason::Deadline)] = 2;
    page.hardware[0x34] = 3;
    page.backend = static_cast<std::uint64_t>(abi::Backend::Vmx);
    const auto names = name_exits(page);
    REQUIRE(names.size() == 4);
    CHECK(names[0] == std::pair<std::string, std::uint64_t>{"entries", 7});
    CHECK(names[1].first == "device model: task switch");
    CHECK(names[2].first == "device model: deadline");
    CHECK(names[3].first == "preemption timer");
    CHECK(name_hardware_exit(page, 9) == "task switch");
    CHECK(name_hardware_exit(page, 79) == "wrmsrlist");
    CHECK(name_hardware_exit(page, 35) == "hardware exit 0x23"); // not in use
    CHECK(name_hardware_exit(page, 0x121) == "failed entry: invalid guest state");
    page.backend = static_cast<std::uint64_t>(abi::Backend::Svm);
    CHECK(name_hardware_exit(page, 0x72) == "cpuid");
    CHECK(name_hardware_exit(page, 0x7d) == "task switch");
    CHECK(name_hardware_exit(page, 0x8f) == "EFER written");
    CHECK(name_hardware_exit(page, 0x41) == "exception 1");
    CHECK(name_hardware_exit(page, 0x100) == "nested page fault");
    CHECK(name_hardware_exit(page, 0x17f) == "hardware exit 0x17f");
}
