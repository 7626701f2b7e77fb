// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/backends/net/rate_limit.hpp"
#include "devmodel/machine/manual_clock.hpp"
#include "test/unit/net/fake_cable.hpp"

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::test;

namespace {
constexpr GuestTime ms = 1'000'000;
}

TEST_CASE("token bucket: a grant each interval, and no more is saved") {
    TokenBucket bucket{1000, 50 * ms};
    CHECK(bucket.take(600, 0));
    CHECK_FALSE(bucket.take(600, 49 * ms));
    CHECK(bucket.take(400, 49 * ms));
    CHECK(bucket.next() == 50 * ms);
    CHECK(bucket.take(1000, 50 * ms));
    CHECK_FALSE(bucket.take(1, 50 * ms));
    // A long silence is worth one grant.
    CHECK(bucket.take(1000, 10'000 * ms));
    CHECK_FALSE(bucket.take(1, 10'000 * ms));
    CHECK(bucket.next() == 10'050 * ms);
}

TEST_CASE("token bucket: a frame larger than the grant passes, and is paid off") {
    TokenBucket bucket{1000, 50 * ms};
    CHECK(bucket.take(2500, 0));
    CHECK_FALSE(bucket.take(1, 50 * ms));    // 500 owed
    CHECK_FALSE(bucket.take(501, 100 * ms)); // 500 left
    CHECK(bucket.take(500, 100 * ms));
    CHECK(bucket.take(5000, 1000 * ms));
    CHECK_FALSE(bucket.take(5000, 1050 * ms));
    CHECK(bucket.take(1000, 1'000'000 * ms));
}

TEST_CASE("rate limit: over time exactly the rate passes, in order") {
    ManualClock clock;
    auto* cable = new FakeCable; // NOLINT(*-owning-memory): the limit's
    RateLimit limit{std::unique_ptr<NetBackend>{cable}, clock, 5000, 50 * ms};
    for (std::uint8_t i = 0; i < 100; ++i)
        limit.send(std::vector<std::uint8_t>(1000, i), {.needs_checksum = i == 7});
    CHECK(cable->sent.size() == 5);
    clock.advance(49 * ms);
    CHECK(cable->sent.size() == 5);
    clock.advance(1 * ms);
    CHECK(cable->sent.size() == 10);
    clock.advance(450 * ms);
    CHECK(cable->sent.size() == 55);
    clock.advance(10'000 * ms);
    REQUIRE(cable->sent.size() == 100);
    for (std::uint8_t i = 0; i < 100; ++i) {
        CHECK(cable->sent[i].frame[0] == i);
        CHECK(cable->sent[i].offload.needs_checksum == (i == 7));
    }
}

TEST_CASE("rate limit: what waits is bounded, and lost with the card") {
    ManualClock clock;
    auto* cable = new FakeCable; // NOLINT(*-owning-memory): the limit's
    RateLimit limit{std::unique_ptr<NetBackend>{cable}, clock, 1000, 50 * ms};
    for (unsigned i = 0; i < 10'000; ++i)
        limit.send(std::vector<std::uint8_t>(1000), {});
    SECTION("bounded") {
        clock.advance(ns_per_second * 1000);
        CHECK(cable->sent.size() == 1 + RateLimit::most_waiting_bytes / 1000);
    }
    SECTION("lost") {
        limit.connect(nullptr);
        clock.advance(ns_per_second * 1000);
        CHECK(cable->sent.size() == 1);
    }
}
