// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/flat_memory.hpp"
#include "devmodel/machine/linux_image.hpp"
#include "test/unit/machine/temporary_file.hpp"

#include <cstring>
#include <stdexcept>

#include <catch2/catch.hpp>

using namespace escalus;
using Catch::Matchers::Contains;

namespace {

constexpr std::uint64_t mib = 1 << 20;

template <typename T>
void put(std::vector<std::uint8_t>& bytes, std::size_t at, T value) {
    std::memcpy(bytes.data() + at, &value, sizeof value);
}
template <typename T>
T get(std::span<const std::uint8_t> bytes, std::size_t at) {
    T value{};
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
}

/// A bzImage of protocol 2.15 with one setup sector and 4 KiB of code.
std::vector<std::uint8_t> kernel_image() {
    std::vector<std::uint8_t> image(2 * 512 + 4096);
    image[0x1f1] = 1;
    put<std::uint16_t>(image, 0x1fe, 0xaa55);
    put<std::uint16_t>(image, 0x200, 0x6aeb); // the jump over the header
    put<std::uint32_t>(image, 0x202, 0x53726448);
    put<std::uint16_t>(image, 0x206, 0x20f);
    image[0x211] = 1;
    put<std::uint32_t>(image, 0x214, 0x100000);
    put<std::uint32_t>(image, 0x22c, 0x7fffffff);
    image[0x234] = 1;
    put<std::uint32_t>(image, 0x238, 2047);
    put<std::uint64_t>(image, 0x258, 4 * mib);
    put<std::uint32_t>(image, 0x260, 2 * mib);
    std::fill(image.begin() + 1024, image.end(), std::uint8_t{0x90});
    image[1024] = 0xfc;
    return image;
}

struct Loaded {
    FlatMemory memory{16 * mib};
    std::unique_ptr<abi::VcpuPage> page = std::make_unique<abi::VcpuPage>();
    explicit Loaded(const BootFiles& files, std::uint64_t high = 0) {
        open_boot_image(files)->load(
            {.memory = memory, .low_end = 16 * mib, .high_bytes = high, .rsdp = 0xf0000}, *page);
    }
    [[nodiscard]] std::span<std::uint8_t> at(std::uint64_t address) {
        return memory.bytes().subspan(address);
    }
};

} // namespace

TEST_CASE("a bzImage goes where it likes to run, with boot parameters in the zero page") {
    const TemporaryFile kernel{kernel_image()};
    const std::vector<std::uint8_t> content(5000, 0x5a);
    const TemporaryFile ramdisk{content};
    Loaded loaded{{kernel.path(), ramdisk.path(), {}, "console=ttyS0"}, 2 * mib};
    auto& page = *loaded.page;

    CHECK(page.rip == 4 * mib);
    CHECK(loaded.at(4 * mib)[0] == 0xfc);
    CHECK(page.cr0 == 0x11);
    CHECK(page.segment[abi::seg_cs].selector == 0x10);
    CHECK(page.segment[abi::seg_ds].selector == 0x18);
    const auto zero = loaded.at(page.gpr[abi::rsi]);
    CHECK(get<std::uint32_t>(zero, 0x202) == 0x53726448);
    CHECK(zero[0x210] == 0xff);
    CHECK(get<std::uint64_t>(zero, 0x070) == 0xf0000);
    CHECK(std::strcmp(static_cast<const char*>(
                          static_cast<const void*>(loaded.at(get<std::uint32_t>(zero, 0x228)).data())),
                      "console=ttyS0") == 0);
    const auto ramdisk_at = get<std::uint32_t>(zero, 0x218);
    CHECK(ramdisk_at % page_size == 0);
    CHECK(ramdisk_at + content.size() <= 16 * mib);
    CHECK(get<std::uint32_t>(zero, 0x21c) == content.size());
    CHECK(loaded.at(ramdisk_at)[4999] == 0x5a);

    const auto entries = zero[0x1e8];
    std::uint64_t ram = 0;
    for (unsigned i = 0; i < entries; ++i)
        if (get<std::uint32_t>(zero, 0x2e0 + 20 * i) == 1)
            ram += get<std::uint64_t>(zero, 0x2d8 + 20 * i);
    CHECK(ram == 0x9fc00 + 15 * mib + 2 * mib);
    // The descriptor table agrees with the hidden parts.
    CHECK(get<std::uint64_t>(loaded.at(page.gdtr.base), 0x10) == 0x00cf9b000000ffff);
}

TEST_CASE("an old kernel goes to 1 MiB") {
    auto image = kernel_image();
    put<std::uint16_t>(image, 0x206, 0x204);
    const TemporaryFile kernel{image};
    Loaded loaded{{kernel.path(), {}, {}, ""}};
    CHECK(loaded.page->rip == mib);
}

TEST_CASE("what cannot be started is refused with its reason") {
    const TemporaryFile kernel{kernel_image()};
    CHECK_THROWS_WITH(open_boot_image({kernel.path(), {}, {}, std::string(3000, 'x')}), Contains("2047"));
    CHECK_THROWS_WITH(open_boot_image({kernel.path(), {}, {"/dev/null"}, ""}), Contains("modules"));
    CHECK_THROWS_WITH(open_boot_image({"/nonexistent/vmlinuz", {}, {}, ""}),
                      Contains("/nonexistent/vmlinuz"));
    CHECK_THROWS_WITH(open_boot_image({"/tmp", {}, {}, ""}), Contains("directory"));
    const TemporaryFile text{std::vector<std::uint8_t>(600, 'a')};
    CHECK_THROWS_WITH(open_boot_image({text.path(), {}, {}, ""}), Contains("neither"));
    auto old = kernel_image();
    put<std::uint16_t>(old, 0x206, 0x105);
    const TemporaryFile ancient{old};
    CHECK_THROWS_WITH(open_boot_image({ancient.path(), {}, {}, ""}), Contains("too old"));
    auto cut = kernel_image();
    cut.resize(1000);
    const TemporaryFile truncated{cut};
    CHECK_THROWS_WITH(open_boot_image({truncated.path(), {}, {}, ""}), Contains("too early"));
    const TemporaryFile large{std::vector<std::uint8_t>(11 * mib)};
    CHECK_THROWS_WITH((Loaded{{kernel.path(), large.path(), {}, ""}}), Contains("ramdisk has 11 MiB"));
}
