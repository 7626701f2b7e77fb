// SPDX-License-Identifier: GPL-2.0-or-later
// What direct boot is made of: the files, the memory they go to, and the two kinds of kernels.
#pragma once

#include "devmodel/machine/guest_memory.hpp"
#include "vmm/abi/abi.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace escalus {

/// A file that stays open, so that a reset of the machine can load it again, also after the process has given
/// up its right to open files.
class BootFile {
  public:
    /// Throws std::runtime_error that names the path and the reason.
    explicit BootFile(std::string path);
    ~BootFile();
    BootFile(const BootFile&) = delete;
    BootFile& operator=(const BootFile&) = delete;

    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] std::uint64_t size() const { return size_; }
    /// Reads all of `data`. Throws std::runtime_error, also when the file ends before.
    void read(std::uint64_t offset, std::span<std::uint8_t> data) const;
    /// The first bytes: as many as there are, at most `most`.
    [[nodiscard]] std::vector<std::uint8_t> head(std::uint64_t most) const;

  private:
    std::string path_;
    int fd_ = -1;
    std::uint64_t size_ = 0;
};

/// Where a kernel may be put, and what it is told.
struct BootTarget {
    GuestMemory& memory;
    std::uint64_t low_end = 0;    ///< RAM from 1 MiB to here
    std::uint64_t high_bytes = 0; ///< RAM from 4 GiB
    std::uint64_t rsdp = 0;       ///< the ACPI root pointer; 0: none

    /// The host's view of RAM; throws std::runtime_error naming `what` when there is not enough.
    [[nodiscard]] std::span<std::uint8_t> ram(std::uint64_t address, std::uint64_t size,
                                              const char* what) const;
    void write(std::uint64_t address, std::span<const std::uint8_t> data, const char* what) const;
};

struct MemoryMapEntry {
    std::uint64_t base = 0, size = 0;
    std::uint32_t type = 1; ///< 1 RAM, 2 reserved
};
/// The map of a machine without firmware: RAM but for the BIOS area and PCI's window.
[[nodiscard]] std::vector<MemoryMapEntry> boot_memory_map(std::uint64_t low_end, std::uint64_t high_bytes);

/// Selectors of the descriptor table that place_boot_gdt() makes.
inline constexpr std::uint16_t boot_code_selector = 0x10, boot_data_selector = 0x18;
/// A GDT with flat segments at 0x1000, and GDTR on it.
void place_boot_gdt(const BootTarget& target, abi::VcpuPage& page);

class BootImage {
  public:
    virtual ~BootImage() = default;
    /// Puts everything into memory and sets the registers of a processor that was just reset. Throws
    /// std::runtime_error when it does not fit.
    virtual void load(const BootTarget& target, abi::VcpuPage& page) const = 0;
};

struct BootFiles {
    std::string kernel;               ///< path
    std::string ramdisk;              ///< path, or empty
    std::vector<std::string> modules; ///< "PATH ARGUMENTS"
    std::string command_line;
};

/// Recognises the kernel by its head. Throws std::runtime_error when it is neither a Linux bzImage nor a
/// Multiboot kernel.
[[nodiscard]] std::unique_ptr<BootImage> open_boot_image(const BootFiles& files);

} // namespace escalus
