// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/cli/command.hpp"
#include "devmodel/config/nearest.hpp"

#include <algorithm>
#include <cstdio>
#include <sstream>

#include <boost/program_options.hpp>
#include <fmt/format.h>

namespace escalus {
namespace {

namespace po = boost::program_options;

constexpr std::string_view introduction =
    "Escalus runs unmodified operating systems as guests of this machine.\n\n"
    "usage: escalus COMMAND [OPTIONS] [ARGUMENTS]\n\n";

std::string overview() {
    std::string text{introduction};
    for (const Command& command : command_table())
        text += fmt::format("  {:<12}{}\n", command.name, command.summary);
    return text + "\nescalus COMMAND --help says more about a command.\n";
}

po::options_description visible_options(const Command& command) {
    po::options_description options{"options", 100};
    if (command.add_options != nullptr)
        command.add_options(options.add_options());
    options.add_options()("help,h", "show this text");
    return options;
}

std::string usage_line(const Command& command) {
    return fmt::format("usage: escalus {}{}{}\n", command.name, command.usage.empty() ? "" : " ",
                       command.usage);
}

std::string help_text(const Command& command) {
    std::ostringstream text;
    text << "escalus " << command.name << ": " << command.summary << "\n\n" << usage_line(command) << '\n';
    if (!command.details.empty())
        text << command.details << "\n\n";
    text << visible_options(command);
    return text.str();
}

Invocation parse(const Command& command, const std::vector<std::string>& arguments) {
    po::options_description all = visible_options(command);
    all.add_options()("argument", po::value<std::vector<std::string>>());
    po::positional_options_description positional;
    positional.add("argument", -1);
    Invocation invocation;
    try {
        namespace style = po::command_line_style;
        po::store(po::command_line_parser{arguments}
                      .options(all)
                      .positional(positional)
                      .style(style::unix_style & ~style::allow_guessing)
                      .run(),
                  invocation.options);
    } catch (const po::error& error) {
        throw UsageError{error.what()};
    }
    if (invocation.flag("argument"))
        invocation.arguments = invocation.options["argument"].as<std::vector<std::string>>();
    return invocation;
}

int run_command(const Command& command, const std::vector<std::string>& arguments) {
    try {
        const Invocation invocation = parse(command, arguments);
        if (invocation.flag("help")) {
            fmt::print("{}", help_text(command));
            return exit_ok;
        }
        const std::size_t count = invocation.arguments.size();
        if (count < command.arguments_least)
            throw UsageError{"an argument is missing"};
        if (count > command.arguments_most)
            throw UsageError{
                fmt::format("'{}' is one argument too many", invocation.arguments[command.arguments_most])};
        return command.run(invocation);
    } catch (const UsageError& error) {
        complain(error.what());
        fmt::print(stderr, "{}escalus {} --help says more.\n", usage_line(command), command.name);
        return exit_usage;
    } catch (const std::exception& error) {
        complain(error.what());
        return exit_failed;
    }
}

int unknown_command(const std::string& name) {
    std::vector<std::string_view> names;
    for (const Command& command : command_table())
        names.push_back(command.name);
    const std::string_view near = nearest(name, names);
    complain(fmt::format("there is no command '{}'", name));
    if (near.empty())
        fmt::print(stderr, "escalus --help lists the commands.\n");
    else
        fmt::print(stderr, "Did you mean escalus {}?\n", near);
    return exit_usage;
}

} // namespace

void complain(std::string_view message) {
    fmt::print(stderr, "escalus: {}\n", message);
    std::fflush(stderr);
}

int run_escalus(const std::vector<std::string>& arguments) {
    if (arguments.empty()) {
        fmt::print(stderr, "{}", overview());
        return exit_usage;
    }
    std::string name = arguments[0];
    std::vector<std::string> rest{arguments.begin() + 1, arguments.end()};
    if (name == "help" && !rest.empty()) {
        name = rest[0];
        rest = {"--help"};
    } else if (name == "help" || name == "--help" || name == "-h") {
        fmt::print("{}", overview());
        return exit_ok;
    }
    if (name == "--version" || name == "-V")
        name = "version";
    const auto table = command_table();
    const auto command = std::ranges::find(table, name, &Command::name);
    return command == table.end() ? unknown_command(name) : run_command(*command, rest);
}

} // namespace escalus
