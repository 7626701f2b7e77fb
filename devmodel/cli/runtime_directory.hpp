// SPDX-License-Identifier: GPL-2.0-or-later
// A running guest is a directory, /run/escalus/NAME (under ESCALUS_RUN instead of /run/escalus when that is
// set):
//
//   lock         locked (flock) by the guardian for as long as the guest lives
//   config.json  the machine, readable by root only (it holds the VNC password)
//   pid          the process of the guardian and that of the device model, a line each
//   vm           the VM's handle and key, readable by root only
//   control      the control socket (control_server.hpp)
//   serial0 ...  serial ports
//   log          what the guardian and the device model had to say
//
// A directory whose lock is free belongs to a guest whose guardian died; whoever sees it may clear it away.
#pragma once

#include "vmm/abi/abi.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace escalus {

/// By what a VM in the monitor is destroyed once its device model is dead.
struct VmIdentity {
    std::uint64_t handle = 0;
    abi::Key key;
    bool operator==(const VmIdentity&) const = default;
};
/// Destroys the VM in the monitor if it is still there; throws std::runtime_error when that fails.
using VmDestroyer = std::function<void(const VmIdentity&)>;

[[nodiscard]] std::filesystem::path runtime_root();

class RuntimeDirectory {
  public:
    /// Makes and locks the directory; what a dead guest of the same name left is cleared away first. Throws
    /// std::runtime_error when a guest of this name runs, or the directory cannot be made.
    RuntimeDirectory(std::string_view name, const VmDestroyer& destroy_vm);
    ~RuntimeDirectory();
    RuntimeDirectory(const RuntimeDirectory&) = delete;
    RuntimeDirectory& operator=(const RuntimeDirectory&) = delete;

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    void write(std::string_view file, std::string_view content, unsigned mode = 0644) const;
    void write_vm(const VmIdentity& vm) const;

    /// In a forked child: leaves lock and directory to the parent.
    void release();

  private:
    std::filesystem::path path_;
    int lock_ = -1;
};

/// A directory below runtime_root() as others find it, by name.
struct FoundGuest {
    std::string name;
    std::filesystem::path path;
    bool alive = false; ///< somebody holds the lock
};
[[nodiscard]] std::vector<FoundGuest> find_guests();
[[nodiscard]] std::optional<FoundGuest> find_guest(std::string_view name);
/// Returns when the guest's lock is free.
void wait_for_end(const FoundGuest& guest);

[[nodiscard]] std::optional<VmIdentity> read_vm_file(const std::filesystem::path& directory);
/// The guardian's process; 0 when it is not known.
[[nodiscard]] int read_guardian_pid(const std::filesystem::path& directory);

/// Destroys the VMs of dead guests and removes their directories, as far as the caller may. Returns the names
/// of those that are gone.
std::vector<std::string> reap_dead_guests(const VmDestroyer& destroy_vm);

} // namespace escalus
