// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/host/cpu_group.hpp"
#include "devmodel/cli/command.hpp"
#include "devmodel/cli/commands.hpp"
#include "devmodel/cli/device_model.hpp"
#include "devmodel/cli/guardian.hpp"
#include "devmodel/cli/guest_access.hpp"
#include "devmodel/cli/monitor_access.hpp"
#include "devmodel/config/bare_medium.hpp"
#include "devmodel/config/machine_description.hpp"
#include "devmodel/config/machine_json.hpp"
#include "devmodel/config/machine_name.hpp"
#include "devmodel/devices/input/keysym_map.hpp"
#include "devmodel/engine/monitor_host.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <utility>

#include <boost/json.hpp>
#include <boost/program_options.hpp>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

namespace escalus {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
namespace po = boost::program_options;

constexpr std::size_t domain_file_max = 1 << 20;

/// A domain file's text; throws with what is wrong.
std::string read_domain_file(const std::string& path) {
    const auto fail = [&](const std::string& problem) {
        throw std::runtime_error(fmt::format("the domain file '{}' {}", path, problem));
    };
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail(errno == ENOENT ? "does not exist"
                             : fmt::format("cannot be read: {}", std::generic_category().message(errno)));
    std::string text(domain_file_max + 1, '\0');
    std::size_t length = 0;
    ssize_t count = 0;
    while (length < text.size() && (count = ::read(fd, text.data() + length, text.size() - length)) > 0)
        length += static_cast<std::size_t>(count);
    const int error = errno;
    ::close(fd);
    if (count < 0)
        fail(error == EISDIR ? "is a directory"
                             : fmt::format("cannot be read: {}", std::generic_category().message(error)));
    text.resize(std::min(length, domain_file_max)); // a medium: its zero bytes give it away
    if (length > domain_file_max && text.find('\0') == std::string::npos)
        fail("is too long to be one");
    return text;
}

class Creation {
  public:
    explicit Creation(const Invocation& invocation)
        : invocation_{invocation}, quiet_{invocation.flag("quiet")} {}

    int run() {
        describe();
        if (diagnostics_.has_errors())
            return failed();
        if (invocation_.flag("dryrun")) {
            show_diagnostics();
            fmt::print("{}", pretty(to_json(machine())));
            return exit_ok;
        }
        check_files(description_, diagnostics_);
        check_keymap();
        if (diagnostics_.has_errors())
            return failed();
        show_diagnostics();
        static_cast<void>(require_monitor());
        reap();
        if (invocation_.flag("detach") || invocation_.flag("console"))
            return launch();
        return guard_guest({});
    }

  private:
    [[nodiscard]] MachineConfig& machine() { return description_.machine; }

    void describe() {
        std::vector<Entry> entries;
        std::string default_name = "machine";
        std::size_t used = 0;
        const auto& arguments = invocation_.arguments;
        const bool medium = invocation_.flag("cdrom");
        const auto is_override = [](const std::string& word) {
            return word.find('=') != std::string::npos && !fs::exists(word);
        };
        if (!arguments.empty() && !is_override(arguments[0])) {
            entries = parse_domain_file(arguments[0], read_domain_file(arguments[0]), diagnostics_);
            default_name = name_from_path(arguments[0]);
            used = 1;
            if (medium) {
                auto source = std::make_shared<SourceText>(SourceText{"--cdrom", invocation_.text("cdrom")});
                const Position where{source, 0, std::max<std::size_t>(1, source->text.size())};
                entries.push_back({"cdrom", where, false, {Value::Kind::String, source->text, 0, {}, where}});
            }
        } else if (medium) {
            const auto path = invocation_.text("cdrom");
            std::error_code error; // of a medium that cannot be had, it is told later
            const auto bytes = fs::file_size(path, error);
            entries = entries_for_medium(path, error ? 0 : bytes);
        } else if (arguments.empty()) {
            throw UsageError("a domain file, or --cdrom with a medium, is needed");
        }
        for (; used < arguments.size(); ++used)
            for (Entry& entry : parse_override(arguments[used], diagnostics_))
                entries.push_back(std::move(entry));
        const auto merged = merge_entries(std::move(entries), diagnostics_);
        description_ = describe_machine(merged, fs::current_path().string(), default_name, diagnostics_);
    }

    void check_keymap() {
        const auto& known = KeysymMap::names();
        if (std::ranges::find(known, machine().vnc.keymap) != known.end())
            return;
        diagnostics_.warning(
            {}, fmt::format("there is no keymap '{}' yet: en-us is used", machine().vnc.keymap),
            fmt::format("there are {}; viewers that send scancodes need none", fmt::join(known, ", ")));
        machine().vnc.keymap = "en-us";
    }

    void show_diagnostics() const {
        for (const Diagnostic& diagnostic : diagnostics_.all())
            if (diagnostic.severity == Severity::Error || !quiet_)
                fmt::print(stderr, "{}", to_text(diagnostic));
    }

    int failed() const {
        show_diagnostics();
        complain("no guest was started");
        return exit_failed;
    }

