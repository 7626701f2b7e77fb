// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/nearest.hpp"

#include <array>
#include <string>

#include <catch2/catch.hpp>

using namespace escalus;

TEST_CASE("edit distance counts insertions, deletions, replacements and swaps") {
    CHECK(edit_distance("", "") == 0);
    CHECK(edit_distance("abc", "") == 3);
    CHECK(edit_distance("memory", "memmory") == 1);
    CHECK(edit_distance("vcpus", "vpcus") == 1);
    CHECK(edit_distance("boot", "root") == 1);
    CHECK(edit_distance("kitten", "sitting") == 3);
}

TEST_CASE("the nearest word is found, or none when all are far") {
    constexpr std::array<std::string_view, 3> words{"create", "console", "destroy"};
    CHECK(nearest("craete", words) == "create");
    CHECK(nearest("destory", words) == "destroy");
    CHECK(nearest("xyz", words).empty());
    CHECK(nearest(std::string(100000, 'c'), words).empty());
}
