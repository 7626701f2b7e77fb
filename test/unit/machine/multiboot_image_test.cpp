// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/flat_memory.hpp"
#include "devmodel/machine/multiboot_image.hpp"
#include "test/unit/machine/temporary_file.hpp"

#include <cstring>
#include <stdexcept>

#include <catch2/catch.hpp>
#include <elf.h>

using namespace escalus;
using Catch::Matchers::Contains;

namespace {

constexpr std::uint64_t mib = 1 << 20;

template <typename T>
void put(std::vector<std::uint8_t>& bytes, std::size_t at, const T& value) {
    if (bytes.size() < at + sizeof value)
        bytes.resize(at + sizeof value);
    std::memcpy(bytes.data() + at, &value, sizeof value);
}
std::uint32_t u32(std::span<const std::uint8_t> bytes, std::size_t at) {
    std::uint32_t value = 0;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
}

void put_header(std::vector<std::uint8_t>& image, std::size_t at, std::uint32_t flags) {
    put(image, at, 0x1badb002u);
    put(image, at + 4, flags);
    put(image, at + 8, 0u - 0x1badb002u - flags);
}

/// Linked at `virtual_base`, loaded at 2 MiB: 16 bytes of file, 4 KiB of memory.
template <typename Header, typename ProgramHeader>
std::vector<std::uint8_t> elf(std::uint8_t elf_class, std::uint64_t virtual_base) {
    std::vector<std::uint8_t> image(0x1010, 0x77);
    Header header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = elf_class;
    header.e_entry = static_cast<decltype(header.e_entry)>(virtual_base + 4);
    header.e_phoff = sizeof header;
    header.e_phentsize = sizeof(ProgramHeader);
    header.e_phnum = 1;
    put(image, 0, header);
    ProgramHeader part{};
    part.p_type = PT_LOAD;
    part.p_offset = 0x1000;
    part.p_vaddr = static_cast<decltype(part.p_vaddr)>(virtual_base);
    part.p_paddr = 2 * mib;
    part.p_filesz = 16;
    part.p_memsz = 0x1000;
    put(image, sizeof header, part);
    put_header(image, 0x100, 3);
    return image;
}

struct Loaded {
    FlatMemory memory{16 * mib};
    std::unique_ptr<abi::VcpuPage> page = std::make_unique<abi::VcpuPage>();
    explicit Loaded(const BootFiles& files) {
        std::ranges::fill(memory.bytes(), std::uint8_t{0xee});
        open_boot_image(files)->load({.memory = memory, .low_end = 16 * mib}, *page);
    }
    [[nodiscard]] std::span<std::uint8_t> at(std::uint64_t address) {
        return memory.bytes().subspan(address);
    }
    [[nodiscard]] std::string text(std::uint64_t address) {
        return static_cast<const char*>(static_cast<const void*>(at(address).data()));
    }
};

} // namespace

TEST_CASE("an ELF kernel is loaded at its physical addresses and entered there") {
    const bool wide = GENERATE(false, true);
    const TemporaryFile kernel{wide ? elf<Elf64_Ehdr, Elf64_Phdr>(ELFCLASS64, 0xffffffff80000000)
                                    : elf<Elf32_Ehdr, Elf32_Phdr>(ELFCLASS32, 0xc0000000)};
    Loaded loaded{{kernel.path(), {}, {}, "-v"}};
    CHECK(loaded.page->rip == 2 * mib + 4);
    CHECK(loaded.page->gpr[abi::rax] == 0x2badb002);
    CHECK(loaded.at(2 * mib)[15] == 0x77);
    CHECK(loaded.at(2 * mib)[16] == 0);
    CHECK(loaded.at(2 * mib)[0xfff] == 0);
    CHECK(loaded.at(2 * mib)[0x1000] == 0xee);
    const auto info = loaded.at(loaded.page->gpr[abi::rbx]);
    CHECK((u32(info, 0) & 0x45) == 0x45);
    CHECK(u32(info, 8) == 15 * 1024);
    CHECK(loaded.text(u32(info, 16)) == kernel.path() + " -v");
    CHECK(loaded.text(u32(info, 64)) == "Escalus");
    // The memory map: sizes of entries do not count themselves.
    std::uint64_t ram = 0;
    const auto map = loaded.at(u32(info, 48));
    for (std::uint32_t at = 0; at < u32(info, 44); at += u32(map, at) + 4)
        if (u32(map, at + 20) == 1)
            ram += u32(map, at + 12);
    CHECK(ram == 0x9fc00 + 15 * mib);
}

