// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/devices/display/edid.hpp"

#include <numeric>
#include <set>

#include <catch2/catch.hpp>

using namespace escalus;

namespace {

struct Detailed {
    unsigned clock_10khz, width, height, blank_dots, blank_lines;
    [[nodiscard]] double hertz() const {
        return clock_10khz * 10'000.0 / ((width + blank_dots) * (height + blank_lines));
    }
};

Detailed detailed(const Edid& edid, std::size_t at) {
    return {edid[at] | unsigned{edid[at + 1]} << 8, edid[at + 2] | (edid[at + 4] & 0xf0u) << 4,
            edid[at + 5] | (edid[at + 7] & 0xf0u) << 4, edid[at + 3] | (edid[at + 4] & 0x0fu) << 8,
            edid[at + 6] | (edid[at + 7] & 0x0fu) << 8};
}

std::set<std::pair<unsigned, unsigned>> standard(const Edid& edid) {
    std::set<std::pair<unsigned, unsigned>> modes;
    for (std::size_t at = 38; at < 54; at += 2) {
        if (edid[at] == 1 && edid[at + 1] == 1)
            continue;
        const unsigned width = (edid[at] + 31u) * 8;
        constexpr std::pair<unsigned, unsigned> aspects[]{{16, 10}, {4, 3}, {5, 4}, {16, 9}};
        const auto [x, y] = aspects[edid[at + 1] >> 6];
        modes.emplace(width, width * y / x);
    }
    return modes;
}

} // namespace

TEST_CASE("the EDID is well formed and offers modes up to 2560x1600") {
    const auto edid = make_edid(16 << 20);
    CHECK(std::accumulate(edid.begin(), edid.end(), 0u) % 256 == 0);
    CHECK(edid[0] == 0);
    CHECK(edid[1] == 0xff);
    CHECK(edid[7] == 0);
    CHECK((edid[18] == 1 && edid[19] == 4));
    CHECK(edid[126] == 0); // no extensions
    const auto first = detailed(edid, 54), second = detailed(edid, 72);
    // VESA's own figures for 1280x800 and 2560x1600 with reduced blanking.
    CHECK(
        (first.width == 1280 && first.height == 800 && first.clock_10khz == 7100 && first.blank_lines == 23));
    CHECK((second.width == 2560 && second.height == 1600 && second.clock_10khz == 26850 &&
           second.blank_lines == 46));
    CHECK(first.hertz() == Approx(60).margin(0.2));
    CHECK(second.hertz() == Approx(60).margin(0.2));
    const auto modes = standard(edid);
    CHECK(modes.size() == 8);
    CHECK(modes.count({1920, 1080}) == 1);
    CHECK(modes.count({1280, 1024}) == 1);
    CHECK(modes.count({1600, 1200}) == 1);
    CHECK(modes.count({1440, 900}) == 1);
    CHECK((edid[35] == 0x21 && edid[36] == 0x08));
}

TEST_CASE("with less memory there are fewer modes") {
    const auto eight = make_edid(8 << 20);
    CHECK(detailed(eight, 54).width == 1280);
    CHECK((eight[72] == 0 && eight[73] == 0 && eight[75] == 0x10)); // no second timing
    CHECK(standard(eight).count({1920, 1080}) == 1);
    CHECK(standard(eight).count({1920, 1200}) == 0);
    const auto one = make_edid(1 << 20);
    CHECK((detailed(one, 54).width == 640 && detailed(one, 54).height == 480));
    CHECK(standard(one).empty());
    CHECK((one[35] == 0x20 && one[36] == 0));
}
