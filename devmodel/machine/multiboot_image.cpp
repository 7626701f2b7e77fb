// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/multiboot_image.hpp"

#include "devmodel/machine/cpu_reset.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include <elf.h>
#include <fmt/format.h>

namespace escalus {

namespace {

constexpr std::uint32_t header_magic = 0x1badb002, loader_magic = 0x2badb002;
constexpr std::uint32_t flag_addresses = 1u << 16, flag_video = 1u << 2;
// Bits 0 to 15 are requirements: page-aligned modules, memory information, a video mode (a wish, in truth).
constexpr std::uint32_t understood = 0x3 | flag_video;
constexpr std::uint64_t four_gib = 1ull << 32;
constexpr std::uint64_t info_place = 0x10000;
constexpr std::uint64_t first_module_place = 0x100000;

std::optional<std::uint64_t> find_header(std::span<const std::uint8_t> head) {
    for (std::uint64_t at = 0; at + 12 <= head.size(); at += 4) {
        std::uint32_t words[3];
        std::memcpy(words, head.data() + at, sizeof words);
        if (words[0] == header_magic && words[0] + words[1] + words[2] == 0)
            return at;
    }
    return {};
}

std::string whole_text(const std::string& path, const std::string& arguments) {
    if (arguments.starts_with('/'))
        return arguments;
    return arguments.empty() ? path : path + ' ' + arguments;
}

/// The information structure and what it points to, in one run of bytes.
class InfoBuilder {
  public:
    explicit InfoBuilder(std::uint64_t place) : place_{place}, bytes_(info_size) {}
    void set(unsigned offset, std::uint64_t value) {
        for (unsigned i = 0; i < 4; ++i)
            bytes_[offset + i] = static_cast<std::uint8_t>(value >> (8 * i));
    }
    void append(std::uint64_t value, unsigned width) {
        for (unsigned i = 0; i < width; ++i)
            bytes_.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    }
    std::uint64_t append(const std::string& text) {
        const auto at = here();
        bytes_.insert(bytes_.end(), text.begin(), text.end());
        bytes_.push_back(0);
        return at;
    }
    void align() { bytes_.resize((bytes_.size() + 3) & ~std::size_t{3}); }
    [[nodiscard]] std::uint64_t here() const { return place_ + bytes_.size(); }
    [[nodiscard]] const std::vector<std::uint8_t>& bytes() const { return bytes_; }

