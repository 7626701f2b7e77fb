// SPDX-License-Identifier: GPL-2.0-or-later
// The monitor's own command line: words NAME=VALUE. docs/INSTALL.md lists them.
//   pool=MIB | pool=N%     memory for guests; default 50%
//   console=none|com1|com2|vga     where the log also goes; default none
//   loglevel=error|warning|info|debug     default info
//   NAME=on|off            a part of hardware virtualization (vmm/cpu/hardware_options.hpp); default on
#pragma once

#include "vmm/cpu/log.hpp"

#include <cstdint>

namespace escalus::vmm {

struct Options {
    bool pool_in_percent = true;
    std::uint64_t pool = 50; ///< percent (1..90) or MiB (at least 2)
    Console console = Console::None;
    LogLevel log_level = LogLevel::Info;
    std::uint32_t hardware_off = 0; ///< bits by HardwareOption
};

/// Told of each word that is not understood, with the reason; the option keeps its default then.
using OptionComplaint = void (*)(const char* word, unsigned length, const char* why);

Options parse_options(const char* command_line, OptionComplaint complain);

} // namespace escalus::vmm
