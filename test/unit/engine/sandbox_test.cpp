// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/engine/sandbox.hpp"

#include <array>
#include <csignal>
#include <string>

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace escalus;

namespace {

struct Outcome {
    int status = 0;
    std::string errors;
};

/// Runs `body` in a child that has entered the sandbox; its result is the exit code.
template <typename F>
Outcome in_sandbox(F body, const SandboxOptions& options = {}) {
    std::array<int, 2> pipe_ends{};
    REQUIRE(pipe(pipe_ends.data()) == 0);
    const pid_t child = fork();
    if (child == 0) {
        dup2(pipe_ends[1], STDERR_FILENO);
        try {
            enter_sandbox(options);
        } catch (const std::exception& e) {
            dprintf(STDERR_FILENO, "%s\n", e.what());
            _exit(99);
        }
        _exit(body());
    }
    close(pipe_ends[1]);
    Outcome outcome;
    std::array<char, 256> buffer{};
    for (ssize_t n = 0; (n = read(pipe_ends[0], buffer.data(), buffer.size())) > 0;)
        outcome.errors.append(buffer.data(), static_cast<std::size_t>(n));
    close(pipe_ends[0]);
    waitpid(child, &outcome.status, 0);
    return outcome;
}

} // namespace

TEST_CASE("in the sandbox nobody is root, and files cannot be opened") {
    const auto outcome = in_sandbox([] {
        if (getuid() == 0 || geteuid() == 0)
            return 1;
        if (open("/etc/passwd", O_RDONLY) >= 0 || errno != EACCES)
            return 2;
        if (setuid(0) == 0)
            return 3;
        return 0;
    });
    // setuid is not even asked for by a device model.
    CHECK(WEXITSTATUS(outcome.status) == 128 + SIGSYS);
    CHECK_THAT(outcome.errors, Catch::Matchers::Contains("setuid"));
}

TEST_CASE("in the sandbox reading and writing what is open goes on") {
    const auto outcome = in_sandbox([] { return write(STDERR_FILENO, "alive\n", 6) == 6 ? 0 : 1; });
    CHECK(outcome.errors == "alive\n");
    CHECK(WEXITSTATUS(outcome.status) == 0);
}

TEST_CASE("a forbidden system call ends the process and is named") {
    const auto outcome = in_sandbox([] {
        execl("/bin/true", "true", nullptr);
        return 0;
    });
    CHECK(WEXITSTATUS(outcome.status) == 128 + SIGSYS);
    CHECK_THAT(outcome.errors,
               Catch::Matchers::Contains("forbidden system call") && Catch::Matchers::Contains("execve"));
}

namespace {

constexpr std::size_t page = 4096;

void* map_anonymous(int protection) {
    return mmap(nullptr, page, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/// The outcome of a sandboxed child that does what must end it.
template <typename F>
void check_forbidden(const char* call, F body) {
    const auto outcome = in_sandbox([&] {
        body();
        return 0;
    });
    INFO(call << ": " << outcome.errors);
    CHECK(WEXITSTATUS(outcome.status) == 128 + SIGSYS);
    CHECK_THAT(outcome.errors, Catch::Matchers::Contains(call));
}

} // namespace

TEST_CASE("in the sandbox memory is mapped, changed, moved and given back") {
    const auto outcome = in_sandbox([] {
        void* memory = map_anonymous(PROT_NONE);
        if (memory == MAP_FAILED || mprotect(memory, page, PROT_READ | PROT_WRITE) != 0)
            return 1;
        *static_cast<char*>(memory) = 1;
        memory = mremap(memory, page, 4 * page, MREMAP_MAYMOVE);
        if (memory == MAP_FAILED || *static_cast<char*>(memory) != 1)
            return 2;
        return munmap(memory, 4 * page) == 0 ? 0 : 3;
    });
    INFO(outcome.errors);
    CHECK(WEXITSTATUS(outcome.status) == 0);
}

TEST_CASE("in the sandbox no memory becomes executable") {
    check_forbidden("mmap", [] { map_anonymous(PROT_READ | PROT_EXEC); });
    check_forbidden("mmap", [] { map_anonymous(PROT_READ | PROT_WRITE | PROT_EXEC); });
    check_forbidden("mprotect", [] { mprotect(map_anonymous(PROT_READ), page, PROT_READ | PROT_EXEC); });
    // The ways around: another call that sets protection, segments, files in memory, implied execution.
    check_forbidden("pkey_mprotect", [] {
        syscall(SYS_pkey_mprotect, map_anonymous(PROT_READ), page, PROT_READ | PROT_EXEC, -1);
    });
    check_forbidden("shmat", [] { syscall(SYS_shmat, 0, nullptr, 0); });
    check_forbidden("memfd_create", [] { syscall(SYS_memfd_create, "code", 0); });
    check_forbidden("personality", [] { syscall(SYS_personality, 0x0400000 /* READ_IMPLIES_EXEC */); });
}

TEST_CASE("in the sandbox no ring makes system calls that the filter does not see") {
    check_forbidden("io_uring_enter", [] { syscall(SYS_io_uring_enter, -1, 0, 0, 0, nullptr, 0); });
    check_forbidden("io_uring_register", [] { syscall(SYS_io_uring_register, -1, 0, nullptr, 0); });
}

TEST_CASE("in the sandbox sockets are to be had for a user network only") {
    const auto body = [] {
        if (socket(AF_UNIX, SOCK_STREAM, 0) >= 0 || errno != EACCES)
            return 1;
        if (socket(AF_PACKET, SOCK_RAW, 0) >= 0 || errno != EACCES)
            return 2;
        if (open("/etc/passwd", O_RDWR) >= 0 || errno != EACCES)
            return 3;
        if (open("/tmp/escalus-sandbox-test", O_RDONLY | O_CREAT, 0600) >= 0 || errno != EACCES)
            return 4;
        if (open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0)
            return 5;
        const int fd = socket(AF_INET, SOCK_DGRAM, 0);
        if (fd < 0)
            return 6;
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(9);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        // NOLINTNEXTLINE(*-reinterpret-cast)
        return connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : 7;
    };
    CHECK(WEXITSTATUS(in_sandbox(body, {.user_network = true}).status) == 0);
    CHECK(WEXITSTATUS(in_sandbox(body).status) == 5);
}

TEST_CASE("in the sandbox a TAP device's offloads change only where there is one") {
    const auto body = [] {
        return ioctl(STDERR_FILENO, TUNSETOFFLOAD, 0) == 0 ? 1 : errno == ENOTTY ? 0 : 2;
    };
    CHECK(WEXITSTATUS(in_sandbox(body, {.tap_offloads = true}).status) == 0);
    CHECK(WEXITSTATUS(in_sandbox(body).status) == 128 + SIGSYS);
}

TEST_CASE("an unknown user is an error") {
    if (geteuid() != 0)
        return;
    CHECK_THROWS_WITH(enter_sandbox({.user = "no-such-user"}), Catch::Matchers::Contains("no-such-user"));
    CHECK_THROWS_WITH(enter_sandbox({.user = "root"}), Catch::Matchers::Contains("root"));
}
