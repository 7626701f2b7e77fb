// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/engine/sandbox.hpp"

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <linux/if_tun.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace escalus {

namespace {

[[noreturn]] void fail(const char* what, int error) {
    throw std::runtime_error{fmt::format("sandbox: {}: {}", what, std::strerror(error))};
}

struct Account {
    uid_t user;
    gid_t group;
};

Account find_account(const std::string& name) {
    unsigned number = 0;
    const auto* end = name.data() + name.size();
    const passwd* entry = nullptr;
    if (auto [rest, error] = std::from_chars(name.data(), end, number); error == std::errc{} && rest == end) {
        entry = getpwuid(number);
        if (entry == nullptr)
            return {number, number};
    } else {
        entry = getpwnam(name.c_str());
    }
    if (entry == nullptr) {
        // An initramfs may do without /etc/passwd; nobody has these numbers everywhere.
        if (name == "nobody")
            return {65534, 65534};
        throw std::runtime_error{fmt::format("sandbox: there is no user '{}'", name)};
    }
    return {entry->pw_uid, entry->pw_gid};
}

void drop_root(const std::string& user) {
    if (geteuid() != 0)
        return;
    const auto account = find_account(user);
    if (account.user == 0)
        throw std::runtime_error{"sandbox: the user to change to must not be root"};
    if (setgroups(0, nullptr) != 0)
        fail("setgroups", errno);
    if (setresgid(account.group, account.group, account.group) != 0)
        fail("setresgid", errno);
    if (setresuid(account.user, account.user, account.user) != 0)
        fail("setresuid", errno);
}

void set_limit(int resource, rlim_t value) {
    const rlimit limit{value, value};
    if (setrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0)
        fail("setrlimit", errno);
}

// --- the filter's log line: written from a signal handler, so the names are looked up beforehand

struct CallName {
    char text[28];
};
std::array<CallName, 512> call_names;

void remember_call_names() {
    for (unsigned number = 0; number < call_names.size(); ++number) {
        const std::unique_ptr<char, decltype(&std::free)> name{
            seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, static_cast<int>(number)), &std::free};
        if (name)
            std::strncpy(call_names[number].text, name.get(), sizeof(CallName::text) - 1);
    }
}

void on_violation(int, siginfo_t* info, void*) {
    char line[160] = "escalus: the sandbox ended the device model: forbidden system call ";
    const auto number = static_cast<unsigned>(info->si_syscall);
    char* at = line + std::strlen(line);
    at = std::to_chars(at, line + sizeof line, number).ptr;
    if (number < call_names.size() && call_names[number].text[0] != '\0') {
        *at++ = ' ';
        const auto length = strnlen(call_names[number].text, sizeof(CallName::text));
        std::memcpy(at, call_names[number].text, length);
        at += length;
    }
    *at++ = '\n';
    if (write(STDERR_FILENO, line, static_cast<std::size_t>(at - line)) < 0)
        _exit(128 + SIGSYS);
    _exit(128 + SIGSYS);
}

// What a running device model does: memory, threads, time, its event loop, and reading and writing what is
// open.
constexpr int allowed[] = {
    // memory; mmap and mprotect have rules of their own below, so they must not stand here
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    // threads, signals, time
    SCMP_SYS(futex),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrusage),
    SCMP_SYS(getrandom),
    SCMP_SYS(uname),
    SCMP_SYS(sysinfo),
    // the event loop
    SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2),
    SCMP_SYS(eventfd2),
    SCMP_SYS(timerfd_create),
    SCMP_SYS(timerfd_settime),
    SCMP_SYS(timerfd_gettime),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(select),
    SCMP_SYS(pselect6),
    SCMP_SYS(pipe2),
    // files and sockets that are open
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(preadv),
    SCMP_SYS(pwritev),
    SCMP_SYS(preadv2),
    SCMP_SYS(pwritev2),
    SCMP_SYS(lseek),
    SCMP_SYS(fsync),
    SCMP_SYS(fdatasync),
    SCMP_SYS(sync_file_range),
    SCMP_SYS(fallocate),
    SCMP_SYS(ftruncate),
    SCMP_SYS(fadvise64),
    SCMP_SYS(close),
    SCMP_SYS(dup),
    SCMP_SYS(dup3),
    SCMP_SYS(fstat),
    SCMP_SYS(fstatfs),
    SCMP_SYS(fcntl),
    SCMP_SYS(accept),
    SCMP_SYS(accept4),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(getsockopt),
    SCMP_SYS(setsockopt),
    SCMP_SYS(shutdown),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
};

// What libraries try on the side and do without (time zone, host names), and clean-up in directories that
// belong to root now.
constexpr int refused[] = {
    SCMP_SYS(openat2),
    SCMP_SYS(lstat),
    SCMP_SYS(statx),
    SCMP_SYS(access),
    SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),
    SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),
    SCMP_SYS(getcwd),
    SCMP_SYS(unlink),
    SCMP_SYS(unlinkat),
    SCMP_SYS(rmdir),
    SCMP_SYS(rename),
    SCMP_SYS(renameat),
    SCMP_SYS(renameat2),
    SCMP_SYS(prctl),
    SCMP_SYS(setpriority),
    SCMP_SYS(sched_setaffinity),
    SCMP_SYS(sched_setscheduler),
    SCMP_SYS(prlimit64),
    SCMP_SYS(io_uring_setup),
};

// Refused as well, but for a network behind an address translation.
constexpr int network_calls[] = {SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(stat),
                                 SCMP_SYS(newfstatat)};

