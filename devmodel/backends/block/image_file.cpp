// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/block/image_file.hpp"

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

namespace escalus {

namespace {
[[noreturn]] void refuse(const std::string& path, const std::string& why) {
    throw std::runtime_error{fmt::format("{}: {}", path, why)};
}

void lock_image(const std::string& path, int fd, bool read_only) {
    struct flock lock {};
    lock.l_type = static_cast<short>(read_only ? F_RDLCK : F_WRLCK);
    lock.l_whence = SEEK_SET; // length 0: to the end, whatever that becomes
    if (::fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return;
    if (errno != EACCES && errno != EAGAIN)
        return; // a file system without locks
    refuse(path, read_only ? "the image is in use: another machine may write it"
                           : "the image is in use by another machine (read-only sharing needs both sides "
                             "to be read-only)");
}
} // namespace

Descriptor open_image_file(const std::string& path, bool read_only) {
    Descriptor fd{::open(path.c_str(), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
    if (fd.get() < 0) {
        const int error = errno;
        if (error == EISDIR) // opening a directory for writing
            refuse(path, "is a directory, not a disk image or block device");
        if (!read_only && (error == EACCES || error == EROFS || error == EPERM))
            refuse(path, fmt::format("cannot be opened for writing: {} (a read-only disk can be given with "
                                     "'r' instead of 'w')",
                                     std::strerror(error)));
        refuse(path, fmt::format("cannot be opened: {}", std::strerror(error)));
    }
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0)
        refuse(path, std::strerror(errno));
    if (S_ISDIR(info.st_mode))
        refuse(path, "is a directory, not a disk image or block device");
    if (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode))
        refuse(path, "is neither a regular file nor a block device");
    int device_read_only = 0;
    if (S_ISBLK(info.st_mode) && !read_only && ::ioctl(fd.get(), BLKROGET, &device_read_only) == 0 &&
        device_read_only != 0)
        refuse(path, "the block device is read-only (it can be given with 'r' instead of 'w')");
    lock_image(path, fd.get(), read_only);
    return fd;
}

} // namespace escalus
