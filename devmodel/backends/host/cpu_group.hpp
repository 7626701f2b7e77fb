// SPDX-License-Identifier: GPL-2.0-or-later
// A guest's share of the CPUs: a group of Linux' cgroup v2 with its cpu.weight and cpu.max
// (Documentation/admin-guide/cgroup-v2.rst), /sys/fs/cgroup/escalus/NAME.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace escalus {

struct CpuShare {
    std::optional<unsigned> weight; ///< as Xen counts: 256 is normal, 512 gets twice as much; 1 to 65535
    unsigned cap = 0;               ///< per cent of one CPU; 0: no limit

    [[nodiscard]] bool asked_for() const { return weight.has_value() || cap != 0; }
};

/// cpu.weight, where 100 is normal and 1 to 10000 are allowed.
[[nodiscard]] unsigned cgroup_weight(unsigned weight);
/// cpu.max: microseconds of run time in each period of 100 ms.
[[nodiscard]] std::string cgroup_maximum(unsigned cap);

class CpuGroup {
  public:
    /// Makes the group, or takes over an empty one of that name. Throws std::runtime_error with a message for
    /// the user where there is no cgroup v2 with the controller for CPUs, or it is not ours to use.
    CpuGroup(const std::string& name, const CpuShare& share,
             const std::filesystem::path& root = "/sys/fs/cgroup");
    /// Removes it; what is in it must have ended.
    ~CpuGroup();
    CpuGroup(const CpuGroup&) = delete;
    CpuGroup& operator=(const CpuGroup&) = delete;

    /// Moves this process, with the threads it has and will have, into the group.
    void enter() const;
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
};

} // namespace escalus
