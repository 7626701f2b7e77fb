// SPDX-License-Identifier: GPL-2.0-or-later
// The lab's agent: runs in the control OS of the lab's emulator and executes commands for the host side over
// TCP (forwarded by the emulator from a loopback port). It is test equipment: it authenticates nobody, and is
// never installed on a real machine.
//
// One connection is one command. Frames both ways: type (1 byte), length (4 bytes, little endian), payload.
//   host to agent:  X command for /bin/sh -c, with its standard input a pipe   T the same on a pseudo
//   terminal
//                   I standard input   E end of standard input   W rows, columns (2 bytes each)
//   agent to host:  O standard output   S standard error   C exit code (4 bytes; 128 + n for signal n)
// When the host closes the connection, the command's process group is killed.
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

constexpr std::uint32_t frame_max = 1u << 20;

bool write_all(int fd, const void* data, std::size_t size) {
    const char* at = static_cast<const char*>(data);
    while (size > 0) {
        const ssize_t done = write(fd, at, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        at += done;
        size -= static_cast<std::size_t>(done);
    }
    return true;
}

bool read_all(int fd, void* data, std::size_t size) {
    char* at = static_cast<char*>(data);
    while (size > 0) {
        const ssize_t done = read(fd, at, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        at += done;
        size -= static_cast<std::size_t>(done);
    }
    return true;
}

struct Frame {
    char type = 0;
    std::string payload;
};

std::optional<Frame> receive(int socket) {
    std::array<unsigned char, 5> head{};
    if (!read_all(socket, head.data(), head.size()))
        return std::nullopt;
    const std::uint32_t size = head[1] | head[2] << 8u | head[3] << 16u | std::uint32_t{head[4]} << 24u;
    if (size > frame_max)
        return std::nullopt;
    Frame frame{static_cast<char>(head[0]), std::string(size, '\0')};
    if (!read_all(socket, frame.payload.data(), size))
        return std::nullopt;
    return frame;
}

bool send_frame(int socket, char type, const void* data, std::size_t size) {
    const std::array<unsigned char, 5> head{
        static_cast<unsigned char>(type), static_cast<unsigned char>(size),
        static_cast<unsigned char>(size >> 8u), static_cast<unsigned char>(size >> 16u),
        static_cast<unsigned char>(size >> 24u)};
    return write_all(socket, head.data(), head.size()) && write_all(socket, data, size);
}

struct Command {
    pid_t pid = -1;
    int input = -1, output = -1, errors = -1;
    bool terminal = false;
    bool input_ended = false;
    std::string pending{}; ///< standard input that the command has not taken yet
};

[[noreturn]] void execute(const std::string& text) {
    signal(SIGPIPE, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    execl("/bin/sh", "sh", "-c", text.c_str(), static_cast<char*>(nullptr));
    _exit(127);
}

std::optional<Command> start_on_terminal(const std::string& text) {
    Command command{.terminal = true};
    command.pid = forkpty(&command.output, nullptr, nullptr, nullptr);
    if (command.pid < 0)
        return std::nullopt;
    if (command.pid == 0)
        execute(text);
    command.input = dup(command.output);
    return command;
}

std::optional<Command> start_on_pipes(const std::string& text) {
    std::array<int, 2> in{}, out{}, err{};
    if (pipe2(in.data(), O_CLOEXEC) < 0 || pipe2(out.data(), O_CLOEXEC) < 0 ||
        pipe2(err.data(), O_CLOEXEC) < 0)
        return std::nullopt;
    const pid_t pid = fork();
    if (pid < 0)
        return std::nullopt;
    if (pid == 0) {
        setsid();
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        execute(text);
    }
    close(in[0]);
    close(out[1]);
    close(err[1]);
    return Command{.pid = pid, .input = in[1], .output = out[0], .errors = err[0]};
}

void close_once(int& fd) {
    if (fd >= 0)
        close(fd);
    fd = -1;
}

/// Gives the command what waits for it, as much as it takes now.
void feed(Command& command) {
    const ssize_t done = write(command.input, command.pending.data(), command.pending.size());
    if (done > 0)
        command.pending.erase(0, static_cast<std::size_t>(done));
    else if (done < 0 && errno != EAGAIN && errno != EINTR) {
        command.pending.clear();
        close_once(command.input);
    }
    if (command.pending.empty() && command.input_ended)
        close_once(command.input);
}

/// Returns false when the host is gone.
bool take_frame(int socket, Command& command) {
    auto frame = receive(socket);
    if (!frame)
        return false;
    if (frame->type == 'I' && command.input >= 0) {
        command.pending = std::move(frame->payload);
    } else if (frame->type == 'E' && !command.terminal) {
        command.input_ended = true;
        close_once(command.input);
    } else if (frame->type == 'W' && command.terminal && frame->payload.size() == 4) {
        winsize size{};
        std::memcpy(&size.ws_row, frame->payload.data(), 2);
        std::memcpy(&size.ws_col, frame->payload.data() + 2, 2);
        ioctl(command.output, TIOCSWINSZ, &size);
    }
    return true;
}

/// Forwards what the command printed; closes `fd` at its end. Returns false when the host is gone.
bool forward(int socket, int& fd, char type) {
    std::array<char, 65536> buffer{};
    const ssize_t size = read(fd, buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR)
        return true;
    if (size <= 0) { // a pseudo terminal reports EIO when its last user is gone
        close_once(fd);
        return true;
    }
    return send_frame(socket, type, buffer.data(), static_cast<std::size_t>(size));
}

/// Carries data both ways until the command has ended and what it printed is sent. Its descendants may live
/// on and keep its pipes open. Returns false when the host is gone.
bool converse(int socket, Command& command) {
    const int ended = static_cast<int>(syscall(SYS_pidfd_open, command.pid, 0));
    for (;;) {
        const bool feeding = command.input >= 0 && !command.pending.empty();
        std::array<pollfd, 5> waits{pollfd{feeding ? -1 : socket, POLLIN, 0},
                                    pollfd{command.output, POLLIN, 0}, pollfd{command.errors, POLLIN, 0},
                                    pollfd{feeding ? command.input : -1, POLLOUT, 0},
                                    pollfd{ended, POLLIN, 0}};
        if (poll(waits.data(), waits.size(), -1) < 0)
            continue;
        if (waits[1].revents != 0 && !forward(socket, command.output, 'O'))
            return false;
        if (waits[2].revents != 0 && !forward(socket, command.errors, 'S'))
            return false;
        if (waits[1].revents == 0 && waits[2].revents == 0 && waits[4].revents != 0)
            return true;
        if (waits[3].revents != 0)
            feed(command);
        if (waits[0].revents != 0 && !take_frame(socket, command))
            return false;
    }
}

void serve(int socket) {
    const auto request = receive(socket);
    if (!request || (request->type != 'X' && request->type != 'T'))
        return;
    auto command =
        request->type == 'T' ? start_on_terminal(request->payload) : start_on_pipes(request->payload);
    if (!command) {
        const std::string text = std::string("agent: ") + std::strerror(errno) + "\n";
        send_frame(socket, 'S', text.data(), text.size());
        return;
    }
    fcntl(command->input, F_SETFL, O_NONBLOCK);
    if (!converse(socket, *command))
        kill(-command->pid, SIGKILL);
    int status = 0;
    while (waitpid(command->pid, &status, 0) < 0 && errno == EINTR) {
    }
    const std::uint32_t code = WIFEXITED(status) ? static_cast<std::uint32_t>(WEXITSTATUS(status))
                                                 : 128u + static_cast<std::uint32_t>(WTERMSIG(status));
    send_frame(socket, 'C', &code, sizeof code);
}

} // namespace

int main(int argc, char** argv) {
    const int port = argc > 1 ? std::atoi(argv[1]) : 7;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN); // the connections' processes need no burial
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    void* where = &address;
    if (bind(listener, static_cast<sockaddr*>(where), sizeof address) < 0 || listen(listener, 16) < 0) {
        std::perror("agent");
        return 1;
    }
    for (;;) {
        const int connection = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (connection < 0)
            continue;
        if (fork() == 0) {
            close(listener);
            signal(SIGCHLD, SIG_DFL);
            setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            serve(connection);
            _exit(0);
        }
        close(connection);
    }
}
