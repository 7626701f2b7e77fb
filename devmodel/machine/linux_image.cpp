// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/linux_image.hpp"

#include "devmodel/machine/cpu_reset.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>

#include <fmt/format.h>

namespace escalus {

namespace {
// Where the pieces go, all below 640 KiB and clear of the real-mode area and the GDT.
constexpr std::uint64_t zero_page = 0x7000, command_line_place = 0x20000;
constexpr std::uint64_t default_load = 0x100000;

// Setup header fields (boot.rst).
constexpr unsigned setup_sects = 0x1f1, magic = 0x202, loadflags = 0x211, code32_start = 0x214,
                   initrd_addr_max = 0x22c, relocatable_kernel = 0x234, cmdline_size = 0x238,
                   pref_address = 0x258, init_size = 0x260;
constexpr std::uint32_t magic_value = 0x53726448; // "HdrS"

void put(std::span<std::uint8_t> bytes, std::size_t offset, std::uint64_t value, unsigned width) {
    for (unsigned i = 0; i < width; ++i)
        bytes[offset + i] = static_cast<std::uint8_t>(value >> (8 * i));
}

std::uint64_t get(std::span<const std::uint8_t> bytes, std::size_t offset, unsigned width) {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < width && offset + i < bytes.size(); ++i)
        value |= std::uint64_t{bytes[offset + i]} << (8 * i);
    return value;
}
} // namespace

bool LinuxImage::recognises(std::span<const std::uint8_t> head) {
    return head.size() >= 0x210 && get(head, magic, 4) == magic_value && get(head, 0x1fe, 2) == 0xaa55;
}

LinuxImage::LinuxImage(std::unique_ptr<BootFile> kernel, const BootFiles& files)
    : kernel_{std::move(kernel)}, command_line_{files.command_line}, setup_{kernel_->head(0x1000)} {
    if (!files.modules.empty())
        throw std::runtime_error{
            fmt::format("{}: a Linux kernel takes one ramdisk and no further modules", kernel_->path())};
    if (protocol() < 0x200 || (header(loadflags, 1) & 1) == 0)
        throw std::runtime_error{fmt::format("{}: boot protocol {:#x} is too old, a bzImage is needed",
                                             kernel_->path(), protocol())};
    const auto sectors = header(setup_sects, 1) == 0 ? 4 : header(setup_sects, 1);
    code_offset_ = (sectors + 1) * 512;
    if (code_offset_ >= kernel_->size())
        throw std::runtime_error{fmt::format("{}: the file ends too early", kernel_->path())};
    const auto longest = protocol() >= 0x206 ? header(cmdline_size, 4) : 255;
    if (command_line_.size() > longest)
        throw std::runtime_error{fmt::format("the kernel's command line has {} characters, and {} takes {}",
                                             command_line_.size(), kernel_->path(), longest)};
    if (!files.ramdisk.empty())
        ramdisk_ = std::make_unique<BootFile>(files.ramdisk);
}

std::uint64_t LinuxImage::header(unsigned offset, unsigned width) const {
    return get(setup_, offset, width);
}

LinuxImage::Placement LinuxImage::place_kernel(std::uint64_t low_end) const {
    const auto size = kernel_->size() - code_offset_;
    if (protocol() < 0x20a)
        return {default_load, std::max(size, std::uint64_t{16} << 20)};
    // Where it likes to run, it need not move itself first.
    const auto needed = std::max(size, header(init_size, 4));
    const auto preferred = header(pref_address, 8);
    if (header(relocatable_kernel, 1) != 0 && preferred >= default_load && preferred < low_end &&
        needed <= low_end - preferred)
        return {preferred, needed};
    return {default_load, std::max(needed, preferred + needed - default_load)};
}

void LinuxImage::load(const BootTarget& target, abi::VcpuPage& page) const {
    const auto place = place_kernel(target.low_end);
    const auto size = kernel_->size() - code_offset_;
    kernel_->read(code_offset_, target.ram(place.address, size, "the kernel"));

    std::vector<std::uint8_t> zero(4096);
    // The header's end is said by the jump at its start.
    const auto header_end = std::min<std::size_t>(0x202 + header(0x201, 1), 0x290);
    std::copy_n(setup_.begin() + setup_sects, header_end - setup_sects, zero.begin() + setup_sects);
    put(zero, 0x1fa, 0xffff, 2); // vid_mode: normal
    put(zero, 0x210, 0xff, 1);   // type_of_loader: none of those with a number
    put(zero, code32_start, place.address, 4);
    put(zero, 0x228, command_line_place, 4);
    put(zero, 0x070, target.rsdp, 8);

    if (ramdisk_ != nullptr && ramdisk_->size() != 0) {
        const auto limit = protocol() >= 0x203 ? header(initrd_addr_max, 4) + 1 : 0x38000000;
        const auto end = std::min(target.low_end, limit);
        const auto bytes = ramdisk_->size();
        const auto first_free = place.address + place.needed;
        if (first_free > end || bytes > end - first_free)
            throw std::runtime_error{fmt::format(
                "{}: the ramdisk has {} MiB, and the guest's memory has room for {} MiB beside "
                "the kernel",
                ramdisk_->path(), (bytes + 0xfffff) >> 20, first_free > end ? 0 : (end - first_free) >> 20)};
        const auto address = (end - bytes) & ~page_mask;
        ramdisk_->read(0, target.ram(address, bytes, "the ramdisk"));
        put(zero, 0x218, address, 4);
        put(zero, 0x21c, bytes, 4);
        put(zero, 0x0c4, bytes >> 32, 4);
    }

    const auto map = boot_memory_map(target.low_end, target.high_bytes);
    put(zero, 0x1e8, map.size(), 1);
    for (std::size_t i = 0; i < map.size(); ++i) {
        put(zero, 0x2d0 + 20 * i, map[i].base, 8);
        put(zero, 0x2d8 + 20 * i, map[i].size, 8);
        put(zero, 0x2e0 + 20 * i, map[i].type, 4);
    }
    target.write(zero_page, zero, "the boot parameters");

    std::vector<std::uint8_t> line(command_line_.begin(), command_line_.end());
    line.push_back(0);
    target.write(command_line_place, line, "the command line");

    place_boot_gdt(target, page);
    enter_flat_protected_mode(page, static_cast<std::uint32_t>(place.address), boot_code_selector,
                              boot_data_selector);
    page.gpr[abi::rsi] = zero_page;
}

} // namespace escalus
