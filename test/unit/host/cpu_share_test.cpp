// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/host/cpu_group.hpp"
#include "devmodel/backends/host/thread_affinity.hpp"

#include <fstream>
#include <stdexcept>

#include <catch2/catch.hpp>
#include <unistd.h>

using namespace escalus;
namespace fs = std::filesystem;

namespace {

/// A folder that looks like cgroup v2. The kernel makes a group's files; here they are there before.
struct Hierarchy {
    explicit Hierarchy(const std::string& controllers) {
        fs::create_directories(root / "escalus/guest");
        std::ofstream{root / "cgroup.controllers"} << controllers << '\n';
        for (const auto& group : {root, root / "escalus", root / "escalus/guest"})
            for (const auto* file : {"cgroup.subtree_control", "cgroup.procs", "cpu.weight", "cpu.max"})
                std::ofstream{group / file}.flush();
    }
    ~Hierarchy() { fs::remove_all(root); }
    Hierarchy(const Hierarchy&) = delete;
    Hierarchy& operator=(const Hierarchy&) = delete;
    [[nodiscard]] std::string content(const std::string& file) const {
        std::string text;
        std::getline(std::ifstream{root / file}, text);
        return text;
    }
    fs::path root = fs::temp_directory_path() / ("escalus-cgroup-" + std::to_string(::getpid()));
};

} // namespace

TEST_CASE("Xen's weights and caps in the kernel's units") {
    CHECK(cgroup_weight(256) == 100);
    CHECK(cgroup_weight(512) == 200);
    CHECK(cgroup_weight(1) == 1);
    CHECK(cgroup_weight(65535) == 10'000);
    CHECK(cgroup_maximum(0) == "max 100000");
    CHECK(cgroup_maximum(50) == "50000 100000");
    CHECK(cgroup_maximum(400) == "400000 100000");
}

TEST_CASE("a group gets its share, and whoever enters it") {
    const Hierarchy hierarchy{"cpuset cpu memory"};
    const CpuGroup group{"guest", {.weight = 512, .cap = 25}, hierarchy.root};
    CHECK(hierarchy.content("cgroup.subtree_control") == "+cpu");
    CHECK(hierarchy.content("escalus/cgroup.subtree_control") == "+cpu");
    CHECK(hierarchy.content("escalus/guest/cpu.weight") == "200");
    CHECK(hierarchy.content("escalus/guest/cpu.max") == "25000 100000");
    group.enter();
    CHECK(hierarchy.content("escalus/guest/cgroup.procs") == "0");
}

TEST_CASE("without cgroup v2 the message says what is missing") {
    CHECK_THROWS_WITH((CpuGroup{"guest", {.weight = 1}, "/nonexistent"}), Catch::Contains("cgroup v2"));
    const Hierarchy hierarchy{"memory"};
    CHECK_THROWS_WITH((CpuGroup{"guest", {.weight = 1}, hierarchy.root}),
                      Catch::Contains("cpu controller") && Catch::Contains(hierarchy.root.string()));
}

TEST_CASE("a thread is pinned to what there is of its CPUs") {
    cpu_set_t before;
    REQUIRE(sched_getaffinity(0, sizeof before, &before) == 0);
    unsigned first = 0;
    while (!CPU_ISSET(first, &before))
        ++first;
    CpuMask mask;
    mask.set(first);
    mask.set(host_cpus_max - 1); // not there
    set_affinity(pthread_self(), mask);
    cpu_set_t now;
    REQUIRE(sched_getaffinity(0, sizeof now, &now) == 0);
    CHECK(CPU_COUNT(&now) == 1);
    CHECK(CPU_ISSET(first, &now));
    sched_setaffinity(0, sizeof before, &before);
    CHECK_THROWS_WITH(set_affinity(pthread_self(), CpuMask{}.set(host_cpus_max - 1)),
                      Catch::Contains("cpus"));
}
