// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/boot_image.hpp"

#include "devmodel/machine/copy_bytes.hpp"
#include "devmodel/machine/linux_image.hpp"
#include "devmodel/machine/multiboot_image.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace escalus {

BootFile::BootFile(std::string path)
    : path_{std::move(path)}, fd_{open(path_.c_str(), O_RDONLY | O_CLOEXEC)} {
    struct stat status {};
    int error = 0;
    if (fd_ < 0 || fstat(fd_, &status) != 0)
        error = errno;
    else if (S_ISDIR(status.st_mode))
        error = EISDIR;
    if (error != 0) {
        if (fd_ >= 0)
            close(fd_);
        throw std::runtime_error{fmt::format("{}: {}", path_, std::strerror(error))};
    }
    size_ = static_cast<std::uint64_t>(status.st_size);
}

BootFile::~BootFile() {
    close(fd_);
}

void BootFile::read(std::uint64_t offset, std::span<std::uint8_t> data) const {
    while (!data.empty()) {
        const auto got = pread(fd_, data.data(), data.size(), static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            throw std::runtime_error{
                fmt::format("{}: {}", path_, got == 0 ? "the file ends too early" : std::strerror(errno))};
        data = data.subspan(static_cast<std::size_t>(got));
        offset += static_cast<std::uint64_t>(got);
    }
}

std::vector<std::uint8_t> BootFile::head(std::uint64_t most) const {
    std::vector<std::uint8_t> bytes(std::min(most, size_));
    read(0, bytes);
    return bytes;
}

std::span<std::uint8_t> BootTarget::ram(std::uint64_t address, std::uint64_t size, const char* what) const {
    const auto bytes = memory.at(GuestPhys{address}, size, Access::Write);
    if (bytes.size() != size)
        throw std::runtime_error{fmt::format("{} ({} KiB at {:#x}) does not fit into the guest's memory "
                                             "({} MiB below 4 GiB)",
                                             what, (size + 1023) >> 10, address, low_end >> 20)};
    return bytes;
}

void BootTarget::write(std::uint64_t address, std::span<const std::uint8_t> data, const char* what) const {
    copy_bytes(data, ram(address, data.size(), what));
}

std::vector<MemoryMapEntry> boot_memory_map(std::uint64_t low_end, std::uint64_t high_bytes) {
    std::vector<MemoryMapEntry> map{
        {0, 0x9fc00, 1}, {0x9fc00, 0x400, 2}, {0xe0000, 0x20000, 2}, {0x100000, low_end - 0x100000, 1}};
    map.push_back({0xfec00000, 0x1400000, 2}); // APICs, HPET, firmware
    if (high_bytes != 0)
        map.push_back({1ull << 32, high_bytes, 1});
    return map;
}

void place_boot_gdt(const BootTarget& target, abi::VcpuPage& page) {
    constexpr std::uint64_t place = 0x1000;
    constexpr std::array<std::uint64_t, 4> table{0, 0, 0x00cf9b000000ffff, 0x00cf93000000ffff};
    std::array<std::uint8_t, sizeof table> bytes{};
    std::memcpy(bytes.data(), table.data(), sizeof table);
    target.write(place, bytes, "the descriptor table");
    page.gdtr = {place, sizeof table - 1};
    page.dirty |= abi::group_segments;
}

std::unique_ptr<BootImage> open_boot_image(const BootFiles& files) {
    auto kernel = std::make_unique<BootFile>(files.kernel);
    const auto head = kernel->head(MultibootImage::header_search);
    if (LinuxImage::recognises(head))
        return std::make_unique<LinuxImage>(std::move(kernel), files);
    if (MultibootImage::recognises(head))
        return std::make_unique<MultibootImage>(std::move(kernel), files);
    throw std::runtime_error{
        fmt::format("{}: neither a Linux kernel (bzImage) nor a Multiboot kernel", files.kernel)};
}

} // namespace escalus
