// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/block/nbd_server.hpp"

#include "devmodel/backends/host/descriptor.hpp"

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

namespace escalus {

namespace {
constexpr const char* program = "qemu-nbd";
constexpr int patience_ms = 30'000;
constexpr int first_passed = 3; // where systemd, and so QEMU, has the first socket

[[noreturn]] void fail(const std::string& image, const char* what, int error) {
    throw std::runtime_error{fmt::format("{}: {}: {}", image, what, std::strerror(error))};
}

sockaddr_un address_of(const std::string& image, const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        fail(image, "a socket's path is too long", ENAMETOOLONG);
    std::memcpy(address.sun_path, path.c_str(), path.size());
    return address;
}

int unix_socket() {
    return ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/// In the child, between fork and exec: only what is safe there. Returns when it could not be executed.
int become_server(pid_t parent, int listener, char* const* arguments, std::vector<char*>& environment,
                  std::span<char> pid_variable, int errors) {
    // Away from the terminal's signals, which are for the guest's guardian, and with its own as they were.
    ::setsid();
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    std::signal(SIGPIPE, SIG_DFL);
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    // Until the connection stands, nothing else ends a server whose owner dies. Once that owner has dropped
    // root the signal does not come any more, and the end of the connection ends the server in its own time.
    ::prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
    if (::getppid() != parent)
        return ESRCH;
    const int null = ::open("/dev/null", O_RDWR);
    const int kept = ::fcntl(errors, F_DUPFD_CLOEXEC, first_passed + 1);
    if (null < 0 || kept < 0 || ::dup2(null, STDIN_FILENO) < 0 || ::dup2(null, STDOUT_FILENO) < 0)
        return errno;
    if (listener == first_passed ? ::fcntl(listener, F_SETFD, 0) < 0 : ::dup2(listener, first_passed) < 0)
        return errno;
    // Nothing of ours is to be reached from there.
    if (kept > first_passed + 1)
        ::close_range(first_passed + 1, static_cast<unsigned>(kept) - 1, 0);
    ::close_range(static_cast<unsigned>(kept) + 1, ~0u, 0);
    constexpr std::size_t name_bytes = sizeof "LISTEN_PID=" - 1;
    const auto end = std::to_chars(pid_variable.data() + name_bytes,
                                   pid_variable.data() + pid_variable.size() - 1, ::getpid());
    *end.ptr = '\0';
    environment[0] = pid_variable.data();
    ::execvpe(program, arguments, environment.data());
    const int error = errno;
    static_cast<void>(!::write(kept, &error, sizeof error));
    return error;
}
} // namespace

NbdServer::NbdServer(std::string image, const std::string& format, bool read_only,
                     const std::string& socket_path)
    : image_{std::move(image)}, format_{format} {
    Descriptor listener{unix_socket()}, connection{unix_socket()};
    std::array<int, 2> ends{};
    if (listener.get() < 0 || connection.get() < 0 || ::pipe2(ends.data(), O_CLOEXEC) != 0)
        fail(image_, "no socket for its server", errno);
    const Descriptor errors{ends[0]};
    Descriptor child_errors{ends[1]};
    const auto address = address_of(image_, socket_path);
    const auto* const generic = reinterpret_cast<const sockaddr*>(&address); // NOLINT(*-reinterpret-cast)
    ::unlink(socket_path.c_str());
    const mode_t mask = ::umask(0077);
    const bool bound = ::bind(listener.get(), generic, sizeof address) == 0;
    ::umask(mask);
    // Nobody else is to come in: the name is taken away again.
    const bool connected = bound && ::listen(listener.get(), 1) == 0 &&
                           ::connect(connection.get(), generic, sizeof address) == 0;
    const int error = errno;
    ::unlink(socket_path.c_str());
    if (!connected)
        fail(image_, "no socket for its server", error);

    std::vector<std::string> words{program,         "--format=" + format, "--cache=writeback",
                                   "--aio=threads", "--discard=unmap",    "--shared=1"};
    if (read_only)
        words.emplace_back("--read-only");
    words.emplace_back("--");
    words.push_back(image_);
    std::vector<char*> arguments, variables;
    for (auto& word : words)
        arguments.push_back(word.data());
    arguments.push_back(nullptr);
    std::array<char, 32> pid_variable{"LISTEN_PID="};
    std::string descriptors = "LISTEN_FDS=1";
    variables.push_back(pid_variable.data());
    variables.push_back(descriptors.data());
    for (char** variable = environ; *variable != nullptr; ++variable)
        if (!std::string_view{*variable}.starts_with("LISTEN_"))
            variables.push_back(*variable);
    variables.push_back(nullptr);

    const pid_t parent = ::getpid();
    const pid_t child = ::fork();
    if (child < 0)
        fail(image_, "its server cannot be started", errno);
    if (child == 0)
        ::_exit(become_server(parent, listener.get(), arguments.data(), variables, pid_variable,
                              child_errors.get()) != 0
                    ? 127
                    : 0);
    process_ = static_cast<int>(::syscall(SYS_pidfd_open, child, 0));
    ::close(child_errors.release());
    int failure = 0;
    if (::read(errors.get(), &failure, sizeof failure) == static_cast<ssize_t>(sizeof failure)) {
        ::waitpid(child, nullptr, 0);
        ::close(std::exchange(process_, -1));
        throw std::runtime_error{
            fmt::format("{}: images of the format {} need the program {}: {} (in Debian it is "
                        "in the package qemu-utils)",
                        image_, format_, program, std::strerror(failure))};
    }
    socket_ = connection.release();
}

NbdServer::~NbdServer() {
    if (socket_ >= 0)
        ::close(socket_);
    if (process_ < 0)
        return;
    pollfd watched{process_, POLLIN, 0};
    while (::poll(&watched, 1, patience_ms) < 0 && errno == EINTR) {
    }
    ::close(process_);
}

int NbdServer::take_socket() {
    return std::exchange(socket_, -1);
}

std::string NbdServer::why_silent() const {
    return fmt::format("{} could not open it as {}; what it said is above", program, format_);
}

} // namespace escalus
