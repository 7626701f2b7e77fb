// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/flat_memory.hpp"
#include "firmware/find_firmware.hpp"
#include "firmware/fw_cfg_files.hpp"
#include "test/unit/platform/port_rig.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

namespace {
struct Rig : PortRig {
    FlatMemory ram{4096};
    FwCfg fw_cfg{ports, ram};
};
std::uint64_t number(std::span<const std::uint8_t> bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = bytes.size(); i-- > 0;)
        value = value << 8 | bytes[i];
    return value;
}
} // namespace

TEST_CASE("the memory map and the counts") {
    Rig rig;
    add_firmware_files(rig.fw_cfg, {.name = "g",
                                    .memory_below_4g = 0xc0000000,
                                    .memory_above_4g = 0x40000000,
                                    .vcpus = 2,
                                    .reserved = {{0xfeffc000, 0x4000, 2}}});
    const auto e820 = rig.fw_cfg.file("etc/e820");
    REQUIRE(e820.size() == 60);
    CHECK(number(e820.subspan(0, 8)) == 0);
    CHECK(number(e820.subspan(8, 8)) == 0xc0000000);
    CHECK(number(e820.subspan(16, 4)) == 1);
    CHECK(number(e820.subspan(20, 8)) == 0x100000000);
    CHECK(number(e820.subspan(28, 8)) == 0x40000000);
    CHECK(number(e820.subspan(40, 8)) == 0xfeffc000);
    CHECK(number(e820.subspan(56, 4)) == 2);
    CHECK(number(rig.fw_cfg.item(0x03)) == 0x100000000);
    CHECK(number(rig.fw_cfg.item(0x05)) == 2);
    CHECK(number(rig.fw_cfg.item(0x0f)) == 2);
    CHECK(rig.fw_cfg.item(0x05).size() == 2);
    CHECK(number(rig.fw_cfg.item(0x8002)) == 1);
    CHECK_FALSE(rig.fw_cfg.file("etc/acpi/tables").empty());
    CHECK_FALSE(rig.fw_cfg.file("etc/smbios/smbios-anchor").empty());
}

TEST_CASE("the boot order is a list of device paths") {
    Rig rig;
    add_firmware_files(rig.fw_cfg,
                       {.name = "g",
                        .memory_below_4g = 0x1000000,
                        .boot_order = {boot_path::ide(1, 0), boot_path::floppy(0), boot_path::pci(3)}});
    const auto order = rig.fw_cfg.file("bootorder");
    CHECK(
        std::string(order.begin(), order.end()) ==
        std::string("/pci@i0cf8/ide@1,1/drive@1/disk@0\n/pci@i0cf8/isa@1/fdc@03f0/floppy@0\n/pci@i0cf8/*@3") +
            '\0');
}

TEST_CASE("without ACPI there are no tables") {
    Rig rig;
    add_firmware_files(rig.fw_cfg, {.name = "g", .memory_below_4g = 0x1000000, .acpi = false});
    CHECK(rig.fw_cfg.file("etc/acpi/tables").empty());
    CHECK(rig.fw_cfg.file("etc/table-loader").empty());
}

TEST_CASE("machines that cannot be are refused") {
    Rig rig;
    CHECK_THROWS_AS(add_firmware_files(rig.fw_cfg, {.name = "g"}), std::invalid_argument);
    CHECK_THROWS_AS(add_firmware_files(rig.fw_cfg, {.name = "g", .memory_below_4g = 1 << 20, .vcpus = 0}),
                    std::invalid_argument);
    CHECK_THROWS_AS(add_firmware_files(rig.fw_cfg, {.name = "g", .memory_below_4g = 0xf0000000}),
                    std::invalid_argument);
}

TEST_CASE("firmware is found by name, by path, and by environment; a missing one says what to install") {
    const auto directory = std::filesystem::temp_directory_path() / "escalus-firmware-test";
    std::filesystem::create_directories(directory);
    std::ofstream{directory / "my.bin", std::ios::binary} << "ROM";
    ::setenv("ESCALUS_FIRMWARE", directory.c_str(), 1);
    CHECK(find_firmware("my.bin") == (directory / "my.bin").string());
    CHECK(find_firmware("other.bin", "my.bin") == (directory / "my.bin").string());
    CHECK(find_firmware("other.bin", (directory / "my.bin").string()) == (directory / "my.bin").string());
    CHECK_THROWS_WITH(find_firmware("none.bin"), Catch::Contains("none.bin") && Catch::Contains("seabios") &&
                                                     Catch::Contains(directory.string()));
    CHECK_THROWS_WITH(find_firmware("x", "/no/such/rom"), Catch::Contains("/no/such/rom"));
    CHECK(load_firmware((directory / "my.bin").string(), 16) == std::vector<std::uint8_t>{'R', 'O', 'M'});
    CHECK_THROWS_WITH(load_firmware((directory / "my.bin").string(), 2), Catch::Contains("3 bytes"));
    CHECK_THROWS_WITH(load_firmware("/no/such/rom", 2), Catch::Contains("/no/such/rom"));
    ::unsetenv("ESCALUS_FIRMWARE");
    std::filesystem::remove_all(directory);
}
