// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/cli/runtime_directory.hpp"
#include "test/unit/cli/temporary_run.hpp"

#include <fstream>

#include <catch2/catch.hpp>
#include <sys/stat.h>

namespace fs = std::filesystem;
using namespace escalus;

namespace {

const VmDestroyer nothing_to_destroy = [](const VmIdentity&) { FAIL("no VM was there"); };

/// What a guest leaves whose guardian was killed: everything, and a lock that nobody holds.
void leave_dead_guest(const fs::path& root, const std::string& name, const VmIdentity& vm) {
    {
        RuntimeDirectory directory{name, nothing_to_destroy};
        directory.write_vm(vm);
        directory.write("config.json", "{}");
        fs::copy(directory.path(), root / ".kept", fs::copy_options::recursive);
    }
    fs::rename(root / ".kept", root / name);
}

} // namespace

TEST_CASE("a running guest is a locked directory that goes with it") {
    const TemporaryRun run;
    {
        const RuntimeDirectory directory{"a", nothing_to_destroy};
        CHECK(directory.path() == run.path / "a");
        directory.write("pid", "17\n18\n");
        CHECK(read_guardian_pid(directory.path()) == 17);
        const auto guests = find_guests();
        REQUIRE(guests.size() == 1);
        CHECK(guests[0].name == "a");
        CHECK(guests[0].alive);
        CHECK(find_guest("a"));
        CHECK(!find_guest("b"));
        CHECK(reap_dead_guests(nothing_to_destroy).empty());
    }
    CHECK(find_guests().empty());
    CHECK(!fs::exists(run.path / "a"));
}

TEST_CASE("a name can be taken once at a time") {
    const TemporaryRun run;
    const RuntimeDirectory directory{"a", nothing_to_destroy};
    CHECK_THROWS_WITH((RuntimeDirectory{"a", nothing_to_destroy}),
                      Catch::Contains("a guest named a already runs"));
    CHECK(find_guest("a")); // the refusal left the first alone
    const RuntimeDirectory other{"b", nothing_to_destroy};
    CHECK(find_guests().size() == 2);
}

TEST_CASE("a VM's handle and key are kept for its owner only") {
    const TemporaryRun run;
    const RuntimeDirectory directory{"a", nothing_to_destroy};
    CHECK(!read_vm_file(directory.path()));
    const VmIdentity vm{0xdeadbeef00010003, {0xffffffffffffffff, 1}};
    directory.write_vm(vm);
    CHECK(read_vm_file(directory.path()) == vm);
    struct stat status {};
    REQUIRE(stat((directory.path() / "vm").c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0600);
}

TEST_CASE("what a dead guest left is cleared away, its VM first") {
    const TemporaryRun run;
    const VmIdentity vm{5, {6, 7}};
    leave_dead_guest(run.path, "dead", vm);
    CHECK(!find_guest("dead"));
    std::vector<VmIdentity> destroyed;
    const VmDestroyer destroy = [&](const VmIdentity& identity) { destroyed.push_back(identity); };

    SECTION("by any command") {
        CHECK(reap_dead_guests(destroy) == std::vector<std::string>{"dead"});
        CHECK(!fs::exists(run.path / "dead"));
    }
    SECTION("by a new guest of the name") {
        const RuntimeDirectory directory{"dead", destroy};
        CHECK(!fs::exists(directory.path() / "config.json"));
        CHECK(!fs::exists(directory.path() / "vm"));
    }
    REQUIRE(destroyed.size() == 1);
    CHECK(destroyed[0] == vm);
}

TEST_CASE("a VM that cannot be destroyed keeps its directory for the next attempt") {
    const TemporaryRun run;
    leave_dead_guest(run.path, "dead", {5, {6, 7}});
    const VmDestroyer refuse = [](const VmIdentity&) { throw std::runtime_error("busy"); };
    CHECK(reap_dead_guests(refuse).empty());
    CHECK(read_vm_file(run.path / "dead"));
}

TEST_CASE("a runtime root that cannot be made is an error that names it") {
    const TemporaryRun run;
    std::ofstream{run.path / "file"} << "x";
    setenv("ESCALUS_RUN", (run.path / "file").c_str(), 1); // NOLINT(concurrency-mt-unsafe)
    CHECK_THROWS_WITH((RuntimeDirectory{"a", nothing_to_destroy}), Catch::Contains("cannot be made"));
    CHECK(find_guests().empty());
}
