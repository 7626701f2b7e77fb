// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/boot/linux.hpp"

#include "vmm/boot/memory_layout.hpp"
#include "vmm/cpu/log.hpp"

#include <cstring>

namespace escalus::vmm {

namespace {

// Offsets into the zero page and, from 0x1f1 on, into the kernel file.
constexpr std::uint32_t orig_x = 0x00, orig_y = 0x01, orig_video_mode = 0x06, orig_video_columns = 0x07,
                        orig_video_lines = 0x0e, orig_video_is_vga = 0x0f, orig_video_points = 0x10,
                        lfb_width = 0x12, lfb_height = 0x14, lfb_depth = 0x16, lfb_base = 0x18,
                        lfb_size = 0x1c, lfb_line_length = 0x24, lfb_colours = 0x26, lfb_base_high = 0x3a,
                        screen_capabilities = 0x36, rsdp_address = 0x70, ext_ramdisk_image = 0xc0,
                        ext_ramdisk_size = 0xc4, ext_cmd_line = 0xc8, efi_signature = 0x1c0,
                        efi_systab = 0x1c4, efi_descriptor_size = 0x1c8, efi_descriptor_version = 0x1cc,
                        efi_map = 0x1d0, efi_map_size = 0x1d4, efi_systab_high = 0x1d8, efi_map_high = 0x1dc,
                        e820_entries = 0x1e8, setup_sects = 0x1f1, header_magic = 0x202, version = 0x206,
                        type_of_loader = 0x210, loadflags = 0x211, ramdisk_image = 0x218,
                        ramdisk_size = 0x21c, cmd_line_ptr = 0x228, kernel_alignment = 0x230,
                        relocatable = 0x234, xloadflags = 0x236, cmdline_size = 0x238, pref_address = 0x258,
                        init_size = 0x260, header_start = 0x1f1, e820_table = 0x2d0;
constexpr unsigned e820_entries_max = 128;
constexpr std::uint64_t cmdline_bytes = 4096, tables_bytes = 6 * page_size;

template <typename T>
T& field(HostPhys base, std::uint32_t offset) {
    return *physical<T>(base + offset);
}

HostPhys take(const MemoryList& memory, MemoryList& taken, std::uint64_t bytes, std::uint64_t alignment,
              HostPhys floor, const char* what) {
    const HostPhys place = find_free(memory, taken, bytes, alignment, floor, HostPhys{1ull << 32});
    if (raw(place) == 0)
        panic("no room for the control OS's ", what, ": ", bytes >> 10, " KiB below 4 GiB");
    taken.push_back({place, bytes, MemoryType::Reserved});
    return place;
}

// Identity map of the first 4 GiB by 2 MiB pages, and a flat GDT behind it.
void make_page_tables(HostPhys at) {
    std::memset(physical<void>(at), 0, tables_bytes);
    field<std::uint64_t>(at, 0) = raw(at + page_size) | 3;
    for (std::uint32_t i = 0; i < 4; ++i) {
        const HostPhys directory = at + (2 + i) * page_size;
        field<std::uint64_t>(at + page_size, 8 * i) = raw(directory) | 3;
        for (std::uint32_t j = 0; j < 512; ++j)
            field<std::uint64_t>(directory, 8 * j) = ((i * 512ull + j) * large_page_size) | 0x83;
    }
}

void fill_screen(HostPhys zero, const Framebuffer& f) {
    if (raw(f.base) == 0) {
        // Text mode as the BIOS left it; its data area knows the cursor.
        std::uint64_t cursor = 0x450;
        asm("" : "+r"(cursor));
        field<std::uint8_t>(zero, orig_x) = *reinterpret_cast<std::uint8_t*>(cursor);
        field<std::uint8_t>(zero, orig_y) = *reinterpret_cast<std::uint8_t*>(cursor + 1);
        field<std::uint8_t>(zero, orig_video_mode) = 3;
        field<std::uint8_t>(zero, orig_video_columns) = 80;
        field<std::uint8_t>(zero, orig_video_lines) = 25;
        field<std::uint8_t>(zero, orig_video_is_vga) = 1;
        field<std::uint16_t>(zero, orig_video_points) = 16;
        return;
    }
    constexpr std::uint8_t video_type_vlfb = 0x23, video_type_efi = 0x70;
    const auto size = std::uint64_t{f.pitch} * f.height;
    field<std::uint8_t>(zero, orig_video_is_vga) = video_type_vlfb;
    field<std::uint16_t>(zero, lfb_width) = static_cast<std::uint16_t>(f.width);
    field<std::uint16_t>(zero, lfb_height) = static_cast<std::uint16_t>(f.height);
    field<std::uint16_t>(zero, lfb_depth) = f.bits_per_pixel;
    field<std::uint32_t>(zero, lfb_base) = static_cast<std::uint32_t>(raw(f.base));
    field<std::uint16_t>(zero, lfb_line_length) = static_cast<std::uint16_t>(f.pitch);
    const std::uint8_t colours[] = {
        f.red_size, f.red_position, f.green_size, f.green_position, f.blue_size, f.blue_position, 0, 0};
    std::memcpy(physical<void>(zero + lfb_colours), colours, sizeof colours);
    if (raw(f.base) >> 32 != 0) {
        field<std::uint32_t>(zero, lfb_base_high) = static_cast<std::uint32_t>(raw(f.base) >> 32);
        field<std::uint32_t>(zero, screen_capabilities) = 2;
    }
    // In units of 64 KiB for VESA, of bytes for EFI: the EFI form has no rounding.
    field<std::uint8_t>(zero, orig_video_is_vga) = video_type_efi;
    field<std::uint32_t>(zero, lfb_size) = static_cast<std::uint32_t>(size);
}

void fill_efi(HostPhys zero, const EfiInfo& efi) {
    if (raw(efi.system_table) == 0 || efi.memory_map_bytes == 0)
        return;
    std::memcpy(physical<void>(zero + efi_signature), "EL64", 4);
    field<std::uint32_t>(zero, efi_systab) = static_cast<std::uint32_t>(raw(efi.system_table));
    field<std::uint32_t>(zero, efi_systab_high) = static_cast<std::uint32_t>(raw(efi.system_table) >> 32);
    field<std::uint32_t>(zero, efi_descriptor_size) = efi.descriptor_bytes;
    field<std::uint32_t>(zero, efi_descriptor_version) = efi.descriptor_version;
    field<std::uint32_t>(zero, efi_map) = static_cast<std::uint32_t>(raw(efi.memory_map));
    field<std::uint32_t>(zero, efi_map_high) = static_cast<std::uint32_t>(raw(efi.memory_map) >> 32);
    field<std::uint32_t>(zero, efi_map_size) = efi.memory_map_bytes;
}

void fill_memory_map(HostPhys zero, const MemoryList& memory) {
    unsigned count = 0;
    for (const auto& range : memory) {
        if (count == e820_entries_max) {
            log::warning("the memory map has more than ", e820_entries_max, " entries; the rest is not used");
            break;
        }
        const HostPhys entry = zero + e820_table + 20 * count++;
        std::memcpy(physical<void>(entry), &range.base, 8);
        std::memcpy(physical<void>(entry + 8), &range.bytes, 8);
        std::memcpy(physical<void>(entry + 16), &range.type, 4);
    }
    field<std::uint8_t>(zero, e820_entries) = static_cast<std::uint8_t>(count);
}

void check_kernel(const BootModule& kernel) {
    if (kernel.bytes < 0x1000 || field<std::uint16_t>(kernel.base, 0x1fe) != 0xaa55 ||
        std::memcmp(physical<char>(kernel.base + header_magic), "HdrS", 4) != 0)
        panic("the first module is not a Linux bzImage");
    if (field<std::uint16_t>(kernel.base, version) < 0x20c ||
        (field<std::uint16_t>(kernel.base, xloadflags) & 1) == 0)
        panic("the control OS's kernel has no 64-bit entry point (boot protocol 2.12 with XLF_KERNEL_64)");
}

} // namespace

ControlStart load_linux(const BootInfo& info, const MemoryList& memory, MemoryList& taken) {
    if (info.modules.size() == 0)
        panic("no control OS: the boot loader gave no module. See docs/INSTALL.md");
    const BootModule& kernel = info.modules[0];
    check_kernel(kernel);
    const auto setup_bytes = (field<std::uint8_t>(kernel.base, setup_sects) + 1ull) * 512;
    const auto alignment = field<std::uint32_t>(kernel.base, kernel_alignment);
    const auto needed = field<std::uint32_t>(kernel.base, init_size);
    const bool can_move = field<std::uint8_t>(kernel.base, relocatable) != 0;
    const HostPhys preferred{field<std::uint64_t>(kernel.base, pref_address)};
    const HostPhys load = take(memory, taken, needed, can_move ? alignment : page_size, preferred, "kernel");
    if (!can_move && load != preferred)
        panic("the control OS's kernel must be at ", hex(preferred), ", which is not free");
    std::memmove(physical<void>(load), physical<void>(kernel.base + setup_bytes), kernel.bytes - setup_bytes);

    const HostPhys low{0x10000};
    const HostPhys zero = take(memory, taken, page_size, page_size, low, "boot parameters");
    const HostPhys cmdline = take(memory, taken, cmdline_bytes, page_size, low, "command line");
    const HostPhys tables = take(memory, taken, tables_bytes + page_size, page_size, low, "page tables");
    std::memset(physical<void>(zero), 0, page_size);
    const auto header_bytes = 0x202u + field<std::uint8_t>(kernel.base, 0x201) - header_start;
    std::memcpy(physical<void>(zero + header_start), physical<void>(kernel.base + header_start),
                header_bytes);

    const auto limit = field<std::uint32_t>(zero, cmdline_size);
    const auto length = std::strlen(kernel.string);
    if (length > limit)
        panic("the control OS's command line is longer than its kernel takes: ", limit, " bytes");
    std::memcpy(physical<void>(cmdline), kernel.string, length + 1);
    field<std::uint32_t>(zero, cmd_line_ptr) = static_cast<std::uint32_t>(raw(cmdline));
    field<std::uint8_t>(zero, type_of_loader) = 0xff;
    if (info.modules.size() > 1) {
        const BootModule& disk = info.modules[1];
        field<std::uint32_t>(zero, ramdisk_image) = static_cast<std::uint32_t>(raw(disk.base));
        field<std::uint32_t>(zero, ext_ramdisk_image) = static_cast<std::uint32_t>(raw(disk.base) >> 32);
        field<std::uint32_t>(zero, ramdisk_size) = static_cast<std::uint32_t>(disk.bytes);
        field<std::uint32_t>(zero, ext_ramdisk_size) = static_cast<std::uint32_t>(disk.bytes >> 32);
    }
    // On UEFI the tables are found by this pointer only. The loader's copy of the RSDP must outlive the
    // hand-over.
    if (raw(info.rsdp) != 0)
        field<std::uint64_t>(zero, rsdp_address) = raw(info.rsdp);
    fill_screen(zero, info.framebuffer);
    fill_efi(zero, info.efi);
    fill_memory_map(zero, memory);
    make_page_tables(tables);
    const HostPhys gdt = tables + tables_bytes;
    constexpr std::uint64_t descriptors[] = {0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff};
    std::memcpy(physical<void>(gdt), descriptors, sizeof descriptors);
    log::info("control OS: kernel at ", hex(load),
              ", command line: ", static_cast<const char*>(kernel.string));

    constexpr std::uint64_t entry_64 = 0x200;
    ControlStart start;
    start.rip = raw(load) + entry_64;
    start.rsi = raw(zero);
    start.cr3 = raw(tables);
    start.gdt_base = raw(gdt);
    return start;
}

} // namespace escalus::vmm
