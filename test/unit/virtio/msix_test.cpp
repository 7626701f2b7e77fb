// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/little_endian.hpp"
#include "devmodel/machine/msix.hpp"

#include <stdexcept>

#include <catch2/catch.hpp>

using namespace escalus;

namespace {
struct Table {
    void put(unsigned offset, std::uint32_t value) {
        std::array<std::uint8_t, 4> bytes{};
        store_le(bytes, 0, value);
        msix.write(offset, bytes);
    }
    std::uint32_t get(unsigned offset) {
        std::array<std::uint8_t, 4> bytes{};
        msix.read(offset, bytes);
        return load_le<std::uint32_t>(bytes);
    }
    std::vector<std::pair<std::uint64_t, std::uint32_t>> sent;
    MsixTable msix{3, [this](std::uint64_t a, std::uint32_t d) { sent.emplace_back(a, d); }};
};
} // namespace

TEST_CASE("MSI-X: masks hold messages back, and none is lost") {
    Table t;
    CHECK(t.get(12) == 1);
    t.put(16, 0xfee00003);
    t.put(20, 1);
    t.put(24, 0x4321);
    CHECK(t.get(16) == 0xfee00000);
    t.msix.raise(1); // not enabled
    t.msix.set_control(MsixTable::control_enable);
    CHECK(t.sent.empty());
    t.msix.raise(1);
    t.msix.raise(1);
    CHECK(t.sent.empty());
    CHECK(t.get(MsixTable::pending_offset) == 2);
    t.put(28, 0);
    REQUIRE(t.sent.size() == 1);
    CHECK(t.sent[0] == std::pair{std::uint64_t{0x1fee00000}, std::uint32_t{0x4321}});
    CHECK(t.get(MsixTable::pending_offset) == 0);
    t.msix.set_control(MsixTable::control_enable | MsixTable::control_mask);
    t.msix.raise(1);
    CHECK(t.sent.size() == 1);
    t.msix.set_control(MsixTable::control_enable);
    CHECK(t.sent.size() == 2);
    t.msix.raise(3); // there is none
    t.msix.raise(0xffff);
    CHECK(t.sent.size() == 2);
    t.msix.reset();
    CHECK_FALSE(t.msix.enabled());
    CHECK(t.get(16) == 0);
}

TEST_CASE("MSI-X: accesses that are none") {
    Table t;
    const std::uint8_t byte = 0;
    t.msix.write(12, {&byte, 1});
    CHECK(t.get(12) == 1);
    t.put(MsixTable::pending_offset, ~0u);
    CHECK(t.get(MsixTable::pending_offset) == 0);
    CHECK(t.get(0x300) == 0);
    CHECK_THROWS_AS((MsixTable{0, {}}), std::invalid_argument);
    CHECK_THROWS_AS((MsixTable{129, {}}), std::invalid_argument);
}
