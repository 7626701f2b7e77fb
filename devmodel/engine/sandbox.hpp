// SPDX-License-Identifier: GPL-2.0-or-later
// What the device model gives up after its initialisation, so that a guest that takes it over gains little:
// root, new privileges, and all system calls but those that the run needs. Everything Linux-specific about it
// is in sandbox.cpp.
#pragma once

#include <string>

namespace escalus {

struct SandboxOptions {
    std::string user = "nobody"; ///< name or number; its primary group comes with it. Only root can change.
    bool filter_system_calls = true;
    bool allow_core_dump = false; ///< a core holds guest memory
    /// A network behind an address translation: sockets of the Internet, and files are opened to be read (the
    /// name server's address, and what is served by TFTP), as far as the user may read them.
    bool user_network = false;
    bool tap_offloads = false; ///< what a TAP device takes may be changed
};

/// Call once, when every file, socket and VM is open. Threads that exist and those that come later are both
/// bound. Opening files and connecting out fail with EACCES from then on, unless an option says otherwise; a
/// forbidden system call ends the process with a line on stderr that names it. Throws std::runtime_error.
void enter_sandbox(const SandboxOptions& options = {});

} // namespace escalus
