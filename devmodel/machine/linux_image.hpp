// SPDX-License-Identifier: GPL-2.0-or-later
// A Linux bzImage and its initial RAM disk, started by the 32-bit boot protocol (Linux,
// Documentation/arch/x86/boot.rst and zero-page.rst), protocol 2.00 and later.
// Missing: zImages (loaded low), the EFI handover protocol.
#pragma once

#include "devmodel/machine/boot_image.hpp"

namespace escalus {

class LinuxImage final : public BootImage {
  public:
    [[nodiscard]] static bool recognises(std::span<const std::uint8_t> head);
    LinuxImage(std::unique_ptr<BootFile> kernel, const BootFiles& files);
    void load(const BootTarget& target, abi::VcpuPage& page) const override;

  private:
    [[nodiscard]] std::uint64_t header(unsigned offset, unsigned width) const;
    [[nodiscard]] unsigned protocol() const { return static_cast<unsigned>(header(0x206, 2)); }
    struct Placement {
        std::uint64_t address = 0;
        std::uint64_t needed = 0; ///< bytes from there, while the kernel unpacks itself
    };
    [[nodiscard]] Placement place_kernel(std::uint64_t low_end) const;

    std::unique_ptr<BootFile> kernel_;
    std::unique_ptr<BootFile> ramdisk_;
    std::string command_line_;
    std::vector<std::uint8_t> setup_; // the image's first sectors
    std::uint64_t code_offset_ = 0;   // in the file
};

} // namespace escalus
