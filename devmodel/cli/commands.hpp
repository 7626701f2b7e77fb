// SPDX-License-Identifier: GPL-2.0-or-later
// The handlers behind the command table.
#pragma once

#include "devmodel/cli/command.hpp"

namespace escalus {

// create_command.cpp
int run_create(const Invocation& invocation);
void create_options(boost::program_options::options_description_easy_init add);

// guest_commands.cpp: what is asked of a running guest
int run_list(const Invocation& invocation);
int run_vnc(const Invocation& invocation);
int run_screenshot(const Invocation& invocation);
void screenshot_options(boost::program_options::options_description_easy_init add);
int run_send_key(const Invocation& invocation);
void send_key_options(boost::program_options::options_description_easy_init add);
int run_pause(const Invocation& invocation);
int run_unpause(const Invocation& invocation);
int run_reboot(const Invocation& invocation);
int run_shutdown(const Invocation& invocation);
void shutdown_options(boost::program_options::options_description_easy_init add);
int run_destroy(const Invocation& invocation);
int run_stat(const Invocation& invocation);
void json_option(boost::program_options::options_description_easy_init add);

// console_command.cpp
int run_console(const Invocation& invocation);
void console_options(boost::program_options::options_description_easy_init add);
/// Where COM1 (`port` 1) of a running guest is to be found. Throws when it has no terminal.
[[nodiscard]] std::string serial_path_of(const std::string& guest, unsigned port);
/// Connects the terminal to a serial port (a Unix socket or a pty) until Ctrl-] or the port's end; true when
/// the user left.
bool attach_console(const std::string& path);
// vga_console.cpp: until the user leaves or the guest ends.
void attach_vga_console(const std::string& name);

// media_commands.cpp
int run_cd_insert(const Invocation& invocation);
int run_cd_eject(const Invocation& invocation);
void cd_options(boost::program_options::options_description_easy_init add);
int run_floppy_insert(const Invocation& invocation);
int run_floppy_eject(const Invocation& invocation);
void floppy_options(boost::program_options::options_description_easy_init add);
int run_block_list(const Invocation& invocation);

// monitor_commands.cpp
int run_dmesg(const Invocation& invocation);
int run_version(const Invocation& invocation);

} // namespace escalus
