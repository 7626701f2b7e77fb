// SPDX-License-Identifier: GPL-2.0-or-later
// What the drive tells about itself and its medium.
#include "devmodel/devices/storage/atapi_cdrom.hpp"
#include "test/unit/storage/ide_rig.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

namespace {
constexpr unsigned base = IdeRig::secondary;

// A medium of any size that holds zeros.
struct Blank final : BlockBackend {
    explicit Blank(std::uint64_t sectors) : bytes{sectors * 2048} {}
    [[nodiscard]] std::uint64_t size() const override { return bytes; }
    [[nodiscard]] bool read_only() const override { return true; }
    [[nodiscard]] std::string description() const override { return "blank"; }
    void read(std::uint64_t, std::span<std::uint8_t> data, Completion done) override {
        std::ranges::fill(data, std::uint8_t{0});
        done({});
    }
    void write(std::uint64_t, std::span<const std::uint8_t>, Completion done) override { done({}); }
    void flush(Completion done) override { done({}); }
    std::uint64_t bytes;
};

struct Drive : IdeRig {
    explicit Drive(std::uint64_t sectors) {
        add_cdrom(1, 0, std::make_unique<Blank>(sectors));
        power_on();
        ask({0x03, 0, 0, 0, 18});
    }
    Bytes ask(std::vector<std::uint8_t> cdb) { return packet(base, 0, std::move(cdb)); }
    unsigned refused(std::vector<std::uint8_t> cdb) {
        const auto data = ask(std::move(cdb));
        CHECK(data.empty());
        CHECK((last_status & err) != 0);
        return sense(base, 0);
    }
};
constexpr std::uint64_t cd_sectors = 333000, dvd_sectors = 2295104;
} // namespace

TEST_CASE("INQUIRY") {
    Drive drive{cd_sectors};
    const auto data = drive.ask({0x12, 0, 0, 0, 96});
    REQUIRE(data.size() == 36);
    CHECK(data[0] == 5);
    CHECK(data[1] == 0x80);
    CHECK(std::string(data.begin() + 8, data.end()) == "ESCALUS DVD-ROM         1.0 ");
    CHECK(drive.ask({0x12, 0, 0, 0, 5}).size() == 5);
    CHECK(drive.blocks == 1); // an odd byte count is announced as it is
    CHECK(drive.ask({0x12, 0, 0, 0, 0}).empty());
    CHECK(drive.refused({0x12, 1, 0, 0, 96}) == 0x052400);
}

TEST_CASE("READ CAPACITY and READ HEADER") {
    Drive drive{cd_sectors};
    CHECK(drive.ask({0x25}) == Bytes{0, 5, 0x14, 0xc7, 0, 0, 8, 0}); // 332999, 2048
    CHECK(drive.ask({0x44, 2, 0, 0, 0, 75, 0, 0, 8}) == Bytes{1, 0, 0, 0, 0, 0, 3, 0});
}

TEST_CASE("READ TOC") {
    Drive drive{cd_sectors};
    const Bytes lba{0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xaa, 0, 0, 5, 0x14, 0xc8};
    CHECK(drive.ask({0x43, 0, 0, 0, 0, 0, 0, 0, 64}) == lba);
    const Bytes msf{0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 2, 0, 0, 0x14, 0xaa, 0, 0, 74, 2, 0};
    CHECK(drive.ask({0x43, 2, 0, 0, 0, 0, 1, 0, 64}) == msf);
    CHECK(drive.ask({0x43, 0, 0, 0, 0, 0, 0xaa, 0, 64}).size() == 12);
    CHECK(drive.ask({0x43, 0, 0, 0, 0, 0, 0, 0, 4}) == Bytes{0, 18, 1, 1}); // length first, then the rest
    CHECK(drive.ask({0x43, 0, 1, 0, 0, 0, 0, 0, 12}) == Bytes{0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0});
    CHECK(drive.ask({0x43, 0, 0, 0, 0, 0, 0, 0, 12, 0x40}) == drive.ask({0x43, 0, 1, 0, 0, 0, 0, 0, 12}));
    const auto full = drive.ask({0x43, 2, 2, 0, 0, 0, 0, 0, 100});
    REQUIRE(full.size() == 48);
    CHECK(full[7] == 0xa0);
    CHECK(full[12] == 1);
    CHECK(full[18] == 0xa1);
    CHECK(full[29] == 0xa2);
    CHECK(full[34] == 74);
    CHECK(full[40] == 1);
    CHECK(full[46] == 2);
    CHECK(drive.refused({0x43, 0, 0, 0, 0, 0, 2, 0, 64}) == 0x052400);
    CHECK(drive.refused({0x43, 0, 5, 0, 0, 0, 0, 0, 64}) == 0x052400);
}

