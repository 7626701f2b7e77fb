// SPDX-License-Identifier: GPL-2.0-or-later
// The guardian with children that play device model: they report what a device model reports, and die in the
// ways a device model dies.
#include "devmodel/cli/guardian.hpp"
#include "test/unit/cli/temporary_run.hpp"

#include <csignal>
#include <fstream>
#include <iterator>
#include <optional>

#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace escalus;
namespace json = boost::json;

namespace {

void report(const ChildPipes& pipes, const json::object& event) {
    const std::string line = json::serialize(event) + '\n';
    static_cast<void>(!::write(pipes.status, line.data(), line.size()));
}
void report_vm(const ChildPipes& pipes, std::uint64_t handle) {
    report(pipes, {{"event", "vm"}, {"handle", handle}, {"key_low", 1}, {"key_high", 2}});
}
void report_running(const ChildPipes& pipes) {
    report(pipes, {{"event", "running"}, {"vnc", "127.0.0.1:5900"}});
}
void report_stopped(const ChildPipes& pipes, const char* reason, const char* action,
                    const char* details = "") {
    report(pipes, {{"event", "stopped"}, {"reason", reason}, {"details", details}, {"action", action}});
}

struct Life {
    TemporaryRun run;
    std::vector<std::uint64_t> destroyed;
    unsigned ran = 0;
    std::string said;
    std::string log;

    int guard(std::function<int(const ChildPipes&)> child,
              const std::function<void(const std::filesystem::path&)>& running = {}) {
        RuntimeDirectory directory{"g", [](const VmIdentity&) {}};
        MachineConfig config;
        config.name = "g";
        GuardianHooks hooks;
        hooks.child = std::move(child);
        hooks.destroy_vm = [&](const VmIdentity& vm) { destroyed.push_back(vm.handle); };
        hooks.running = [&](const json::object&) {
            ++ran;
            if (running)
                running(directory.path());
        };
        hooks.say = [&](const std::string& line) { said += line + '\n'; };
        const int code = escalus::guard(directory, config, hooks);
        std::ifstream file{directory.path() / "log"};
        log.assign(std::istreambuf_iterator<char>{file}, {});
        return code;
    }
};

} // namespace

TEST_CASE("a guest that powers off ends with code 0, and its VM is destroyed") {
    Life life;
    CHECK(life.guard([](const ChildPipes& pipes) {
        report_vm(pipes, 42);
        report_running(pipes);
        report_stopped(pipes, "power-off", "destroy");
        return 0;
    }) == 0);
    CHECK(life.ran == 1);
    CHECK(life.destroyed == std::vector<std::uint64_t>{42});
    CHECK(life.said == "g: powered off\n");
}

TEST_CASE("a crash ends with code 1 and says why") {
    Life life;
    CHECK(life.guard([](const ChildPipes& pipes) {
        report_running(pipes);
        report_stopped(pipes, "crash", "destroy", "triple fault at 0xfff0");
        return 0;
    }) == 1);
    CHECK(life.said == "g crashed: triple fault at 0xfff0\n");
}

TEST_CASE("a device model that cannot start gives its own words") {
    Life life;
    CHECK(life.guard([](const ChildPipes& pipes) {
        report(pipes, {{"event", "failed"}, {"message", "port 5900 is taken"}});
        return 1;
    }) == 1);
    CHECK(life.said == "port 5900 is taken\n");
    CHECK(life.ran == 0);
    CHECK(life.destroyed.empty());
}

TEST_CASE("a device model that is killed leaves no VM behind") {
    Life life;
    CHECK(life.guard([](const ChildPipes& pipes) {
        report_vm(pipes, 7);
        report_running(pipes);
        ::raise(SIGKILL);
        return 0;
    }) == 1);
    CHECK(life.destroyed == std::vector<std::uint64_t>{7});
    CHECK(life.said.find("killed by signal 9") != std::string::npos);
}

TEST_CASE("a device model that just ends is an error too") {
    Life life;
    CHECK(life.guard([](const ChildPipes&) { return 3; }) == 1);
    CHECK(life.said.find("ended with code 3") != std::string::npos);
}

