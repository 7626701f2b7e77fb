// SPDX-License-Identifier: GPL-2.0-or-later
// A running guest is a directory, /run/escalus/NAME (under ESCALUS_RUN instead of /run/escalus when that is
// set):
//
//   lock         locked (flock) by the guardian for as long as the guest lives
//   config.json  the machine
//   pid          the guardian's and the device model's process, one a line
//   vm           the VM's handle and key, readable by root only
//   control      the control socket (control_server.hpp)
//   serial0 ...  serial ports
//   log          what the guardian and the device model had to say
//
// A directory whose lock is free belongs to a guest that died; whoever sees it may clear it away.
#pragma once

#include "vmm/abi/abi.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace escalus {

/// The handle by which the guardian, or a later command, destroys a VM whose device model died.
struct VmIdentity {
    std::uint64_t handle = 0;
    abi::Key key;
};

[[nodiscard]] std::filesystem::path runtime_root();

class RuntimeDirectory {
  public:
    /// Makes and locks the directory. Throws std::runtime_error when a guest of this name runs, or the
    /// directory cannot be made.
    static RuntimeDirectory create(std::string_view name);
    ~RuntimeDirectory();
    RuntimeDirectory(RuntimeDirectory&& other) noexcept;
    RuntimeDirectory& operator=(RuntimeDirectory&&) = delete;

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    void write(std::string_view file, std::string_view content, unsigned mode = 0644) const;
    void write_vm(const VmIdentity& vm) const;
    [[nodiscard]] std::optional<VmIdentity> read_vm() const;

    /// Leaves the directory to the process that holds the other copy of the lock (after fork).
    void release();

  private:
    RuntimeDirectory(std::filesystem::path path, int lock) : path_{std::move(path)}, lock_{lock} {}

    std::filesystem::path path_;
    int lock_ = -1;
};

/// A directory below runtime_root() as others find it.
struct FoundGuest {
    std::string name;
    std::filesystem::path path;
    bool alive = false; ///< somebody holds the lock
};
[[nodiscard]] std::vector<FoundGuest> find_guests();

[[nodiscard]] std::optional<VmIdentity> read_vm_file(const std::filesystem::path& directory);

/// Takes over the directory of a dead guest, to clear it away; nothing when it is alive after all.
[[nodiscard]] std::optional<RuntimeDirectory> adopt_dead(const FoundGuest& guest);

} // namespace escalus
