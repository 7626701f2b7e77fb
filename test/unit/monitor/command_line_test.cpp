// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/boot/command_line.hpp"
#include "vmm/cpu/hardware_options.hpp"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

using namespace escalus::vmm;

namespace {
std::vector<std::string> complaints;

Options parse(const char* line) {
    complaints.clear();
    return parse_options(
        line, [](const char* word, unsigned length, const char*) { complaints.emplace_back(word, length); });
}
} // namespace

TEST_CASE("an empty command line gives the defaults") {
    const Options o = parse("");
    CHECK(o.pool_in_percent);
    CHECK(o.pool == 50);
    CHECK(o.console == Console::None);
    CHECK(o.log_level == LogLevel::Info);
    CHECK(complaints.empty());
}

TEST_CASE("all options, with the loader's path in front") {
    const Options o = parse("/boot/escalus-monitor  pool=1024 console=com2\tloglevel=debug ");
    CHECK_FALSE(o.pool_in_percent);
    CHECK(o.pool == 1024);
    CHECK(o.console == Console::Com2);
    CHECK(o.log_level == LogLevel::Debug);
    CHECK(complaints.empty());
    CHECK(parse("pool=90%").pool == 90);
    CHECK(parse("console=vga").console == Console::Vga);
}

TEST_CASE("wrong values are told and leave the default") {
    for (const char* line :
         {"pool=0%", "pool=91%", "pool=1", "pool=", "pool=%", "pool=-5", "pool=12x", "pool=9999999999"}) {
        INFO(line);
        const Options o = parse(line);
        CHECK(o.pool_in_percent);
        CHECK(o.pool == 50);
        CHECK(complaints == std::vector<std::string>{line});
    }
    CHECK(parse("console=com3").console == Console::None);
    CHECK(complaints.size() == 1);
    CHECK(parse("x=1 loglevel=loud quiet").log_level == LogLevel::Info);
    CHECK(complaints == std::vector<std::string>{"x=1", "loglevel=loud", "quiet"});
}

TEST_CASE("parts of the hardware are switched off by name, and a wrong value leaves them on") {
    const auto off = [](const char* line) {
        return parse_options(line, [](const char*, unsigned, const char*) {}).hardware_off;
    };
    const auto bit = [](HardwareOption option) { return 1u << static_cast<unsigned>(option); };
    CHECK(off("pool=50%") == 0);
    CHECK(off("vpid=off") == bit(HardwareOption::Vpid));
    CHECK(off("preemption-timer=off") == bit(HardwareOption::PreemptionTimer));
    CHECK(off("virtual-interrupts=off") == bit(HardwareOption::VirtualInterrupts));
    CHECK(off("wait-for-sipi=off") == bit(HardwareOption::WaitForSipi));
    CHECK(off("tsc-scaling=off") == bit(HardwareOption::TscScaling));
    CHECK(off("vpid=off ept-ad=off") == (bit(HardwareOption::Vpid) | bit(HardwareOption::EptDirty)));
    CHECK(off("vpid=off vpid=on") == 0);
    CHECK(off("vpid=never") == 0);
    CHECK(off("true-controls=off") == bit(HardwareOption::TrueControls));
}