TEST_CASE("restart is a new child, told of in between, and not without end") {
    Life life;
    SECTION("twice, then power-off") {
        const auto counter = life.run.path / "count";
        CHECK(life.guard([&](const ChildPipes& pipes) {
            std::ofstream{counter, std::ios::app} << 'x';
            report_vm(pipes, std::filesystem::file_size(counter));
            report_running(pipes);
            report_stopped(pipes, "power-off",
                           std::filesystem::file_size(counter) < 3 ? "restart" : "destroy");
            return 0;
        }) == 0);
        CHECK(life.ran == 3);
        CHECK(life.destroyed == std::vector<std::uint64_t>{1, 2, 3});
    }
    SECTION("a guest that crashes at once each time") {
        CHECK(life.guard([](const ChildPipes& pipes) {
            report_stopped(pipes, "crash", "restart", "again");
            return 0;
        }) == 1);
        CHECK(life.said.find("is not restarted any more") != std::string::npos);
    }
}

TEST_CASE("what the device model writes on standard error is in the log") {
    Life life;
    CHECK(life.guard([](const ChildPipes& pipes) {
        static_cast<void>(!::write(STDERR_FILENO, "a word\n", 7));
        report_stopped(pipes, "destroyed", "destroy");
        return 0;
    }) == 0);
    CHECK(life.log == "a word\n");
}

TEST_CASE("signals to the guardian end the guest") {
    Life life;
    const auto wait_for_term = [](const ChildPipes& pipes) {
        report_vm(pipes, 9);
        report_running(pipes);
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        int signal = 0;
        ::sigwait(&set, &signal); // blocked since before the fork
        report_stopped(pipes, "destroyed", "destroy");
        return 0;
    };
    CHECK(life.guard(wait_for_term, [](const auto&) { ::raise(SIGINT); }) == 128 + SIGINT);
    CHECK(life.destroyed == std::vector<std::uint64_t>{9});
}

TEST_CASE("strange reports are dropped") {
    Life life;
    CHECK(life.guard([](const ChildPipes& pipes) {
        for (const std::string_view line : {"nonsense\n", "[]\n", "{}\n", "{\"event\": 5}\n", "\n"})
            static_cast<void>(!::write(pipes.status, line.data(), line.size()));
        report_stopped(pipes, "power-off", "destroy");
        return 0;
    }) == 0);
}

TEST_CASE("the lifeline ends with the guardian") {
    Life life;
    // A guardian in a process of its own, which is then killed.
    std::array<int, 2> told{};
    REQUIRE(::pipe(told.data()) == 0);
    const pid_t guardian = ::fork();
    REQUIRE(guardian >= 0);
    if (guardian == 0) {
        ::close(told[0]);
        life.guard(
            [&](const ChildPipes& pipes) {
                report_vm(pipes, 11);
                report_running(pipes);
                pollfd poll{pipes.lifeline, POLLIN, 0};
                ::poll(&poll, 1, 20'000);
                const char result = (poll.revents & POLLHUP) != 0 ? 'y' : 'n';
                static_cast<void>(!::write(told[1], &result, 1));
                return 0;
            },
            [](const auto&) { ::raise(SIGKILL); });
        ::_exit(0);
    }
    ::close(told[1]);
    int status = 0;
    REQUIRE(::waitpid(guardian, &status, 0) == guardian);
    CHECK(WIFSIGNALED(status));
    char result = 0;
    CHECK(::read(told[0], &result, 1) == 1);
    CHECK(result == 'y');
    ::close(told[0]);
    // The lock is free, so the next command finds a dead guest with a VM to destroy.
    CHECK(!find_guest("g"));
    std::vector<std::uint64_t> reaped;
    CHECK(reap_dead_guests([&](const VmIdentity& vm) { reaped.push_back(vm.handle); }) ==
          std::vector<std::string>{"g"});
    CHECK(reaped == std::vector<std::uint64_t>{11});
}
