// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/cli/commands.hpp"
#include "devmodel/cli/control_client.hpp"
#include "devmodel/cli/control_os.hpp"
#include "devmodel/cli/guest_access.hpp"
#include "devmodel/config/machine_json.hpp"
#include "devmodel/engine/monitor_host.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <limits>

#include <boost/beast/core/detail/base64.hpp>
#include <boost/json.hpp>
#include <boost/program_options.hpp>
#include <fmt/format.h>

namespace escalus {
namespace {

namespace json = boost::json;
namespace po = boost::program_options;
using namespace std::chrono_literals;

std::string text_of(const json::object& object, std::string_view key) {
    const auto* value = object.if_contains(key);
    return value != nullptr && value->is_string() ? std::string{value->get_string()} : std::string{};
}

/// xm's six letters: running, blocked, paused, shut down, crashed, dying.
std::string_view flags_of(std::string_view state) {
    if (state == "running")
        return "r-----";
    if (state == "paused" || state == "created")
        return "--p---";
    if (state == "powered-off")
        return "---s--";
    return state == "crashed" ? "----c-" : "------";
}

json::object ask(const Invocation& invocation, std::string_view request, json::object arguments = {},
                 std::chrono::milliseconds limit = 10s) {
    return ControlClient{running_guest(invocation.arguments[0])}.request(request, std::move(arguments),
                                                                         limit);
}

/// What `list` shows of each guest, in the order of their IDs; those that do not answer come last.
json::array running_guests() {
    json::array guests;
    for (const FoundGuest& guest : find_guests()) {
        if (!guest.alive || !std::filesystem::exists(guest.path / "control"))
            continue; // dead, or still starting
        json::object line{{"name", guest.name}, {"id", nullptr},        {"memory_mib", nullptr},
                          {"vcpus", nullptr},   {"state", "no answer"}, {"cpu_seconds", nullptr}};
        try {
            const json::object info = ControlClient{guest}.request("info", {}, 3s);
            for (const std::string_view key : {"id", "memory_mib", "vcpus", "state", "cpu_seconds"})
                line[key] = info.at(key);
        } catch (const ControlError&) { // it is ending, or hangs, or is not ours to ask
        }
        guests.push_back(std::move(line));
    }
    std::ranges::stable_sort(guests, {}, [](const json::value& guest) {
        const json::value& id = guest.at("id");
        return id.is_null() ? std::numeric_limits<std::uint64_t>::max() : id.to_number<std::uint64_t>();
    });
    return guests;
}

/// \n, \t, \e and \\ as the command line's user writes them.
std::string unescape(std::string_view text) {
    std::string result;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char next = text[i] == '\\' && i + 1 < text.size() ? text[i + 1] : '\0';
        const char meant = next == 'n'    ? '\n'
                           : next == 't'  ? '\t'
                           : next == 'e'  ? '\x1b'
                           : next == '\\' ? '\\'
                                          : '\0';
        result += meant != '\0' ? meant : text[i];
        i += meant != '\0' ? 1 : 0;
    }
    return result;
}

} // namespace

void json_option(po::options_description_easy_init add) {
    add("json", "print JSON");
}

int run_list(const Invocation& invocation) {
    reap();
    json::array domains = running_guests();
    if (discover_monitor())
        domains.insert(domains.begin(), describe_control_os());
    if (invocation.flag("json")) {
        fmt::print("{}", pretty(domains));
        return exit_ok;
    }
    constexpr auto format = "{:<40} {:>5} {:>5} {:>5} {:>10} {:>8}\n";
    fmt::print(format, "Name", "ID", "Mem", "VCPUs", "State", "Time(s)");
    for (const json::value& value : domains) {
        const json::object& line = value.get_object();
        const auto number = [&](std::string_view key) {
            return line.at(key).is_null() ? std::string{"-"} : json::serialize(line.at(key));
        };
        const auto& time = line.at("cpu_seconds");
        fmt::print(format, text_of(line, "name"), number("id"), number("memory_mib"), number("vcpus"),
                   flags_of(text_of(line, "state")),
                   time.is_null() ? "-" : fmt::format("{:.1f}", time.to_number<double>()));
    }
    return exit_ok;
}

int run_vnc(const Invocation& invocation) {
    const json::object info = ask(invocation, "info");
    const std::string address = text_of(info, "vnc"), web = text_of(info, "web");
    if (address.empty())
        throw ControlError(
            fmt::format("the guest {} has no VNC server: its domain file says vnc = 0, or it has "
                        "no display",
                        invocation.arguments[0]));
    if (invocation.flag("json"))
        fmt::print("{}", pretty(json::object{{"vnc", address}, {"web", web}}));
    else
        fmt::print("{}\n{}{}", address, web, web.empty() ? "" : "\n");
    return exit_ok;
}

