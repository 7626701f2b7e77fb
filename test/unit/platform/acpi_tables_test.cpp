// SPDX-License-Identifier: GPL-2.0-or-later
#include "firmware/acpi_tables.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <span>
#include <string>

#include <catch2/catch.hpp>

using namespace escalus;

namespace {
using Bytes = std::vector<std::uint8_t>;

std::uint64_t number(std::span<const std::uint8_t> bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = bytes.size(); i-- > 0;)
        value = value << 8 | bytes[i];
    return value;
}
std::string text(std::span<const std::uint8_t> bytes) {
    std::string result{bytes.begin(), bytes.end()};
    return result.substr(0, result.find('\0'));
}
unsigned sum(std::span<const std::uint8_t> bytes) {
    return std::accumulate(bytes.begin(), bytes.end(), 0u) & 0xff;
}

/// Guest memory after a firmware has run the loader script, as SeaBIOS does (src/fw/romfile_loader.c).
struct Firmware {
    explicit Firmware(const AcpiFiles& files) : memory(0x100000) {
        const std::map<std::string, const Bytes*> available{{"etc/acpi/tables", &files.tables},
                                                            {"etc/acpi/rsdp", &files.rsdp}};
        REQUIRE(files.loader.size() % 128 == 0);
        std::uint64_t next = 0x40000;
        for (std::size_t at = 0; at < files.loader.size(); at += 128) {
            const auto command = std::span{files.loader}.subspan(at, 128);
            const auto file = text(command.subspan(4, 56));
            REQUIRE(available.contains(file));
            const auto size = available.at(file)->size();
            switch (number(command.first(4))) {
            case 1: {
                const auto alignment = number(command.subspan(60, 4));
                next = (next + alignment - 1) / alignment * alignment;
                places[file] = next;
                CHECK(command[64] == (file == "etc/acpi/rsdp" ? 2 : 1));
                std::ranges::copy(*available.at(file), memory.begin() + static_cast<long>(next));
                next += size + 7; // so that a forgotten alignment shows
                break;
            }
            case 2: {
                const auto offset = number(command.subspan(116, 4));
                const auto width = command[120];
                REQUIRE(offset + width <= size);
                auto field = std::span{memory}.subspan(places.at(file) + offset, width);
                const auto inside = number(field);
                CHECK(inside < available.at(text(command.subspan(60, 56)))->size());
                const auto value = inside + places.at(text(command.subspan(60, 56)));
                for (unsigned i = 0; i < width; ++i)
                    field[i] = static_cast<std::uint8_t>(value >> (8 * i));
                break;
            }
            case 3: {
                const auto offset = number(command.subspan(60, 4));
                const auto start = number(command.subspan(64, 4));
                const auto length = number(command.subspan(68, 4));
                REQUIRE(start + length <= size);
                REQUIRE((offset >= start && offset < start + length));
                auto& checksum = memory[places.at(file) + offset];
                CHECK(checksum == 0); // OVMF takes the old value into the sum
                checksum = static_cast<std::uint8_t>(checksum - sum(range(places.at(file) + start, length)));
                break;
            }
            default:
                FAIL("unknown loader command");
            }
        }
        rsdp = range(places.at("etc/acpi/rsdp"), 36);
        const auto rsdt = table(number(rsdp.subspan(16, 4)));
        const auto xsdt = table(number(rsdp.subspan(24, 8)));
        REQUIRE(text(rsdt.first(4)) == "RSDT");
        REQUIRE(text(xsdt.first(4)) == "XSDT");
        REQUIRE((rsdt.size() - 36) / 4 == (xsdt.size() - 36) / 8);
        for (std::size_t i = 0; 36 + 4 * i < rsdt.size(); ++i) {
            const auto address = number(rsdt.subspan(36 + 4 * i, 4));
            CHECK(address == number(xsdt.subspan(36 + 8 * i, 8)));
            tables[text(range(address, 4))] = table(address);
        }
    }
    std::span<std::uint8_t> range(std::uint64_t address, std::uint64_t size) {
        REQUIRE(address + size <= memory.size());
        return std::span{memory}.subspan(address, size);
    }
    std::span<std::uint8_t> table(std::uint64_t address) {
        const auto whole = range(address, number(range(address + 4, 4)));
        CHECK(sum(whole) == 0);
        return whole;
    }
    Bytes memory;
    std::map<std::string, std::uint64_t> places;
    std::span<std::uint8_t> rsdp;
    std::map<std::string, std::span<std::uint8_t>> tables;
};
} // namespace

TEST_CASE("the loader script leaves linked tables with right checksums") {
    Firmware firmware{build_acpi({.vcpus = 2})};
    CHECK(text(firmware.rsdp.first(8)) == "RSD PTR ");
    CHECK(firmware.rsdp[15] == 2);
    CHECK(sum(firmware.rsdp.first(20)) == 0);
    CHECK(sum(firmware.rsdp) == 0);
    for (const auto* name : {"FACP", "SSDT", "APIC", "HPET", "WAET"})
        CHECK(firmware.tables.contains(name));
    const auto fadt = firmware.tables.at("FACP");
    REQUIRE(fadt.size() == 244);
    const auto facs = number(fadt.subspan(36, 4));
    CHECK(facs % 64 == 0);
    CHECK(text(firmware.range(facs, 4)) == "FACS");
    CHECK(number(firmware.range(facs + 4, 4)) == 64);
    const auto dsdt = number(fadt.subspan(40, 4));
    CHECK(dsdt == number(fadt.subspan(140, 8)));
    CHECK(text(firmware.table(dsdt).first(4)) == "DSDT");
}

