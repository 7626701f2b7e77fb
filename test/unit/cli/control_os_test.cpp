// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/cli/control_os.hpp"

#include <boost/json.hpp>
#include <catch2/catch.hpp>

using namespace escalus;

TEST_CASE("the control OS's time is what its CPUs did not idle") {
    // user nice system idle iowait irq softirq steal guest guest_nice
    CHECK(busy_seconds("cpu  100 20 30 4000 500 6 7 80 90 10\ncpu0 1 2 3 4 5 6 7 0 0 0\n", 100) ==
          Approx(1.63));
    CHECK(busy_seconds("cpu 5 0 5", 10) == Approx(1.0)); // an old kernel's shorter line
    CHECK(busy_seconds("cpu0 100 20 30 4000", 100) == 0);
    CHECK(busy_seconds("cpu  1 x 3", 100) == 0);
    CHECK(busy_seconds("", 100) == 0);
    CHECK(busy_seconds("cpu  1 2 3 4", 0) == 0);
}

TEST_CASE("the control OS has a guest's columns, and ID 0") {
    const auto line = describe_control_os();
    CHECK(line.at("name") == "Domain-0");
    CHECK(line.at("id").to_number<int>() == 0);
    CHECK(line.at("memory_mib").to_number<std::uint64_t>() > 0);
    CHECK(line.at("vcpus").to_number<int>() >= 1);
    CHECK(line.at("state") == "running");
    CHECK(line.at("cpu_seconds").to_number<double>() > 0);
}
