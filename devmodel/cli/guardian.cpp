// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/cli/guardian.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <utility>

#include <boost/asio.hpp>
#include <boost/json.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

namespace escalus {
namespace {

bool same_file(int one, int other) {
    struct stat a {
    }, b{};
    return ::fstat(one, &a) == 0 && ::fstat(other, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

namespace asio = boost::asio;
namespace json = boost::json;
using Stream = asio::posix::stream_descriptor;
using namespace std::chrono_literals;

constexpr auto patience = 5s;        ///< between asking a device model to end and ending it
constexpr auto too_soon = 3s;        ///< a guest that ends within this time after each of
constexpr unsigned restarts_max = 3; ///< so many restarts in a row is not restarted again
constexpr std::size_t event_max = 1 << 20;

class OwnedFd {
  public:
    explicit OwnedFd(int fd = -1) : fd_{fd} {}
    ~OwnedFd() { reset(); }
    OwnedFd(OwnedFd&& other) noexcept : fd_{other.release()} {}
    OwnedFd& operator=(OwnedFd&& other) noexcept {
        reset();
        fd_ = other.release();
        return *this;
    }
    [[nodiscard]] int get() const { return fd_; }
    int release() { return std::exchange(fd_, -1); }
    void reset() {
        if (fd_ >= 0)
            ::close(std::exchange(fd_, -1));
    }

  private:
    int fd_;
};

struct Pipe {
    OwnedFd read_end, write_end;
    Pipe() {
        std::array<int, 2> ends{};
        if (::pipe2(ends.data(), O_CLOEXEC) != 0)
            throw std::system_error{errno, std::generic_category(), "a pipe cannot be made"};
        read_end = OwnedFd{ends[0]};
        write_end = OwnedFd{ends[1]};
    }
};

int pidfd_open(pid_t pid) {
    return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
}

sigset_t watched_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP})
        sigaddset(&set, signal);
    return set;
}

/// Blocks the signals that end the guest, to read them from a descriptor, for as long as it lives.
class BlockedSignals {
  public:
    BlockedSignals() {
        const sigset_t set = watched_signals();
        ::pthread_sigmask(SIG_BLOCK, &set, &before_);
        fd_ = OwnedFd{::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
        if (fd_.get() < 0)
            throw std::system_error{errno, std::generic_category(), "signals cannot be watched"};
    }
    ~BlockedSignals() {
        if (fd_.get() >= 0)
            ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
    BlockedSignals(const BlockedSignals&) = delete;
    BlockedSignals& operator=(const BlockedSignals&) = delete;
    [[nodiscard]] int fd() const { return fd_.get(); }
    void close() { fd_.reset(); }

  private:
    sigset_t before_{};
    OwnedFd fd_;
};

/// How one child ended.
struct Ending {
    std::optional<json::object> stopped; ///< its last "stopped" event
    std::optional<std::string> failure;  ///< what its "failed" event said
    bool ran = false;
    int signal_received = 0; ///< by the guardian
    int wait_status = 0;
};

std::string text_of(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    return value != nullptr && value->is_string() ? std::string{value->get_string()} : std::string{};
}
std::uint64_t number_of(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    return value != nullptr && value->is_number() ? value->to_number<std::uint64_t>() : 0;
}

/// Runs the loop from a child's start to its end.
class Supervision {
  public:
    Supervision(const RuntimeDirectory& directory, const GuardianHooks& hooks, int signals, pid_t child,
                OwnedFd process, OwnedFd status, OwnedFd errors)
        : directory_{directory},
          hooks_{hooks},
          child_{child},
          process_{loop_, process.release()},
          status_{loop_, status.release()},
          errors_{loop_, errors.release()},
          signals_{loop_, ::dup(signals)},
          killer_{loop_} {}

    Ending run() {
        const OwnedFd log{::open((directory_.path() / "log").c_str(),
                                 O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644)};
        log_ = log.get();
        read_status();
        read_errors();
        read_signals();
        process_.async_wait(Stream::wait_read, [this](boost::system::error_code) { child_ended(); });
        loop_.run();
        return std::move(ending_);
    }

    std::optional<VmIdentity> vm;

  private:
    void child_ended() {
        while (::waitpid(child_, &ending_.wait_status, 0) < 0 && errno == EINTR) {
        }
        child_ = -1;
        signals_.cancel();
        killer_.cancel();
    }

    void read_status() {
        asio::async_read_until(status_, asio::dynamic_buffer(status_input_, event_max), '\n',
                               [this](boost::system::error_code error, std::size_t length) {
                                   if (error)
                                       return; // the child is gone
                                   event(status_input_.substr(0, length - 1));
                                   status_input_.erase(0, length);
                                   read_status();
                               });
    }

    /// The child is not trusted beyond what it may do anyway: a strange event is dropped.
    void event(const std::string& line) {
        boost::system::error_code error;
        const json::value value = json::parse(line, error);
        const auto* object = error ? nullptr : value.if_object();
        if (object == nullptr)
            return;
        const std::string kind = text_of(*object, "event");
        if (kind == "vm" && !vm) {
            vm = VmIdentity{number_of(*object, "handle"),
                            {number_of(*object, "key_low"), number_of(*object, "key_high")}};
            directory_.write_vm(*vm);
        } else if (kind == "running") {
            ending_.ran = true;
            hooks_.running(*object);
        } else if (kind == "failed") {
            ending_.failure = text_of(*object, "message");
        } else if (kind == "note") {
            hooks_.say(text_of(*object, "message"));
        } else if (kind == "stopped") {
            ending_.stopped = *object;
            if (text_of(*object, "action") == "preserve")
                hooks_.say(fmt::format("the guest stopped ({}) and is preserved; escalus destroy ends it",
                                       text_of(*object, "reason")));
        }
    }

    void read_errors() {
        errors_.async_read_some(
            asio::buffer(errors_input_), [this](boost::system::error_code error, std::size_t length) {
                if (error)
                    return;
                static_cast<void>(!::write(log_, errors_input_.data(), length));
                if (!same_file(log_, STDERR_FILENO)) // in the background it is the log
                    static_cast<void>(!::write(STDERR_FILENO, errors_input_.data(), length));
                read_errors();
            });
    }

    void read_signals() {
        signals_.async_read_some(asio::buffer(&signal_, sizeof signal_),
                                 [this](boost::system::error_code error, std::size_t) {
                                     if (error || child_ < 0)
                                         return;
                                     ending_.signal_received = static_cast<int>(signal_.ssi_signo);
                                     end_child();
                                     read_signals();
                                 });
    }

    void end_child() {
        ::kill(child_, SIGTERM);
        killer_.expires_after(patience);
        killer_.async_wait([this](boost::system::error_code error) {
            if (!error && child_ > 0)
                ::kill(child_, SIGKILL);
        });
    }

    const RuntimeDirectory& directory_;
    const GuardianHooks& hooks_;
    pid_t child_;
    asio::io_context loop_;
    Stream process_, status_, errors_, signals_;
    asio::steady_timer killer_;
    Ending ending_;
    int log_ = -1;
    std::string status_input_;
    std::array<char, 4096> errors_input_{};
    signalfd_siginfo signal_{};
};

/// One life of the guest: fork, supervise, clean up in the monitor.
Ending live_once(RuntimeDirectory& directory, const GuardianHooks& hooks, BlockedSignals& signals) {
    Pipe status, errors, lifeline;
    const pid_t child = ::fork();
    if (child < 0)
        throw std::system_error{errno, std::generic_category(), "the device model cannot be started"};
    if (child == 0) {
        directory.release();
        signals.close();
        status.read_end.reset();
        errors.read_end.reset();
        lifeline.write_end.reset();
        ::dup2(errors.write_end.get(), STDERR_FILENO);
        errors.write_end.reset();
        const int code = hooks.child({status.write_end.get(), lifeline.read_end.get()});
        ::_exit(code); // nothing of the guardian's is to be cleaned up here
    }
    status.write_end.reset();
    errors.write_end.reset();
    lifeline.read_end.reset();
    OwnedFd process{pidfd_open(child)};
    if (process.get() < 0) {
        const int error = errno;
        ::kill(child, SIGKILL);
        ::waitpid(child, nullptr, 0);
        throw std::system_error{error, std::generic_category(), "the device model cannot be watched"};
    }
    directory.write("pid", fmt::format("{}\n{}\n", ::getpid(), child));

    Supervision supervision{directory,
                            hooks,
                            signals.fd(),
                            child,
                            std::move(process),
                            std::move(status.read_end),
                            std::move(errors.read_end)};
    Ending ending = supervision.run();
    if (supervision.vm)
        hooks.destroy_vm(*supervision.vm);
    return ending;
}

/// The exit code when the guest is not to be restarted.
int conclude(const Ending& ending, const MachineConfig& config, const GuardianHooks& hooks) {
    const std::string& name = config.name;
    if (ending.failure) {
        hooks.say(*ending.failure);
        return 1;
    }
    if (ending.signal_received != 0) {
        hooks.say(fmt::format("{}: ended by {}", name,
                              ::strsignal(ending.signal_received))); // NOLINT(concurrency-mt-unsafe)
        return 128 + ending.signal_received;
    }
    if (ending.stopped) {
        const std::string reason = text_of(*ending.stopped, "reason");
        if (reason == "crash") {
            hooks.say(fmt::format("{} crashed: {}", name, text_of(*ending.stopped, "details")));
            return 1;
        }
        hooks.say(fmt::format("{}: {}", name,
                              reason == "power-off" ? "powered off"
                              : reason == "reboot"  ? "ended by its reboot"
                                                    : "destroyed"));
        return 0;
    }
    if (WIFSIGNALED(ending.wait_status))
        hooks.say(fmt::format("the device model of {} was killed by signal {} ({})", name,
                              WTERMSIG(ending.wait_status),
                              ::strsignal(WTERMSIG(ending.wait_status)))); // NOLINT(concurrency-mt-unsafe)
    else
        hooks.say(
            fmt::format("the device model of {} ended with code {}", name, WEXITSTATUS(ending.wait_status)));
    return 1;
}

} // namespace

int guard(RuntimeDirectory& directory, const MachineConfig& config, const GuardianHooks& hooks) {
    BlockedSignals signals;
    unsigned quick_restarts = 0;
    for (;;) {
        const auto begin = std::chrono::steady_clock::now();
        const Ending ending = live_once(directory, hooks, signals);
        const bool restart = ending.signal_received == 0 && !ending.failure && ending.stopped &&
                             text_of(*ending.stopped, "action") == "restart";
        if (!restart)
            return conclude(ending, config, hooks);
        quick_restarts = std::chrono::steady_clock::now() - begin < too_soon ? quick_restarts + 1 : 0;
        if (quick_restarts > restarts_max) {
            hooks.say(fmt::format("{} stops again right after each restart: it is not restarted any more",
                                  config.name));
            conclude(ending, config, hooks);
            return 1;
        }
        hooks.say(fmt::format("{}: restarts after {}", config.name, text_of(*ending.stopped, "reason")));
    }
}

} // namespace escalus
