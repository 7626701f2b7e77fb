// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/host/cpu_group.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace escalus {

namespace {

namespace fs = std::filesystem;

/// The kernel takes or refuses a value at the write itself.
void write_value(const fs::path& file, const std::string& value) {
    const int fd = ::open(file.c_str(), O_WRONLY | O_CLOEXEC);
    const bool written =
        fd >= 0 && ::write(fd, value.data(), value.size()) == static_cast<ssize_t>(value.size());
    const int error = errno;
    if (fd >= 0)
        ::close(fd);
    if (!written)
        throw std::runtime_error{
            fmt::format("{} does not take '{}': {}", file.string(), value, std::strerror(error))};
}

bool has_word(const fs::path& file, const std::string& word) {
    std::ifstream stream{file};
    return std::find(std::istream_iterator<std::string>{stream}, {}, word) !=
           std::istream_iterator<std::string>{};
}

/// Lets the groups below have the controller.
void hand_down(const fs::path& group) {
    if (!has_word(group / "cgroup.subtree_control", "cpu"))
        write_value(group / "cgroup.subtree_control", "+cpu");
}

} // namespace

unsigned cgroup_weight(unsigned weight) {
    return std::clamp((weight * 100 + 128) / 256, 1u, 10'000u);
}

std::string cgroup_maximum(unsigned cap) {
    constexpr unsigned period = 100'000;
    return cap == 0 ? fmt::format("max {}", period) : fmt::format("{} {}", cap * (period / 100), period);
}

CpuGroup::CpuGroup(const std::string& name, const CpuShare& share, const fs::path& root)
    : path_{root / "escalus" / name} {
    if (!has_word(root / "cgroup.controllers", "cpu"))
        throw std::runtime_error{
            fmt::format("cpu_weight and cap need cgroup v2 with its cpu controller at {}, which is not there",
                        root.string())};
    hand_down(root);
    fs::create_directories(path_);
    try {
        hand_down(path_.parent_path());
        write_value(path_ / "cpu.weight", std::to_string(cgroup_weight(share.weight.value_or(256))));
        write_value(path_ / "cpu.max", cgroup_maximum(share.cap));
    } catch (...) {
        ::rmdir(path_.c_str());
        throw;
    }
}

CpuGroup::~CpuGroup() {
    ::rmdir(path_.c_str());
}

void CpuGroup::enter() const {
    write_value(path_ / "cgroup.procs", "0");
}

} // namespace escalus
