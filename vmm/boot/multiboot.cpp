// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/boot/boot_info.hpp"
#include "vmm/cpu/log.hpp"

#include <cstring>

namespace escalus::vmm {

namespace {

constexpr std::uint32_t multiboot1_magic = 0x2badb002;
constexpr std::uint32_t multiboot2_magic = 0x36d76289;

void copy_string(char* to, std::size_t bytes, const char* from) {
    std::size_t i = 0;
    for (; i + 1 < bytes && from[i] != 0; ++i)
        to[i] = from[i];
    to[i] = 0;
}

// Multiboot 0.6.96, section 3.3.
struct [[gnu::packed]] Multiboot1 {
    std::uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4],
        mmap_length, mmap_addr;
};
struct [[gnu::packed]] Module1 {
    std::uint32_t start, end, string, reserved;
};
struct [[gnu::packed]] Memory1 {
    std::uint32_t size; // of the rest
    std::uint64_t base, bytes;
    std::uint32_t type;
};

// Multiboot1 loaders put the file's name in front of the arguments; some (GRUB 2) do not.
const char* skip_path(const char* string) {
    if (*string != '/' && *string != '(')
        return string;
    while (*string != 0 && *string != ' ')
        ++string;
    while (*string == ' ')
        ++string;
    return string;
}

void add_module(BootInfo& info, std::uint64_t start, std::uint64_t end, const char* string) {
    BootModule module;
    module.base = HostPhys{start};
    module.bytes = end > start ? end - start : 0;
    copy_string(module.string, sizeof module.string, string);
    if (!info.modules.push_back(module))
        log::warning("more modules than are used; one is ignored");
}

void read_multiboot1(const Multiboot1& mb, BootInfo& info) {
    if ((mb.flags & 4) != 0)
        copy_string(info.command_line, sizeof info.command_line, physical<char>(HostPhys{mb.cmdline}));
    if ((mb.flags & 8) != 0)
        for (std::uint32_t i = 0; i < mb.mods_count; ++i) {
            const auto* m = physical<Module1>(HostPhys{mb.mods_addr + i * sizeof(Module1)});
            add_module(info, m->start, m->end,
                       m->string != 0 ? skip_path(physical<char>(HostPhys{m->string})) : "");
        }
    if ((mb.flags & 0x40) == 0)
        panic("the boot loader gave no memory map");
    for (std::uint32_t at = 0; at < mb.mmap_length;) {
        const auto* m = physical<Memory1>(HostPhys{mb.mmap_addr + at});
        info.memory.push_back({HostPhys{m->base}, m->bytes, MemoryType{m->type}});
        at += m->size + 4;
    }
}

// Multiboot2 2.0, section 3.6.
struct [[gnu::packed]] Tag2 {
    std::uint32_t type, size;
};
struct [[gnu::packed]] Framebuffer2 {
    Tag2 tag;
    std::uint64_t address;
    std::uint32_t pitch, width, height;
    std::uint8_t bits_per_pixel, type;
    std::uint16_t reserved;
    std::uint8_t red_position, red_size, green_position, green_size, blue_position, blue_size;
};

void read_tag2(const Tag2* tag, BootInfo& info) {
    const auto at = HostPhys{reinterpret_cast<std::uint64_t>(tag)};
    const auto word = [&](std::uint32_t offset) { return *physical<std::uint32_t>(at + offset); };
    switch (tag->type) {
    case 1:
        copy_string(info.command_line, sizeof info.command_line, physical<char>(at + 8));
        break;
    case 3:
        add_module(info, word(8), word(12), physical<char>(at + 16));
        break;
    case 6:
        for (std::uint32_t offset = 16; offset + 24 <= tag->size; offset += word(8))
            info.memory.push_back({HostPhys{*physical<std::uint64_t>(at + offset)},
                                   *physical<std::uint64_t>(at + offset + 8), MemoryType{word(offset + 16)}});
        break;
    case 8: {
        const auto* f = physical<Framebuffer2>(at);
        if (f->type == 1) // direct colour
            info.framebuffer = {HostPhys{f->address}, f->pitch,         f->width,    f->height,
                                f->bits_per_pixel,    f->red_position,  f->red_size, f->green_position,
                                f->green_size,        f->blue_position, f->blue_size};
        break;
    }
    case 12:
        info.efi.system_table = HostPhys{*physical<std::uint64_t>(at + 8)};
        break;
    case 14:
    case 15: // a copy of the RSDP; ACPI 2 wins, which loaders list last
        info.rsdp = at + 8;
        break;
    case 17:
        info.efi.descriptor_bytes = word(8);
        info.efi.descriptor_version = word(12);
        info.efi.memory_map = at + 16;
        info.efi.memory_map_bytes = tag->size - 16;
        break;
    default:
        break;
    }
}

// Ranges as loaders give them may be unordered; everything after this relies on order.
void sort(MemoryList& list) {
    for (std::size_t i = 1; i < list.size(); ++i)
        for (std::size_t j = i; j > 0 && list[j].base < list[j - 1].base; --j) {
            const MemoryRange swap = list[j];
            list[j] = list[j - 1];
            list[j - 1] = swap;
        }
}

} // namespace

void read_multiboot(std::uint32_t magic, HostPhys information, BootInfo& info) {
    if (magic == multiboot1_magic) {
        read_multiboot1(*physical<Multiboot1>(information), info);
    } else if (magic == multiboot2_magic) {
        const auto total = *physical<std::uint32_t>(information);
        for (std::uint32_t offset = 8; offset + sizeof(Tag2) <= total;) {
            const auto* tag = physical<Tag2>(information + offset);
            if (tag->type == 0)
                break;
            read_tag2(tag, info);
            offset += (tag->size + 7) & ~7u;
        }
    } else {
        panic("not started by a Multiboot loader: magic ", hex(magic));
    }
    sort(info.memory);
}

} // namespace escalus::vmm
