// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/config/cpu_list.hpp"

#include <vector>

#include <catch2/catch.hpp>

using namespace escalus;

namespace {
std::vector<std::size_t> cpus(std::string_view text, std::size_t limit = 8) {
    const auto parsed = parse_cpu_list(text);
    REQUIRE(std::holds_alternative<CpuMask>(parsed));
    std::vector<std::size_t> result;
    for (std::size_t i = 0; i < limit; ++i)
        if (std::get<CpuMask>(parsed).test(i))
            result.push_back(i);
    return result;
}
using List = std::vector<std::size_t>;
} // namespace

TEST_CASE("CPUs by number, range and exception") {
    CHECK(cpus("2") == List{2});
    CHECK(cpus("0-3,5") == List{0, 1, 2, 3, 5});
    CHECK(cpus("0-3,5,^1") == List{0, 2, 3, 5});
    CHECK(cpus("0-7, ^2-4") == List{0, 1, 5, 6, 7});
    CHECK(cpus("all,^0") == List{1, 2, 3, 4, 5, 6, 7});
    CHECK(cpus("^1", 3) == List{0, 2});
    CHECK(cpus("^1,1", 3) == List{0, 1, 2}); // in order
    CHECK(cpus("1023").empty());
}

TEST_CASE("what names no CPUs is an error with its place") {
    for (const auto* wrong : {"", "x", "3-1", "1-", "-1", "0,,2", "1024", "nodes:0", "0-3,", "^", "0x2"}) {
        INFO(wrong);
        CHECK(std::holds_alternative<CpuListError>(parse_cpu_list(wrong)));
    }
    const auto error = std::get<CpuListError>(parse_cpu_list("0, five,2"));
    CHECK(error.offset == 3);
    CHECK(error.length == 4);
    CHECK(std::holds_alternative<CpuListError>(parse_cpu_list("1,^1")));
}
