// SPDX-License-Identifier: GPL-2.0-or-later
// The guardian of one guest: starts its device model as a child process, waits for that process's end in
// whatever way it comes (kill -9 too), and then sees to it that nothing is left: the VM in the monitor, the
// runtime directory. Carries out on_poweroff, on_reboot and on_crash = restart with a new child.
//
// Between the two run three pipes. Status, child to guardian: one JSON object a line,
//
//   {"event": "vm", "handle": ..., "key_low": ..., "key_high": ...}   as soon as the VM exists
//   {"event": "running", "vnc": ..., "web": ..., "serial": [...]}     the guest is about to run
//   {"event": "note", "message": ...}                                 something the user should know
//   {"event": "failed", "message": ...}                               it could not be started
//   {"event": "stopped", "reason": "power-off" | "reboot" | "crash" | "destroyed", "details": ...,
//    "action": "destroy" | "restart" | "preserve"}                    after "preserve" the child lives on
//
// standard error of the child, which goes to the log and to the guardian's own; and the lifeline, guardian to
// child, on which nothing is ever sent: its end tells the child that the guardian is gone.
#pragma once

#include "devmodel/cli/runtime_directory.hpp"
#include "devmodel/config/machine_config.hpp"

#include <functional>
#include <string>

#include <boost/json/fwd.hpp>

namespace escalus {

/// What the child is given.
struct ChildPipes {
    int status = -1;
    int lifeline = -1;
};

struct GuardianHooks {
    /// The device model: runs in the forked child and returns its exit code.
    std::function<int(const ChildPipes&)> child;
    VmDestroyer destroy_vm;
    /// The guest runs (for the first time); the "running" event.
    std::function<void(const boost::json::object&)> running;
    /// A line for the user.
    std::function<void(const std::string&)> say;
};

/// Returns the exit code of `escalus create`: 0 after power-off or destroy, 1 after a crash or a failed
/// start, 128 + N after signal N. Leaves the runtime directory in place for the caller to remove.
int guard(RuntimeDirectory& directory, const MachineConfig& config, const GuardianHooks& hooks);

} // namespace escalus