constexpr unsigned long allowed_ioctls[] = {FIONBIO, FIONREAD, TCGETS, TIOCGWINSZ, TIOCINQ, TIOCOUTQ};

/// A condition on an argument; libseccomp's macros for it are C.
constexpr scmp_arg_cmp argument(unsigned index, scmp_compare operation, scmp_datum_t a, scmp_datum_t b = 0) {
    return {index, operation, a, b};
}

class Filter {
  public:
    Filter() : context_{seccomp_init(SCMP_ACT_TRAP)} {
        if (context_ == nullptr)
            throw std::runtime_error{"sandbox: no memory for the filter"};
    }
    ~Filter() { seccomp_release(context_); }
    Filter(const Filter&) = delete;
    Filter& operator=(const Filter&) = delete;

    template <typename... Compare>
    void rule(std::uint32_t action, int call, Compare... compare) {
        const std::array<scmp_arg_cmp, sizeof...(compare)> arguments{compare...};
        check("rule", seccomp_rule_add_array(context_, action, call, sizeof...(compare), arguments.data()));
    }
    void load() {
        check("threads", seccomp_attr_set(context_, SCMP_FLTATR_CTL_TSYNC, 1));
        check("optimize", seccomp_attr_set(context_, SCMP_FLTATR_CTL_OPTIMIZE, 2));
        check("load", seccomp_load(context_));
    }

  private:
    static void check(const char* what, int result) {
        if (result < 0)
            fail(fmt::format("system call filter: {}", what).c_str(), -result);
    }
    scmp_filter_ctx context_;
};

void refuse_network(Filter& filter) {
    for (const int call : network_calls)
        filter.rule(SCMP_ACT_ERRNO(EACCES), call);
    for (const int call : {SCMP_SYS(socket), SCMP_SYS(open), SCMP_SYS(openat)})
        filter.rule(SCMP_ACT_ERRNO(EACCES), call);
}

void allow_network(Filter& filter) {
    for (const int call : network_calls)
        filter.rule(SCMP_ACT_ALLOW, call);
    for (scmp_datum_t family = 0; family < AF_MAX; ++family)
        filter.rule(family == AF_INET || family == AF_INET6 ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EACCES),
                    SCMP_SYS(socket), argument(0, SCMP_CMP_EQ, family));
    filter.rule(SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socket), argument(0, SCMP_CMP_GE, AF_MAX));
    // Every combination of the flags that do more than read, since a rule compares for equality only.
    constexpr std::array<scmp_datum_t, 5> bits{O_WRONLY, O_RDWR, O_CREAT, O_TRUNC, O_APPEND};
    scmp_datum_t all = 0;
    for (const auto bit : bits)
        all |= bit;
    for (unsigned chosen = 0; chosen < 1u << bits.size(); ++chosen) {
        scmp_datum_t flags = 0;
        for (unsigned i = 0; i < bits.size(); ++i)
            flags |= (chosen >> i & 1) != 0 ? bits.at(i) : 0;
        const auto action = flags == O_RDONLY ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EACCES);
        filter.rule(action, SCMP_SYS(open), argument(1, SCMP_CMP_MASKED_EQ, all, flags));
        filter.rule(action, SCMP_SYS(openat), argument(2, SCMP_CMP_MASKED_EQ, all, flags));
    }
}

void filter_system_calls(const SandboxOptions& options) {
    remember_call_names();
    struct sigaction action {};
    action.sa_sigaction = on_violation;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSYS, &action, nullptr);

    Filter filter;
    for (const int call : allowed)
        filter.rule(SCMP_ACT_ALLOW, call);
    for (const int call : refused)
        filter.rule(SCMP_ACT_ERRNO(EACCES), call);
    for (const auto request : allowed_ioctls)
        filter.rule(SCMP_ACT_ALLOW, SCMP_SYS(ioctl), argument(1, SCMP_CMP_EQ, request));
    if (options.tap_offloads)
        filter.rule(SCMP_ACT_ALLOW, SCMP_SYS(ioctl), argument(1, SCMP_CMP_EQ, TUNSETOFFLOAD));
    if (options.user_network)
        allow_network(filter);
    else
        refuse_network(filter);
    // Threads, not processes. clone3 hides its flags in memory, so the C library is told to use clone.
    filter.rule(SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3));
    filter.rule(SCMP_ACT_ALLOW, SCMP_SYS(clone),
                argument(0, SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM));
    // The VNC server puts a pair of sockets between each viewer and libvncserver.
    filter.rule(SCMP_ACT_ALLOW, SCMP_SYS(socketpair), argument(0, SCMP_CMP_EQ, AF_UNIX));
    // Memory that is both writable and executable, or becomes executable, is an attacker's. What else could
    // make some (pkey_mprotect, shmat, memfd_create, personality) is not in the list, and mremap keeps the
    // protection that there is.
    filter.rule(SCMP_ACT_ALLOW, SCMP_SYS(mmap), argument(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    filter.rule(SCMP_ACT_ALLOW, SCMP_SYS(mprotect), argument(2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    // Signals to threads of this process only: the kick of a vCPU, and abort().
    filter.rule(SCMP_ACT_ALLOW, SCMP_SYS(tgkill),
                argument(0, SCMP_CMP_EQ, static_cast<scmp_datum_t>(getpid())));
    filter.load();
}

} // namespace

void enter_sandbox(const SandboxOptions& options) {
    drop_root(options.user);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        fail("no_new_privs", errno);
    if (!options.allow_core_dump) {
        set_limit(RLIMIT_CORE, 0);
        if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
            fail("dumpable", errno);
    }
    if (options.filter_system_calls)
        filter_system_calls(options);
}

} // namespace escalus