  private:
    static constexpr std::size_t info_size = 120;
    std::uint64_t place_;
    std::vector<std::uint8_t> bytes_;
};

} // namespace

bool MultibootImage::recognises(std::span<const std::uint8_t> head) {
    return find_header(head).has_value();
}

MultibootImage::MultibootImage(std::unique_ptr<BootFile> kernel, const BootFiles& files)
    : kernel_{std::move(kernel)},
      head_{kernel_->head(header_search)},
      text_{whole_text(files.kernel, files.command_line)} {
    const auto header_at = find_header(head_);
    if (!header_at)
        throw std::runtime_error{fmt::format("{}: no Multiboot header", kernel_->path())};
    const auto flags = field(*header_at + 4);
    if ((flags & 0xffff & ~understood) != 0)
        throw std::runtime_error{
            fmt::format("{}: the kernel demands Multiboot features {:#x} that are not known", kernel_->path(),
                        flags & 0xffff & ~understood)};
    if ((flags & flag_addresses) != 0)
        read_addresses(*header_at);
    else
        read_elf();
    if (segments_.empty())
        throw std::runtime_error{fmt::format("{}: nothing in it is to be loaded", kernel_->path())};
    if (!files.ramdisk.empty())
        add_module(files.ramdisk);
    for (const auto& module : files.modules)
        add_module(module);
}

std::uint32_t MultibootImage::field(std::uint64_t offset) const {
    if (offset + 4 > head_.size())
        throw std::runtime_error{fmt::format("{}: the Multiboot header is cut off", kernel_->path())};
    std::uint32_t value = 0;
    std::memcpy(&value, head_.data() + offset, sizeof value);
    return value;
}

void MultibootImage::add_module(const std::string& text) {
    const auto space = text.find(' ');
    const auto path = text.substr(0, space);
    const auto arguments = space == std::string::npos ? std::string{} : text.substr(space + 1);
    modules_.emplace_back(path, whole_text(path, arguments));
}

void MultibootImage::add_segment(const Segment& segment) {
    if (segment.bytes == 0)
        return;
    if (segment.file_bytes > segment.bytes || segment.offset > kernel_->size() ||
        segment.file_bytes > kernel_->size() - segment.offset || segment.address >= four_gib ||
        segment.bytes > four_gib - segment.address)
        throw std::runtime_error{fmt::format("{}: a part of the kernel ({} bytes at {:#x}) cannot be",
                                             kernel_->path(), segment.bytes, segment.address)};
    segments_.push_back(segment);
}

void MultibootImage::read_addresses(std::uint64_t header_at) {
    const std::uint64_t header_address = field(header_at + 12), load = field(header_at + 16),
                        load_end = field(header_at + 20), bss_end = field(header_at + 24);
    entry_ = field(header_at + 28);
    if (load > header_address || header_address - load > header_at || (load_end != 0 && load_end < load))
        throw std::runtime_error{
            fmt::format("{}: the Multiboot header's addresses contradict each other", kernel_->path())};
    const auto offset = header_at - (header_address - load);
    const auto file_bytes = load_end != 0 ? load_end - load : kernel_->size() - offset;
    add_segment({offset, file_bytes, load, std::max(file_bytes, bss_end > load ? bss_end - load : 0)});
}

template <typename Header, typename ProgramHeader>
void MultibootImage::read_elf_of() {
    Header header{};
    std::memcpy(&header, head_.data(), sizeof header);
    if (header.e_phentsize != sizeof(ProgramHeader) || header.e_phnum > 128)
        throw std::runtime_error{fmt::format("{}: a malformed ELF file", kernel_->path())};
    std::vector<ProgramHeader> parts(header.e_phnum);
    kernel_->read(header.e_phoff, {static_cast<std::uint8_t*>(static_cast<void*>(parts.data())),
                                   parts.size() * sizeof(ProgramHeader)});
    entry_ = header.e_entry;
    for (const auto& part : parts) {
        if (part.p_type != PT_LOAD)
            continue;
        add_segment({part.p_offset, part.p_filesz, part.p_paddr, part.p_memsz});
        // The entry is a linked address; execution begins without paging.
        if (header.e_entry >= part.p_vaddr && header.e_entry - part.p_vaddr < part.p_memsz)
            entry_ = header.e_entry - part.p_vaddr + part.p_paddr;
    }
}

void MultibootImage::read_elf() {
    if (head_.size() < sizeof(Elf64_Ehdr) || std::memcmp(head_.data(), ELFMAG, SELFMAG) != 0)
        throw std::runtime_error{fmt::format(
            "{}: the Multiboot header gives no addresses, and it is no ELF file", kernel_->path())};
    if (head_[EI_CLASS] == ELFCLASS64)
        read_elf_of<Elf64_Ehdr, Elf64_Phdr>();
    else
        read_elf_of<Elf32_Ehdr, Elf32_Phdr>();
    if (entry_ >= four_gib)
        throw std::runtime_error{fmt::format("{}: the entry point is beyond 4 GiB", kernel_->path())};
}

void MultibootImage::load(const BootTarget& target, abi::VcpuPage& page) const {
    std::vector<Placed> placed;
    std::uint64_t free_from = first_module_place;
    for (const auto& segment : segments_) {
        auto bytes = target.ram(segment.address, segment.bytes, "the kernel");
        kernel_->read(segment.offset, bytes.first(segment.file_bytes));
        std::ranges::fill(bytes.subspan(segment.file_bytes), std::uint8_t{0});
        placed.push_back({segment.address, segment.address + segment.bytes});
        free_from = std::max(free_from, segment.address + segment.bytes);
    }
    const auto next_page = [](std::uint64_t address) { return (address + page_mask) & ~page_mask; };
    std::vector<Placed> module_places;
    for (const auto& module : modules_) {
        const auto at = next_page(free_from);
        const auto size = module.file.size();
        if (size != 0)
            module.file.read(0, target.ram(at, size, module.file.path().c_str()));
        module_places.push_back({at, at + size});
        free_from = at + size;
    }

    constexpr std::uint64_t info_room = 0x10000;
    const bool low_taken = std::ranges::any_of(
        placed, [](const Placed& p) { return p.begin < info_place + info_room && p.end > info_place; });
    const auto info_at = low_taken ? next_page(free_from) : info_place;
    InfoBuilder info{info_at};
    constexpr std::uint32_t has_memory = 1, has_command_line = 4, has_modules = 8, has_map = 0x40,
                            has_loader = 0x200;
    info.set(0, has_memory | has_command_line | has_modules | has_map | has_loader);
    info.set(4, 639);
    info.set(8, (target.low_end - 0x100000) >> 10);
    info.set(16, info.append(text_));
    info.set(64, info.append(std::string{"Escalus"}));
    std::vector<std::uint64_t> texts;
    for (const auto& module : modules_)
        texts.push_back(info.append(module.text));
    info.align();
    info.set(20, modules_.size());
    info.set(24, info.here());
    for (std::size_t i = 0; i < modules_.size(); ++i) {
        info.append(module_places[i].begin, 4);
        info.append(module_places[i].end, 4);
        info.append(texts[i], 4);
        info.append(0, 4);
    }
    const auto map = boot_memory_map(target.low_end, target.high_bytes);
    info.set(44, map.size() * 24);
    info.set(48, info.here());
    for (const auto& entry : map) {
        info.append(20, 4);
        info.append(entry.base, 8);
        info.append(entry.size, 8);
        info.append(entry.type, 4);
    }
    target.write(info_at, info.bytes(), "the boot information");

    place_boot_gdt(target, page);
    enter_flat_protected_mode(page, static_cast<std::uint32_t>(entry_), boot_code_selector,
                              boot_data_selector);
    page.gpr[abi::rax] = loader_magic;
    page.gpr[abi::rbx] = info_at;
}

} // namespace escalus
