// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/cli/runtime_directory.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace fs = std::filesystem;

namespace escalus {
namespace {

std::string why() {
    return std::generic_category().message(errno);
}

/// Opens and locks DIRECTORY/lock; -1 when somebody else holds it (or `flags` lack O_CREAT and it is not
/// there).
int take_lock(const fs::path& directory, int flags) {
    const fs::path path = directory / "lock";
    const int fd = ::open(path.c_str(), flags | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        if ((flags & O_CREAT) != 0)
            throw std::runtime_error(fmt::format("{} cannot be made: {}", path.string(), why()));
        return -1;
    }
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) {
        // A directory that was removed in between is locked in vain.
        struct stat mine {
        }, there{};
        if (::fstat(fd, &mine) == 0 && ::stat(path.c_str(), &there) == 0 && mine.st_ino == there.st_ino)
            return fd;
    }
    ::close(fd);
    return -1;
}

bool is_locked(const fs::path& directory) {
    const int fd = ::open((directory / "lock").c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == EACCES; // not ours to look at, so somebody's
    const bool locked = ::flock(fd, LOCK_SH | LOCK_NB) != 0;
    ::close(fd);
    return locked;
}

/// Destroys what a dead guest left in the monitor, and every file of it but the lock.
void clear(const fs::path& directory, const VmDestroyer& destroy_vm) {
    if (const auto vm = read_vm_file(directory))
        destroy_vm(*vm);
    for (const auto& entry : fs::directory_iterator{directory})
        if (entry.path().filename() != "lock")
            fs::remove_all(entry.path());
}

} // namespace

fs::path runtime_root() {
    const char* root = std::getenv("ESCALUS_RUN"); // NOLINT(concurrency-mt-unsafe)
    return root != nullptr && *root != '\0' ? root : "/run/escalus";
}

RuntimeDirectory::RuntimeDirectory(std::string_view name, const VmDestroyer& destroy_vm)
    : path_{runtime_root() / name} {
    constexpr int attempts = 3; // it may be removed by another between mkdir and lock
    for (int attempt = 0; attempt < attempts && lock_ < 0; ++attempt) {
        std::error_code error;
        fs::create_directories(path_, error);
        if (error)
            throw std::runtime_error(
                fmt::format("the runtime directory {} cannot be made: {}{}", path_.string(), error.message(),
                            error == std::errc::permission_denied ? "; run escalus as root" : ""));
        ::chmod(path_.c_str(), 0755);
        lock_ = take_lock(path_, O_CREAT);
        if (lock_ < 0 && is_locked(path_))
            throw std::runtime_error(fmt::format("a guest named {} already runs; give this one another name "
                                                 "(name=...), or end the other: escalus destroy {}",
                                                 name, name));
    }
    if (lock_ < 0)
        throw std::runtime_error(fmt::format("the runtime directory {} cannot be locked", path_.string()));
    try {
        clear(path_, destroy_vm);
    } catch (...) {
        ::close(lock_);
        throw;
    }
}

RuntimeDirectory::~RuntimeDirectory() {
    if (lock_ < 0)
        return;
    std::error_code ignored;
    fs::remove_all(path_, ignored);
    ::close(lock_);
}

void RuntimeDirectory::release() {
    ::close(std::exchange(lock_, -1));
}

void RuntimeDirectory::write(std::string_view file, std::string_view content, unsigned mode) const {
    const fs::path path = path_ / file;
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    const bool written =
        fd >= 0 && ::write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size());
    const std::string reason = why();
    if (fd >= 0)
        ::close(fd);
    if (!written)
        throw std::runtime_error(fmt::format("{} cannot be written: {}", path.string(), reason));
}

void RuntimeDirectory::write_vm(const VmIdentity& vm) const {
    write("vm", fmt::format("{:#x} {:#x} {:#x}\n", vm.handle, vm.key.low, vm.key.high), 0600);
}

std::optional<VmIdentity> read_vm_file(const fs::path& directory) {
    std::ifstream file{directory / "vm"};
    VmIdentity vm;
    file >> std::hex >> vm.handle >> vm.key.low >> vm.key.high;
    return file ? std::optional{vm} : std::nullopt;
}

int read_guardian_pid(const fs::path& directory) {
    std::ifstream file{directory / "pid"};
    int pid = 0;
    file >> pid;
    return pid > 0 ? pid : 0;
}

std::vector<FoundGuest> find_guests() {
    std::vector<FoundGuest> guests;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator{runtime_root(), error})
        if (entry.is_directory(error))
            guests.push_back({entry.path().filename(), entry.path(), is_locked(entry.path())});
    std::ranges::sort(guests, {}, &FoundGuest::name);
    return guests;
}

std::optional<FoundGuest> find_guest(std::string_view name) {
    for (FoundGuest& guest : find_guests())
        if (guest.name == name && guest.alive)
            return std::move(guest);
    return {};
}

void wait_for_end(const FoundGuest& guest) {
    const int fd = ::open((guest.path / "lock").c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return;
    while (::flock(fd, LOCK_SH) != 0 && errno == EINTR) {
    }
    ::close(fd);
}

std::vector<std::string> reap_dead_guests(const VmDestroyer& destroy_vm) {
    std::vector<std::string> reaped;
    for (const FoundGuest& guest : find_guests()) {
        if (guest.alive)
            continue;
        const int lock = take_lock(guest.path, 0);
        if (lock < 0)
            continue;
        try {
            clear(guest.path, destroy_vm);
            fs::remove_all(guest.path);
            reaped.push_back(guest.name);
        } catch (
            const std::runtime_error&) { // the monitor will not, or we may not: it stays for the next one
        }
        ::close(lock);
    }
    return reaped;
}

} // namespace escalus