TEST_CASE("the FADT describes the PIIX4") {
    Firmware firmware{build_acpi({.pm_base = 0xb000})};
    const auto fadt = firmware.tables.at("FACP");
    CHECK(number(fadt.subspan(46, 2)) == 9);    // SCI
    CHECK(number(fadt.subspan(48, 4)) == 0xb2); // SMI command
    CHECK(fadt[52] == 0xf1);
    CHECK(fadt[53] == 0xf0);
    CHECK(number(fadt.subspan(56, 4)) == 0xb000);
    CHECK(number(fadt.subspan(64, 4)) == 0xb004);
    CHECK(number(fadt.subspan(76, 4)) == 0xb008);
    CHECK(number(fadt.subspan(80, 4)) == 0xb00c);
    CHECK(fadt[88] == 4);
    CHECK(fadt[89] == 2);
    CHECK(fadt[91] == 4);
    CHECK(fadt[92] == 4);
    CHECK(fadt[108] == 0x32);
    CHECK(number(fadt.subspan(109, 2)) == 3);      // there is an 8042
    CHECK((fadt[112] & 0x10) == 0);                // the power button is a fixed one
    CHECK(number(fadt.subspan(116, 4)) == 0x0801); // a byte in I/O space
    CHECK(number(fadt.subspan(120, 8)) == 0xcf9);
    CHECK(fadt[128] == 0x06);
    CHECK(number(fadt.subspan(152, 8)) == 0xb000);
    CHECK(number(fadt.subspan(212, 8)) == 0xb008);
}

TEST_CASE("the MADT lists the processors and the overrides") {
    Firmware firmware{build_acpi({.vcpus = 4})};
    const auto madt = firmware.tables.at("APIC");
    CHECK(number(madt.subspan(36, 4)) == 0xfee00000);
    std::map<unsigned, unsigned> kinds;
    std::map<unsigned, std::pair<unsigned, unsigned>> overrides;
    std::size_t at = 44;
    while (at < madt.size()) {
        REQUIRE(madt[at + 1] >= 2);
        ++kinds[madt[at]];
        if (madt[at] == 2)
            overrides[madt[at + 3]] = {static_cast<unsigned>(number(madt.subspan(at + 4, 4))),
                                       static_cast<unsigned>(number(madt.subspan(at + 8, 2)))};
        at += madt[at + 1];
    }
    CHECK(at == madt.size());
    CHECK(kinds == std::map<unsigned, unsigned>{{0, 4}, {1, 1}, {2, 5}, {4, 1}});
    CHECK(overrides.at(0) == std::pair{2u, 0u});
    CHECK(overrides.at(9) == std::pair{9u, 0x0du}); // level, active high
    CHECK(overrides.at(11) == std::pair{11u, 0x0du});
}

TEST_CASE("flags leave tables out, and the DSDT knows") {
    Firmware without{build_acpi({.apic = false, .hpet = false})};
    CHECK_FALSE(without.tables.contains("APIC"));
    CHECK_FALSE(without.tables.contains("HPET"));
    const auto value_of = [](Firmware& firmware, const std::string& name) {
        const auto dsdt = firmware.table(number(firmware.tables.at("FACP").subspan(40, 4)));
        const auto pattern = "\x08" + name + "\x0c";
        const auto found = std::search(dsdt.begin(), dsdt.end(), pattern.begin(), pattern.end());
        REQUIRE(dsdt.end() - found >= 10);
        return number(dsdt.subspan(static_cast<std::size_t>(found - dsdt.begin()) + 6, 4));
    };
    CHECK(value_of(without, "ESHP") == 0);
    Firmware with{
        build_acpi({.pm_base = 0x600, .pci_window_base = 0xc0000000, .serial_ports = 5, .floppy_drives = 3})};
    CHECK(value_of(with, "ESHP") == 1);
    CHECK(value_of(with, "ESPB") == 0xc0000000);
    CHECK(value_of(with, "ESPM") == 0x600);
    CHECK(value_of(with, "ESCM") == 5);
    CHECK(value_of(with, "ESFD") == 3);
}

TEST_CASE("the SSDT has one processor object a vCPU, and its package length is right") {
    for (const unsigned vcpus : {1u, 4u, 5u, 255u}) {
        CAPTURE(vcpus);
        Firmware firmware{build_acpi({.vcpus = vcpus})};
        const auto ssdt = firmware.tables.at("SSDT");
        REQUIRE(ssdt[36] == 0x10);
        const unsigned more = ssdt[37] >> 6;
        std::uint64_t length = more == 0 ? ssdt[37] & 0x3f : ssdt[37] & 0x0f;
        for (unsigned i = 0; i < more; ++i)
            length |= std::uint64_t{ssdt[38 + i]} << (4 + 8 * i);
        CHECK(37 + length == ssdt.size());
        std::size_t at = 38 + more + 5;
        for (unsigned i = 0; i < vcpus; ++i, at += 13) {
            REQUIRE(number(ssdt.subspan(at, 3)) == 0x0b835b);
            CHECK(ssdt[at + 7] == i);
        }
        CHECK(at == ssdt.size());
    }
    CHECK_THROWS_AS(build_acpi({.vcpus = 256}), std::invalid_argument);
}
