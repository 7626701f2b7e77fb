// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/vmx/capabilities.hpp"

#include <catch2/catch.hpp>

using namespace escalus::vmm::vmx;

TEST_CASE("control fields take what is wanted and offered, and what must be") {
    constexpr std::uint64_t capability = 0x0000'00ff'0000'0016;
    CHECK(settle(capability, 0) == 0x16);
    CHECK(settle(capability, 0x101) == 0x17);
    CHECK(offers(capability, 0x81));
    CHECK_FALSE(offers(capability, 0x100));
}

TEST_CASE("the preemption timer expires at the deadline, not before") {
    constexpr std::uint32_t longest = 0xffffffff;
    CHECK(timer_value(0, 1000, 5) == longest);
    CHECK(timer_value(999, 1000, 5) == 0);
    CHECK(timer_value(1000, 1000, 5) == 0);
    for (const unsigned shift : {0u, 5u, 31u})
        for (const std::uint64_t now : {0ull, 12345ull, 1ull << 40})
            for (const std::uint64_t ahead : {1ull, 31ull, 32ull, 33ull, 1'000'000ull}) {
                const std::uint64_t deadline = now + ahead;
                const auto value = timer_value(deadline, now, shift);
                // Section 25.5.1: it counts down each time that bit `shift` of the TSC changes.
                const std::uint64_t expires = ((now >> shift) + value) << shift;
                CHECK(expires >= deadline);
                CHECK(expires - deadline <= 1ull << shift);
            }
    CHECK(timer_value(1ull << 60, 0, 5) == longest);
}
