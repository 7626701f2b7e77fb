// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/guest/loaded_state.hpp"

#include <catch2/catch.hpp>

using namespace escalus;

TEST_CASE("a ratio of TSCs is what both kinds of CPUs can do, or 1") {
    using vmm::sane_tsc_ratio;
    constexpr auto one = abi::tsc_ratio_one;
    CHECK(sane_tsc_ratio(one / 2, true) == one / 2);
    CHECK(sane_tsc_ratio(one / 2, false) == one);
    CHECK(sane_tsc_ratio(0, true) == one);
    CHECK(sane_tsc_ratio(0xffff, true) == one); // less than AMD-V's least
    CHECK(sane_tsc_ratio(3 * one + 0x1'2345, true) == 3 * one + 0x1'0000);
    CHECK(sane_tsc_ratio(256 * one, true) == one); // no integer part that AMD-V has
}
