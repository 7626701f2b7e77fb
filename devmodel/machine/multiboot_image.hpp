// SPDX-License-Identifier: GPL-2.0-or-later
// A Multiboot kernel and its modules (Multiboot Specification 0.6.96): ELF32, ELF64 and the header's own
// addresses ("a.out kludge"), memory map, command line, modules with strings, loader name.
//
// A kernel's string is its path and arguments, as GRUB gives it. When the arguments begin with '/', they are
// the whole string: Solaris wants to hear the path that the kernel has inside its boot archive.
// Missing: video mode requests, ELF section headers, drives, the APM table.
#pragma once

#include "devmodel/machine/boot_image.hpp"

#include <deque>
#include <optional>

namespace escalus {

class MultibootImage final : public BootImage {
  public:
    static constexpr std::uint64_t header_search = 8192;

    [[nodiscard]] static bool recognises(std::span<const std::uint8_t> head);
    MultibootImage(std::unique_ptr<BootFile> kernel, const BootFiles& files);
    void load(const BootTarget& target, abi::VcpuPage& page) const override;

  private:
    struct Module {
        Module(std::string path, std::string string) : file{std::move(path)}, text{std::move(string)} {}
        BootFile file;
        std::string text;
    };
    struct Segment {
        std::uint64_t offset, file_bytes; ///< in the file
        std::uint64_t address, bytes;     ///< in memory
    };
    struct Placed {
        std::uint64_t begin, end;
    };
    void read_addresses(std::uint64_t header_at);
    void read_elf();
    template <typename Header, typename ProgramHeader>
    void read_elf_of();
    void add_segment(const Segment& segment);
    void add_module(const std::string& text);
    [[nodiscard]] std::uint32_t field(std::uint64_t offset) const;

    std::unique_ptr<BootFile> kernel_;
    std::vector<std::uint8_t> head_;
    std::string text_;
    std::deque<Module> modules_;
    std::vector<Segment> segments_;
    std::uint64_t entry_ = 0;
};

} // namespace escalus
