// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/chipset/fw_cfg.hpp"
#include "devmodel/machine/flat_memory.hpp"
#include "firmware/fw_cfg_files.hpp"
#include "firmware/mp_table.hpp"
#include "test/unit/platform/port_rig.hpp"

#include <map>
#include <numeric>
#include <set>
#include <span>
#include <string>

#include <catch2/catch.hpp>

using namespace escalus;

namespace {

using Bytes = std::span<const std::uint8_t>;

std::uint32_t number(Bytes bytes) {
    std::uint32_t value = 0;
    for (std::size_t i = bytes.size(); i-- > 0;)
        value = value << 8 | bytes[i];
    return value;
}
std::string text(Bytes bytes) {
    return {bytes.begin(), bytes.end()};
}
unsigned sum(Bytes bytes) {
    return std::accumulate(bytes.begin(), bytes.end(), 0u) & 0xff;
}

/// The table as a system reads it (MultiProcessor Specification 1.4, chapter 4).
struct Reader {
    explicit Reader(Bytes file)
        : pointer{file.first(16)}, table{file.subspan(number(pointer.subspan(4, 4)))} {
        std::size_t at = 44;
        for (unsigned i = 0; i < number(table.subspan(34, 2)); ++i) {
            REQUIRE(at < table.size());
            const auto size = table[at] == 0 ? 20u : 8u;
            entries[table[at]].push_back(table.subspan(at, size));
            at += size;
        }
        CHECK(at == table.size());
    }
    Bytes pointer, table;
    std::map<unsigned, std::vector<Bytes>> entries;
};

} // namespace

TEST_CASE("the MP table lists each processor, and one of them boots") {
    for (const unsigned vcpus : {2u, 3u, 32u}) {
        CAPTURE(vcpus);
        const auto files = build_mp_table({.vcpus = vcpus, .cpu_signature = 0x800f12});
        const Reader reader{files.table};
        CHECK(text(reader.pointer.first(4)) == "_MP_");
        CHECK(reader.pointer[8] == 1);
        CHECK(reader.pointer[9] == 4);
        CHECK(reader.pointer[11] == 0); // no default configuration
        CHECK(text(reader.table.first(4)) == "PCMP");
        CHECK(number(reader.table.subspan(4, 2)) == reader.table.size());
        CHECK(sum(reader.table) == 0);
        CHECK(number(reader.table.subspan(36, 4)) == 0xfee00000);
        const auto& processors = reader.entries.at(0);
        REQUIRE(processors.size() == vcpus);
        for (unsigned i = 0; i < vcpus; ++i) {
            CHECK(processors[i][1] == i);
            CHECK(processors[i][3] == (i == 0 ? 3 : 1));
            CHECK(number(processors[i].subspan(4, 4)) == 0x800f12);
        }
        CHECK(reader.entries.at(2).size() == 1);
        CHECK(number(reader.entries.at(2)[0].subspan(4, 4)) == 0xfec00000);
        CHECK(reader.entries.at(4).size() == 2);
    }
    CHECK_THROWS_AS(build_mp_table({.vcpus = 255}), std::invalid_argument);
}

TEST_CASE("the MP table's interrupts: ISA, the 8254 on input 2, PCI's pins, the SCI level-triggered") {
    const auto files = build_mp_table({.vcpus = 2, .pci_interrupts = {{3, 1, 11}, {3, 2, 11}, {4, 1, 11}}});
    const Reader reader{files.table};
    std::map<std::pair<unsigned, unsigned>, std::pair<unsigned, unsigned>> routes;
    for (const auto& entry : reader.entries.at(3))
        routes[{entry[4], entry[5]}] = {entry[7], number(entry.subspan(2, 2))};
    CHECK(routes.size() == reader.entries.at(3).size()); // no source twice
    CHECK(routes.at({1, 0}) == std::pair{2u, 0u});
    CHECK_FALSE(routes.contains({1, 2}));
    CHECK(routes.at({1, 4}) == std::pair{4u, 0u});
    CHECK(routes.at({1, 9}) == std::pair{9u, 0x0du});
    CHECK_FALSE(routes.contains({1, 11})); // PCI's
    CHECK(routes.at({0, 3 << 2}) == std::pair{11u, 0x0du});
    CHECK(routes.at({0, 3 << 2 | 1}) == std::pair{11u, 0x0du});
    CHECK(routes.at({0, 4 << 2}) == std::pair{11u, 0x0du});
    std::set<std::string> buses;
    for (const auto& entry : reader.entries.at(1))
        buses.insert(text(entry.subspan(2, 6)));
    CHECK(buses == std::set<std::string>{"PCI   ", "ISA   "});
}

TEST_CASE("the firmware gets an MP table of several processors, with ACPI and without") {
    struct Rig : test::PortRig {
        FlatMemory ram{4096};
        FwCfg fw_cfg{ports, ram};
    };
    for (const bool acpi : {true, false}) {
        Rig several;
        add_firmware_files(several.fw_cfg,
                           {.name = "g", .memory_below_4g = 0x1000000, .vcpus = 4, .acpi = acpi});
        CHECK(Reader{several.fw_cfg.file("etc/mptable")}.entries.at(0).size() == 4);
        CHECK(several.fw_cfg.file("etc/table-loader").size() % 128 == 0);
        CHECK(several.fw_cfg.file("etc/table-loader").size() >= 3 * 128);
        Rig one;
        add_firmware_files(one.fw_cfg, {.name = "g", .memory_below_4g = 0x1000000, .acpi = acpi});
        CHECK(one.fw_cfg.file("etc/mptable").empty());
    }
}