TEST_CASE("READ SUB-CHANNEL") {
    Drive drive{cd_sectors};
    CHECK(drive.ask({0x42, 0, 0, 1, 0, 0, 0, 0, 24}) == Bytes{0, 0x15, 0, 0});
    CHECK(drive.ask({0x42, 2, 0x40, 1, 0, 0, 0, 0, 24}).size() == 16);
    CHECK(drive.ask({0x42, 0, 0x40, 2, 0, 0, 0, 0, 24})[4] == 2);
    CHECK(drive.ask({0x42, 0, 0x40, 3, 0, 0, 1, 0, 24})[4] == 3);
    CHECK(drive.refused({0x42, 0, 0x40, 9, 0, 0, 0, 0, 24}) == 0x052400);
}

TEST_CASE("GET CONFIGURATION names the profile of the medium") {
    const bool dvd = GENERATE(false, true);
    Drive drive{dvd ? dvd_sectors : cd_sectors};
    const auto all = drive.ask({0x46, 0, 0, 0, 0, 0, 0, 1, 0});
    REQUIRE(all.size() > 8);
    CHECK(all[3] + 4u == all.size());
    CHECK(all[7] == (dvd ? 0x10 : 0x08));
    std::vector<unsigned> codes, current;
    for (std::size_t at = 8; at < all.size(); at += 4u + all[at + 3]) {
        codes.push_back(unsigned{all[at]} << 8 | all[at + 1]);
        if ((all[at + 2] & 1) != 0)
            current.push_back(codes.back());
    }
    CHECK(codes == std::vector<unsigned>{0, 1, 3, 0x10, 0x1e, 0x1f, 0x100});
    CHECK(current == std::vector<unsigned>{0, 1, 3, 0x10, dvd ? 0x1fu : 0x1eu, 0x100});
    const auto one = drive.ask({0x46, 2, 0, 3, 0, 0, 0, 1, 0});
    CHECK(one == Bytes{0, 0, 0, 12, 0, 0, 0, std::uint8_t(dvd ? 0x10 : 8), 0, 3, 3, 4, 0x29, 0, 0, 0});
    const auto from = drive.ask({0x46, 1, 0, 0x1e, 0, 0, 0, 1, 0});
    CHECK(from[8 + 1] == (dvd ? 0x1f : 0x1e));
    CHECK(drive.refused({0x46, 3, 0, 0, 0, 0, 0, 1, 0}) == 0x052400);
}

TEST_CASE("DVD structures only on a DVD") {
    Drive cd{cd_sectors};
    CHECK(cd.refused({0xad, 0, 0, 0, 0, 0, 0, 0, 8, 4}) == 0x053002);
    Drive dvd{dvd_sectors};
    const auto physical = dvd.ask({0xad, 0, 0, 0, 0, 0, 0, 0, 8, 4});
    REQUIRE(physical.size() == 2052);
    CHECK(physical[9] == 3);
    CHECK((physical[13] << 16 | physical[14] << 8 | physical[15]) == 0x030000 + int{dvd_sectors} - 1);
    CHECK(dvd.ask({0xad, 0, 0, 0, 0, 0, 0, 1, 8, 4}).size() == 8);
    CHECK(dvd.ask({0xad, 0, 0, 0, 0, 0, 0, 0xff, 8, 4}).size() == 16);
    CHECK(dvd.refused({0xad, 0, 0, 0, 0, 0, 1, 0, 8, 4}) == 0x052400);
    CHECK(dvd.refused({0xad, 0, 0, 0, 0, 0, 0, 2, 8, 4}) == 0x052400);
}

