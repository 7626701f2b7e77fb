// SPDX-License-Identifier: GPL-2.0-or-later
// What a subcommand of `escalus` is. command_table.cpp lists them all.
#pragma once

#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/variables_map.hpp>

namespace escalus {

inline constexpr int exit_ok = 0, exit_failed = 1, exit_usage = 2;

/// The command was called wrongly.
class UsageError : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Invocation {
    boost::program_options::variables_map options;
    std::vector<std::string> arguments;

    [[nodiscard]] bool flag(const char* name) const { return options.count(name) != 0; }
    [[nodiscard]] std::string text(const char* name) const {
        return flag(name) ? options[name].as<std::string>() : std::string{};
    }
};

struct Command {
    std::string_view name;
    std::string_view usage; ///< what follows the name
    std::string_view summary;
    std::string_view details; ///< for --help; may be empty
    void (*add_options)(boost::program_options::options_description_easy_init);
    std::size_t arguments_least, arguments_most;
    /// Returns the exit code; throws UsageError, or another std::exception for exit_failed with its message.
    int (*run)(const Invocation&);
};

[[nodiscard]] std::span<const Command> command_table();

/// The whole program but for the process's own set-up.
int run_escalus(const std::vector<std::string>& arguments);

/// A line on standard error, with "escalus: " before it.
void complain(std::string_view message);

} // namespace escalus
