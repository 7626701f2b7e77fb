// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/engine/physical_memory.hpp"

#include "devmodel/engine/engine.hpp"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

namespace escalus {

namespace {
[[noreturn]] void refuse(std::uint64_t address, std::uint64_t size, int error) {
    throw EngineError{fmt::format(
        "/dev/mem refuses {:#x}+{:#x}: {}. The kernel must leave reserved memory to root: it may be "
        "in lockdown mode (Secure Boot), or not the kernel that the monitor started.",
        address, size, std::strerror(error))};
}

void* map_pages(int fd, void* at, std::uint64_t address, std::uint64_t size, bool writable) {
    const int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    const int flags = MAP_SHARED | (at != nullptr ? MAP_FIXED : 0);
    void* where = mmap(at, size, protection, flags, fd, static_cast<off_t>(address));
    if (where == MAP_FAILED) // NOLINT(performance-no-int-to-ptr)
        refuse(address, size, errno);
    madvise(where, size, MADV_DONTDUMP);
    return where;
}
} // namespace

Mapping::~Mapping() {
    if (address_ != nullptr)
        munmap(address_, size_);
}

Mapping Mapping::reserve(std::uint64_t size) {
    const auto whole = size + large_page_size;
    void* where = mmap(nullptr, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (where == MAP_FAILED) // NOLINT(performance-no-int-to-ptr)
        throw EngineError{
            fmt::format("no address space for {} MiB of guest memory: {}", size >> 20, std::strerror(errno))};
    auto* start = static_cast<std::uint8_t*>(where);
    const auto misaligned = reinterpret_cast<std::uintptr_t>(start) % large_page_size;
    const auto before = misaligned == 0 ? 0 : large_page_size - misaligned;
    if (before != 0)
        munmap(start, before);
    munmap(start + before + size, whole - before - size);
    return {start + before, size};
}

PhysicalMemory::PhysicalMemory() : fd_{open("/dev/mem", O_RDWR | O_CLOEXEC)} {
    if (fd_ >= 0)
        return;
    const int error = errno;
    const bool forbidden = error == EACCES || error == EPERM;
    const char* advice = forbidden && geteuid() != 0 ? " Run this as root."
                         : forbidden
                             ? " The kernel keeps it from root, too: it is in lockdown mode (Secure Boot, or "
                               "lockdown= on its command line), or this is a container."
                         : error == ENOENT ? " The kernel has no /dev/mem (CONFIG_DEVMEM)."
                                           : "";
    throw EngineError{fmt::format("cannot open /dev/mem: {}.{}", std::strerror(error), advice)};
}

Mapping PhysicalMemory::map(HostPhys address, std::uint64_t size, bool writable) const {
    const auto before = raw(address) & page_mask;
    const auto whole = (size + before + page_mask) & ~page_mask;
    return {map_pages(fd_, nullptr, raw(address) - before, whole, writable), whole};
}

void PhysicalMemory::map_into(const Mapping& reservation, std::uint64_t offset, HostPhys address,
                              std::uint64_t size) const {
    auto place = reservation.bytes().subspan(offset, size);
    map_pages(fd_, place.data(), raw(address), size, true);
}

void PhysicalMemory::close() {
    if (fd_ >= 0)
        ::close(fd_);
    fd_ = -1;
}

} // namespace escalus
