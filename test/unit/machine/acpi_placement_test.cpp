// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/acpi_placement.hpp"
#include "firmware/acpi_tables.hpp"
#include "firmware/mp_table.hpp"

#include <cstring>
#include <numeric>
#include <stdexcept>

#include <catch2/catch.hpp>

using namespace escalus;

namespace {

std::uint32_t u32(std::span<const std::uint8_t> bytes, std::size_t at) {
    std::uint32_t value = 0;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
}

unsigned sum(std::span<const std::uint8_t> bytes) {
    return std::accumulate(bytes.begin(), bytes.end(), 0u) & 0xff;
}

std::vector<std::uint8_t> command(std::uint32_t code, const char* name, std::uint32_t a = 0,
                                  std::uint32_t b = 0, std::uint32_t c = 0) {
    std::vector<std::uint8_t> entry(128);
    std::memcpy(entry.data(), &code, 4);
    std::strncpy(static_cast<char*>(static_cast<void*>(entry.data() + 4)), name, 55);
    std::memcpy(entry.data() + 60, &a, 4);
    std::memcpy(entry.data() + 64, &b, 4);
    std::memcpy(entry.data() + 68, &c, 4);
    return entry;
}

} // namespace

TEST_CASE("the machine's own tables are linked and sum up to zero") {
    const auto files = build_acpi({.vcpus = 2});
    const auto placed = place_acpi(
        files.loader,
        [&](std::string_view name) -> std::span<const std::uint8_t> {
            return name == "etc/acpi/rsdp" ? files.rsdp : files.tables;
        },
        0xe0000, 0x100000);
    REQUIRE(placed.rsdp >= 0xe0000);
    CHECK(placed.rsdp % 16 == 0);
    const std::span memory{placed.bytes};
    const auto at = [&](std::uint64_t address) { return memory.subspan(address - placed.base); };
    const auto rsdp = at(placed.rsdp);
    CHECK(std::memcmp(rsdp.data(), "RSD PTR ", 8) == 0);
    CHECK(sum(rsdp.first(20)) == 0);
    const auto rsdt = at(u32(rsdp, 16));
    REQUIRE(std::memcmp(rsdt.data(), "RSDT", 4) == 0);
    CHECK(sum(rsdt.first(u32(rsdt, 4))) == 0);
    bool madt = false;
    for (std::size_t i = 36; i < u32(rsdt, 4); i += 4) {
        const auto table = at(u32(rsdt, i));
        CHECK(sum(table.first(u32(table, 4))) == 0);
        madt |= std::memcmp(table.data(), "APIC", 4) == 0;
    }
    CHECK(madt);
}

TEST_CASE("the MP table's pointer is found in the F segment, and leads to the table") {
    const auto acpi = build_acpi({.vcpus = 32});
    const auto mp = build_mp_table({.vcpus = 32});
    auto script = acpi.loader;
    script.insert(script.end(), mp.loader.begin(), mp.loader.end());
    const auto placed = place_acpi(
        script,
        [&](std::string_view name) -> std::span<const std::uint8_t> {
            return name == "etc/acpi/rsdp" ? acpi.rsdp : name == "etc/mptable" ? mp.table : acpi.tables;
        },
        0xe0000, 0x100000);
    const std::span memory{placed.bytes};
    std::uint64_t found = 0;
    for (std::uint64_t at = 0xf0000; at + 16 <= placed.base + memory.size() && found == 0; at += 16) {
        const auto pointer = memory.subspan(at - placed.base, 16);
        if (std::memcmp(pointer.data(), "_MP_", 4) == 0 && sum(pointer) == 0)
            found = at;
    }
    REQUIRE(found != 0);
    const auto table = memory.subspan(u32(memory, found - placed.base + 4) - placed.base);
    CHECK(std::memcmp(table.data(), "PCMP", 4) == 0);
    CHECK(sum(table.first(u32(table, 4) & 0xffff)) == 0);
}

TEST_CASE("a broken script is refused") {
    const std::vector<std::uint8_t> content(16);
    const auto file = [&](std::string_view) { return std::span<const std::uint8_t>{content}; };
    const auto run = [&](const std::vector<std::uint8_t>& script) {
        return place_acpi(script, file, 0xe0000, 0x100000);
    };
    CHECK(run(command(1, "a", 16)).bytes.size() == 16);
    CHECK(run({}).rsdp == 0);
    CHECK_THROWS_AS(run(command(1, "a", 3)), std::runtime_error);       // alignment
    CHECK_THROWS_AS(run(command(3, "a", 0, 0, 4)), std::runtime_error); // never placed
    auto script = command(1, "a", 16);
    const auto beyond = command(3, "a", 0, 12, 8);
    script.insert(script.end(), beyond.begin(), beyond.end());
    CHECK_THROWS_AS(run(script), std::runtime_error);
    CHECK_THROWS_AS(place_acpi(command(1, "a", 16), file, 0xe0000, 0xe0008), std::runtime_error);
}
