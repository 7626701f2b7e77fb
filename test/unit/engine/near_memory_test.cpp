// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/engine/near_memory.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include <catch2/catch.hpp>

using namespace escalus;

namespace {

struct Small : NearMemory {
    std::uint64_t value = 7;
};
struct Large : NearMemory {
    std::array<std::uint64_t, 4096> values{};
};

} // namespace

TEST_CASE("near objects do not overlap, and when there is no more room they lie elsewhere") {
    std::vector<std::unique_ptr<Large>> large;
    for (std::uint64_t i = 0; i < 6; ++i) { // more than fit
        large.push_back(std::make_unique<Large>());
        large.back()->values.fill(i);
    }
    auto small = std::make_unique<Small>();
    for (std::uint64_t i = 0; i < large.size(); ++i)
        for (const auto value : large[i]->values)
            REQUIRE(value == i);
    CHECK(small->value == 7);
}

TEST_CASE("near memory is used again once nothing is left in it") {
    std::set<const void*> places;
    for (unsigned round = 0; round < 1000; ++round) {
        const auto first = std::make_unique<Small>(), second = std::make_unique<Small>();
        CHECK(first.get() != second.get());
        CHECK(reinterpret_cast<std::uintptr_t>(first.get()) % alignof(Small) == 0);
        places.insert(first.get());
    }
    CHECK(places.size() < 100); // on the heap, too, if a sanitizer keeps it from being near
}
