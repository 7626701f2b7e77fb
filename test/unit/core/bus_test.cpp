// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/bus.hpp"

#include <array>
#include <vector>

#include <catch2/catch.hpp>

using namespace escalus;

namespace {
struct Recorder final : BusDevice {
    struct Access {
        unsigned region;
        std::uint64_t offset;
        std::vector<std::uint8_t> data;
    };
    std::vector<Access> reads, writes;
    void read(unsigned region, std::uint64_t offset, std::span<std::uint8_t> data) override {
        for (std::size_t i = 0; i < data.size(); ++i)
            data[i] = static_cast<std::uint8_t>(0x10 * region + offset + i);
        reads.push_back({region, offset, {data.begin(), data.end()}});
    }
    void write(unsigned region, std::uint64_t offset, std::span<const std::uint8_t> data) override {
        writes.push_back({region, offset, {data.begin(), data.end()}});
    }
};
} // namespace

TEST_CASE("an access reaches its device with region and offset") {
    Bus bus{"port", 0x10000};
    Recorder device;
    bus.add(0x60, 1, device, 1);
    bus.add(0x64, 4, device, 2);
    std::array<std::uint8_t, 2> two{};
    CHECK(bus.read(0x65, two));
    CHECK(two == std::array<std::uint8_t, 2>{0x21, 0x22});
    CHECK(bus.write(0x60, std::array<std::uint8_t, 1>{7}));
    REQUIRE(device.writes.size() == 1);
    CHECK(device.writes[0].region == 1);
    CHECK(device.writes[0].offset == 0);
}

TEST_CASE("addresses nobody claims read as ones") {
    Bus bus{"port", 0x10000};
    std::array<std::uint8_t, 4> four{};
    CHECK_FALSE(bus.read(0x80, four));
    CHECK(four == std::array<std::uint8_t, 4>{0xff, 0xff, 0xff, 0xff});
    CHECK_FALSE(bus.write(0x80, four));
    CHECK_FALSE(bus.read(0xffff, four)); // beyond the end
}

TEST_CASE("an access that straddles ranges is split") {
    Bus bus{"port", 0x10000};
    Recorder device;
    bus.add(0x71, 1, device, 3);
    std::array<std::uint8_t, 4> four{};
    CHECK(bus.read(0x70, four));
    CHECK(four == std::array<std::uint8_t, 4>{0xff, 0x30, 0xff, 0xff});
    CHECK(bus.write(0x70, four));
    REQUIRE(device.writes.size() == 1);
    CHECK(device.writes[0].data == std::vector<std::uint8_t>{0x30});
}

TEST_CASE("overlaps and empty ranges are errors") {
    Bus bus{"port", 0x10000};
    Recorder device;
    bus.add(0x100, 16, device, 0);
    CHECK_THROWS_AS(bus.add(0x10f, 1, device, 0), BusConflict);
    CHECK_THROWS_AS(bus.add(0xf8, 9, device, 0), BusConflict);
    CHECK_THROWS_AS(bus.add(0x200, 0, device, 0), BusConflict);
    CHECK_THROWS_AS(bus.add(0xfff8, 9, device, 0), BusConflict);
    CHECK_THROWS_AS(bus.add(0x10000, 1, device, 0), BusConflict);
    bus.add(0xf8, 8, device, 0);
    bus.add(0x110, 1, device, 0);
}

TEST_CASE("a range that was removed no longer answers") {
    Bus bus{"memory", 1ull << 46};
    Recorder device;
    bus.add(0xfe000000, 0x1000, device, 0);
    std::array<std::uint8_t, 1> one{};
    CHECK(bus.read(0xfe000010, one)); // also remembers the range
    CHECK(bus.remove(0xfe000000));
    CHECK_FALSE(bus.remove(0xfe000000));
    CHECK_FALSE(bus.read(0xfe000010, one));
    CHECK(one[0] == 0xff);
}

TEST_CASE("repeated accesses stay at one offset") {
    Bus bus{"port", 0x10000};
    Recorder device;
    bus.add(0x1f0, 8, device, 0);
    std::vector<std::uint8_t> data(6);
    CHECK(bus.read_repeated(0x1f0, 2, data));
    CHECK(data == std::vector<std::uint8_t>{0, 1, 0, 1, 0, 1});
    CHECK(bus.write_repeated(0x1f0, 2, data));
    CHECK(device.writes.size() == 3);
    CHECK_FALSE(bus.read_repeated(0x300, 2, data));
    CHECK(data == std::vector<std::uint8_t>(6, 0xff));
}