void screenshot_options(po::options_description_easy_init add) {
    add("text", "print the characters of a text screen");
    add("output,o", po::value<std::string>()->value_name("FILE"), "the PNG file to write");
}

int run_screenshot(const Invocation& invocation) {
    if (invocation.flag("text")) {
        if (invocation.flag("output"))
            throw UsageError("--text prints the screen; -o names a picture");
        const json::object reply = ask(invocation, "screenshot-text");
        for (const json::value& line : reply.at("lines").as_array())
            fmt::print("{}\n", std::string_view{line.as_string()});
        return exit_ok;
    }
    const json::object reply = ask(invocation, "screenshot", {}, 60s);
    const std::string text = text_of(reply, "png");
    namespace codec = boost::beast::detail::base64;
    std::string png(codec::decoded_size(text.size()), '\0');
    png.resize(codec::decode(png.data(), text.data(), text.size()).first);

    const std::string path =
        invocation.flag("output") ? invocation.text("output") : invocation.arguments[0] + ".png";
    if (path == "-") {
        std::fwrite(png.data(), 1, png.size(), stdout);
        return exit_ok;
    }
    std::ofstream file{path, std::ios::binary};
    file.write(png.data(), static_cast<std::streamsize>(png.size())).flush();
    if (!file)
        throw std::runtime_error(fmt::format("the picture cannot be written to {}", path));
    return exit_ok;
}

void send_key_options(po::options_description_easy_init add) {
    add("text,t", po::value<std::string>()->value_name("STRING"), "type this");
    add("pace", po::value<unsigned>()->value_name("MS"), "milliseconds between key events (40)");
}

int run_send_key(const Invocation& invocation) {
    json::object request;
    json::array keys;
    for (std::size_t i = 1; i < invocation.arguments.size(); ++i)
        keys.emplace_back(invocation.arguments[i]);
    if (keys.empty() && !invocation.flag("text"))
        throw UsageError("which keys?");
    request["keys"] = std::move(keys);
    if (invocation.flag("text"))
        request["text"] = unescape(invocation.text("text"));
    if (invocation.flag("pace"))
        request["pace"] = invocation.options["pace"].as<unsigned>();
    ask(invocation, "send-key", std::move(request), 0s);
    return exit_ok;
}

int run_pause(const Invocation& invocation) {
    ask(invocation, "pause");
    return exit_ok;
}
int run_unpause(const Invocation& invocation) {
    ask(invocation, "resume");
    return exit_ok;
}
int run_reboot(const Invocation& invocation) {
    ask(invocation, "reboot");
    return exit_ok;
}

void shutdown_options(po::options_description_easy_init add) {
    add("wait,w", "return when the guest has ended");
}

int run_shutdown(const Invocation& invocation) {
    const FoundGuest guest = running_guest(invocation.arguments[0]);
    ControlClient{guest}.request("shutdown");
    if (invocation.flag("wait"))
        wait_for_end(guest);
    return exit_ok;
}

int run_destroy(const Invocation& invocation) {
    const FoundGuest guest = running_guest(invocation.arguments[0]);
    try {
        ControlClient{guest}.request("destroy", {}, 3s);
    } catch (const ControlError&) {
        // The device model hangs or still starts; its guardian ends it by force.
        const int guardian = read_guardian_pid(guest.path);
        if (guardian == 0 || ::kill(guardian, SIGTERM) != 0)
            throw;
    }
    wait_for_end(guest);
    return exit_ok;
}

int run_stat(const Invocation& invocation) {
    json::object reply = ask(invocation, "stat");
    if (invocation.flag("json")) {
        reply.erase("ok");
        fmt::print("{}", pretty(reply));
        return exit_ok;
    }
    fmt::print("{}: {}, {:.1f} s of CPU time\n", text_of(reply, "name"), text_of(reply, "state"),
               reply.at("cpu_seconds").to_number<double>());
    unsigned number = 0;
    for (const json::value& vcpu : reply.at("per_vcpu").as_array()) {
        const auto count = [&](std::string_view key) { return vcpu.at(key).to_number<std::uint64_t>(); };
        fmt::print(
            "  vCPU {:<2} {:>8.1f} s, {} entries, {} exits to the device model, {} by interrupts of the "
            "control OS\n",
            number++, vcpu.at("cpu_seconds").to_number<double>(), count("entries"),
            count("exits_to_device_model"), count("host_interrupts"));
    }
    struct Line {
        std::string name;
        std::uint64_t count;
    };
    std::vector<Line> lines;
    for (const json::value& exit : reply.at("exits").as_array())
        lines.push_back({text_of(exit.as_object(), "name"), exit.at("count").to_number<std::uint64_t>()});
    std::ranges::stable_sort(lines, std::greater{}, &Line::count);
    for (const Line& line : lines)
        if (line.count != 0)
            fmt::print("{:>14}  {}\n", line.count, line.name);
    return exit_ok;
}

} // namespace escalus