TEST_CASE("READ DISC and TRACK INFORMATION, MECHANISM STATUS") {
    Drive drive{cd_sectors};
    const auto disc = drive.ask({0x51, 0, 0, 0, 0, 0, 0, 0, 34});
    REQUIRE(disc.size() == 34);
    CHECK(disc[2] == 0x0e);
    const auto track = drive.ask({0x52, 1, 0, 0, 0, 1, 0, 0, 36});
    REQUIRE(track.size() == 36);
    CHECK(track[2] == 1);
    CHECK(drive.refused({0x52, 1, 0, 0, 0, 2, 0, 0, 36}) == 0x052400);
    CHECK(drive.ask({0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8}) == Bytes(8, 0));
    CHECK(drive.refused({0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8}) == 0x052400);
    CHECK(drive.ask({0x4a, 1, 0, 0, 0x02, 0, 0, 0, 8}) == Bytes{0, 2, 0x80, 0x10});
}

TEST_CASE("mode pages") {
    Drive drive{cd_sectors};
    const auto ten = drive.ask({0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 255});
    REQUIRE(ten.size() > 8);
    CHECK(ten[1] + 2u == ten.size());
    CHECK(ten[2] == 0x01);
    const auto six = drive.ask({0x1a, 0, 0x2a, 0, 255});
    REQUIRE(six.size() == 4 + 22);
    CHECK(six[0] == 25);
    CHECK((six[4] & 0x3f) == 0x2a);
    CHECK(drive.refused({0x5a, 0, 0x05, 0, 0, 0, 0, 0, 255}) == 0x052400);
    CHECK(drive.refused({0x5a, 0, 0xea, 0, 0, 0, 0, 0, 255}) == 0x053900); // saved values

    // MODE SELECT(10) of page 1, odd limit and all.
    const Bytes page{0, 0, 0, 0, 0, 0, 0, 0, 0x01, 6, 0x20, 3, 0, 0, 0, 0};
    drive.packet(base, 0, {0x55, 0x10, 0, 0, 0, 0, 0, 0, 16}, 0xfffe, page);
    CHECK((drive.last_status & IdeRig::err) == 0);
    CHECK(drive.blocks == 1);
    const auto now = drive.ask({0x5a, 0, 0x01, 0, 0, 0, 0, 0, 255});
    CHECK(Bytes(now.begin() + 8, now.end()) == Bytes(page.begin() + 8, page.end()));

    auto select = [&](const Bytes& list) {
        drive.packet(base, 0, {0x15, 0x10, 0, 0, static_cast<std::uint8_t>(list.size())}, 0xfffe, list);
        return (drive.last_status & IdeRig::err) == 0 ? 0 : drive.sense(base, 0);
    };
    CHECK(select({}) == 0);
    CHECK(select({0, 0, 0, 0, 0x0e, 2, 4, 0}) == 0);
    CHECK(select({0, 0}) == 0x051a00);
    CHECK(select({0, 0, 0, 8, 1, 2}) == 0x051a00);            // descriptors longer than the list
    CHECK(select({0, 0, 0, 0, 0x01, 200, 1, 1}) == 0x051a00); // page longer than the list
    CHECK(select({0, 0, 0, 0, 0x01, 8, 0, 0, 0, 0, 0, 0, 0, 0}) == 0x052600);
    CHECK(select({0, 0, 0, 0, 0x33, 0}) == 0x052600);
    CHECK(drive.refused({0x55, 0x11, 0, 0, 0, 0, 0, 0, 16}) == 0x052400);
    CHECK(drive.refused({0x55, 0x10, 0, 0, 0, 0, 0, 0xff, 0xff}) == 0x052400);
}