    /// The guardian's part, in this process. `started` comes once, when the guest runs.
    int guard_guest(const std::function<void()>& started) {
        RuntimeDirectory directory{machine().name, destroy_in_monitor};
        directory.write("config.json", pretty(to_json(machine())), 0600);
        bool first = true;
        GuardianHooks hooks;
        const auto group = cpu_group();
        hooks.child = [&](const ChildPipes& pipes) {
            if (group)
                group->enter();
            return run_device_model(machine(), directory.path(), pipes,
                                    {invocation_.flag("paused") && first, true});
        };
        hooks.destroy_vm = destroy_in_monitor;
        hooks.say = [&](const std::string& line) { complain(line); };
        hooks.running = [&](const json::object& event) {
            announce(event);
            if (std::exchange(first, false) && started) {
                started();
                log_to(directory.path() / "log");
            }
        };
        const int code = guard(directory, machine(), hooks);
        // Nobody watched: what was said outlives the directory when the guest did not end as it should.
        if (code != exit_ok && !first && started) {
            std::error_code ignored;
            fs::rename(directory.path() / "log", directory.path().string() + ".log", ignored);
        }
        return code;
    }

    /// Its share of the CPUs; none where none was asked for, or the control OS cannot give it.
    std::unique_ptr<CpuGroup> cpu_group() {
        const CpuShare share{machine().cpu_weight, machine().cpu_cap};
        if (!share.asked_for())
            return nullptr;
        try {
            return std::make_unique<CpuGroup>(machine().name, share);
        } catch (const std::runtime_error& error) {
            complain(fmt::format("{}; the guest runs without", error.what()));
            return nullptr;
        }
    }

    void announce(const json::object& event) const {
        const auto text = [&](std::string_view key) {
            const auto* value = event.if_contains(key);
            return value != nullptr && value->is_string() ? std::string{value->get_string()} : std::string{};
        };
        const std::string& name = description_.machine.name;
        if (invocation_.flag("json")) {
            json::object shown{event};
            shown.erase("event");
            shown["name"] = name;
            fmt::print("{}", pretty(shown));
            std::fflush(stdout);
            return;
        }
        if (quiet_)
            return;
        std::string line =
            fmt::format("{}: {}", name, invocation_.flag("paused") ? "created, paused" : "runs");
        if (!text("vnc").empty())
            line += fmt::format("; VNC at {}", text("vnc"));
        if (!text("web").empty())
            line += fmt::format(", web console at {}", text("web"));
        complain(line);
    }

    static void log_to(const fs::path& path) {
        const int log = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644);
        const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
        ::dup2(null, STDIN_FILENO);
        ::dup2(null, STDOUT_FILENO);
        ::dup2(log >= 0 ? log : null, STDERR_FILENO);
        ::close(null);
        if (log >= 0)
            ::close(log);
    }

    /// The guardian goes into the background; this process waits until the guest runs, or did not start.
    int launch() {
        std::array<int, 2> ends{};
        if (::pipe2(ends.data(), O_CLOEXEC) != 0)
            throw std::system_error{errno, std::generic_category(), "a pipe cannot be made"};
        std::fflush(nullptr);
        const pid_t guardian = ::fork();
        if (guardian < 0)
            throw std::system_error{errno, std::generic_category(), "the guardian cannot be started"};
        if (guardian == 0) {
            ::close(ends[0]);
            ::setsid();
            int code = exit_failed;
            try {
                code = guard_guest([&] {
                    static_cast<void>(!::write(ends[1], "r", 1));
                    ::close(ends[1]);
                });
            } catch (const std::exception& error) {
                complain(error.what());
            }
            std::fflush(nullptr);
            ::_exit(code);
        }
        ::close(ends[1]);
        char byte = 0;
        ssize_t count = 0;
        while ((count = ::read(ends[0], &byte, 1)) < 0 && errno == EINTR) {
        }
        ::close(ends[0]);
        if (count != 1)
            return wait_for(guardian);
        if (!invocation_.flag("console"))
            return exit_ok;
        return attach_console(serial_path_of(machine().name, 1)) ? exit_ok : wait_for(guardian);
    }

    static int wait_for(pid_t guardian) {
        int status = 0;
        while (::waitpid(guardian, &status, 0) < 0 && errno == EINTR) {
        }
        return WIFEXITED(status) ? WEXITSTATUS(status) : exit_failed;
    }

    const Invocation& invocation_;
    bool quiet_;
    Diagnostics diagnostics_;
    MachineDescription description_;
};

} // namespace

void create_options(po::options_description_easy_init add) {
    add("dryrun,n", "check everything that needs no monitor and print the machine as JSON");
    add("detach,d", "return once the guest runs");
    add("foreground,F", "stay until the guest ends (the default)");
    add("console,c", "attach this terminal to the guest's serial port; Ctrl-] leaves");
    add("paused,p", "wait for escalus unpause before the guest's first instruction");
    add("quiet,q", "print errors only");
    add("json", "print JSON that says where the display and the serial ports are");
    add("cdrom", po::value<std::string>()->value_name("MEDIUM"),
        "a medium to boot from (without FILE), or to insert");
}

int run_create(const Invocation& invocation) {
    if (invocation.flag("detach") && invocation.flag("foreground"))
        throw UsageError("--detach and --foreground exclude each other");
    return Creation{invocation}.run();
}

} // namespace escalus