TEST_CASE("modules follow the kernel on page boundaries, with their strings") {
    const TemporaryFile kernel{elf<Elf32_Ehdr, Elf32_Phdr>(ELFCLASS32, 2 * mib)};
    const TemporaryFile first{std::vector<std::uint8_t>(5000, 1)};
    const TemporaryFile second{std::vector<std::uint8_t>(10, 2)};
    Loaded loaded{{kernel.path(),
                   first.path(),
                   {second.path() + " type=rootfs", second.path() + " /boot/archive -x"},
                   "/platform/unix -k"}};
    const auto info = loaded.at(loaded.page->gpr[abi::rbx]);
    CHECK(loaded.text(u32(info, 16)) == "/platform/unix -k");
    REQUIRE(u32(info, 20) == 3);
    const auto modules = loaded.at(u32(info, 24));
    CHECK(u32(modules, 0) == 2 * mib + 0x1000);
    CHECK(u32(modules, 4) - u32(modules, 0) == 5000);
    CHECK(u32(modules, 16) % page_size == 0);
    CHECK(u32(modules, 16) >= u32(modules, 4));
    CHECK(loaded.at(u32(modules, 16))[9] == 2);
    CHECK(loaded.text(u32(modules, 8)) == first.path());
    CHECK(loaded.text(u32(modules, 24)) == second.path() + " type=rootfs");
    CHECK(loaded.text(u32(modules, 40)) == "/boot/archive -x");
}

TEST_CASE("a kernel that gives its addresses in the header is loaded by them") {
    std::vector<std::uint8_t> image(0x300, 0x55);
    put_header(image, 0x40, 1u << 16);
    put<std::uint32_t>(image, 0x40 + 12, 3 * mib + 0x40); // header's address
    put<std::uint32_t>(image, 0x40 + 16, 3 * mib);        // load
    put<std::uint32_t>(image, 0x40 + 20, 0);              // all of the file
    put<std::uint32_t>(image, 0x40 + 24, 3 * mib + 0x1000);
    put<std::uint32_t>(image, 0x40 + 28, 3 * mib + 0x200);
    const TemporaryFile kernel{image};
    Loaded loaded{{kernel.path(), {}, {}, ""}};
    CHECK(loaded.page->rip == 3 * mib + 0x200);
    CHECK(loaded.at(3 * mib)[0x2ff] == 0x55);
    CHECK(loaded.at(3 * mib)[0x300] == 0);
}

TEST_CASE("kernels that cannot be are refused") {
    auto image = elf<Elf32_Ehdr, Elf32_Phdr>(ELFCLASS32, 2 * mib);
    put_header(image, 0x100, 0x20);
    const TemporaryFile demanding{image};
    CHECK_THROWS_WITH(open_boot_image({demanding.path(), {}, {}, ""}), Contains("demands"));
    Elf32_Phdr part{};
    std::memcpy(&part, image.data() + sizeof(Elf32_Ehdr), sizeof part);
    const auto with = [&](auto change) {
        auto changed = image;
        auto p = part;
        change(p);
        put(changed, sizeof(Elf32_Ehdr), p);
        put_header(changed, 0x100, 0);
        return TemporaryFile{changed};
    };
    const auto beyond_file = with([](auto& p) { p.p_filesz = 0x10000, p.p_memsz = 0x10000; });
    CHECK_THROWS_WITH(open_boot_image({beyond_file.path(), {}, {}, ""}), Contains("cannot be"));
    const auto beyond_4g = with([](auto& p) { p.p_paddr = 0xfffff800; });
    CHECK_THROWS_WITH(open_boot_image({beyond_4g.path(), {}, {}, ""}), Contains("cannot be"));
    const auto nothing = with([](auto& p) { p.p_type = PT_NOTE; });
    CHECK_THROWS_WITH(open_boot_image({nothing.path(), {}, {}, ""}), Contains("nothing"));
    const auto beyond_ram = with([](auto& p) { p.p_paddr = 0x40000000; });
    const auto loads = [&] { Loaded loaded{{beyond_ram.path(), {}, {}, ""}}; };
    CHECK_THROWS_WITH(loads(), Contains("does not fit"));

    std::vector<std::uint8_t> contradiction(0x300);
    put_header(contradiction, 0, 1u << 16);
    put<std::uint32_t>(contradiction, 12, 0x1000);
    put<std::uint32_t>(contradiction, 16, 0x2000);
    const TemporaryFile kernel{contradiction};
    CHECK_THROWS_WITH(open_boot_image({kernel.path(), {}, {}, ""}), Contains("contradict"));
}
