// SPDX-License-Identifier: GPL-2.0-or-later
// Memory types by the MTRRs: Intel SDM 3A, section 11.11.
#include "vmm/vmx/mtrr.hpp"

#include <catch2/catch.hpp>

using namespace escalus::vmm::vmx;

namespace {

constexpr std::uint64_t kib = 1024, mib = 1024 * kib, gib = 1024 * mib;
constexpr std::uint64_t enabled = 0x800, fixed_too = 0xc00, in_use = 0x800;

// Section 11.11.3, "Example Base and Mask Calculations": 100 MiB of write-back memory out of three ranges,
// two uncacheable holes in it, and a write-combining frame buffer.
Mtrrs manual_example() {
    Mtrrs m;
    m.default_type = enabled;
    m.variable_count = 8;
    m.variable[0] = {0x0'0000'0006, 0xf'fc00'0800};
    m.variable[1] = {0x0'0400'0006, 0xf'fe00'0800};
    m.variable[2] = {0x0'0600'0006, 0xf'ffc0'0800};
    m.variable[3] = {0x0'0400'0000, 0xf'ffc0'0800};
    m.variable[4] = {0x0'00f0'0000, 0xf'fff0'0800};
    m.variable[5] = {0x0'a000'0001, 0xf'ff80'0800};
    return m;
}

MemoryType type(const Mtrrs& m, std::uint64_t address) {
    return memory_type_at(m, address).type;
}

} // namespace

TEST_CASE("the manual's example of variable ranges", "[mtrr]") {
    const Mtrrs m = manual_example();
    CHECK(type(m, 0) == MemoryType::WriteBack);
    CHECK(type(m, 15 * mib - 4 * kib) == MemoryType::WriteBack);
    CHECK(type(m, 15 * mib) == MemoryType::Uncacheable);
    CHECK(type(m, 16 * mib) == MemoryType::WriteBack);
    CHECK(type(m, 64 * mib - 4 * kib) == MemoryType::WriteBack);
    CHECK(type(m, 64 * mib) == MemoryType::Uncacheable);
    CHECK(type(m, 68 * mib) == MemoryType::WriteBack);
    CHECK(type(m, 100 * mib - 4 * kib) == MemoryType::WriteBack);
    CHECK(type(m, 100 * mib) == MemoryType::Uncacheable);
    CHECK(type(m, 0xa000'0000) == MemoryType::WriteCombining);
    CHECK(type(m, 0xa080'0000) == MemoryType::Uncacheable);
    CHECK(type(m, 5 * gib) == MemoryType::Uncacheable);
}

TEST_CASE("a run ends where the type may change, and not before", "[mtrr]") {
    const Mtrrs m = manual_example();
    CHECK(memory_type_at(m, 0).bytes == 15 * mib);
    CHECK(memory_type_at(m, 15 * mib).bytes == 1 * mib);
    CHECK(memory_type_at(m, 16 * mib).bytes == 48 * mib);
    CHECK(memory_type_at(m, 70 * mib).bytes == 26 * mib); // the second range ends at 96 MiB
    CHECK(memory_type_at(m, 100 * mib).bytes == 0xa000'0000 - 100 * mib);
    CHECK(memory_type_at(m, 0xa080'0000).bytes > 1ull << 40);
}

TEST_CASE("disabled MTRRs make all memory uncacheable", "[mtrr]") {
    Mtrrs m = manual_example();
    m.default_type = 6; // E is clear
    CHECK(type(m, 0) == MemoryType::Uncacheable);
    CHECK(type(m, 5 * gib) == MemoryType::Uncacheable);
}

TEST_CASE("the default type holds where no range matches", "[mtrr]") {
    Mtrrs m;
    m.default_type = enabled | 6;
    m.variable_count = 1;
    m.variable[0] = {0xc000'0000, 0xf'c000'0000 | in_use};
    CHECK(type(m, 0) == MemoryType::WriteBack);
    CHECK(memory_type_at(m, 0).bytes == 3 * gib);
    CHECK(type(m, 3 * gib) == MemoryType::Uncacheable);
    CHECK(memory_type_at(m, 3 * gib).bytes == 1 * gib);
    CHECK(type(m, 4 * gib) == MemoryType::WriteBack);
    m.variable[0].mask &= ~in_use;
    CHECK(type(m, 3 * gib) == MemoryType::WriteBack);
}

TEST_CASE("overlapping variable ranges", "[mtrr]") {
    // Section 11.11.4.1.
    const auto both = [](std::uint64_t a, std::uint64_t b) {
        Mtrrs m;
        m.default_type = enabled | 6;
        m.variable_count = 2;
        m.variable[0] = {a, 0xf'fff0'0000 | in_use};
        m.variable[1] = {b, 0xf'ffe0'0000 | in_use};
        return type(m, 0);
    };
    CHECK(both(6, 6) == MemoryType::WriteBack);
    CHECK(both(0, 6) == MemoryType::Uncacheable);
    CHECK(both(1, 0) == MemoryType::Uncacheable);
    CHECK(both(4, 6) == MemoryType::WriteThrough);
    CHECK(both(6, 4) == MemoryType::WriteThrough);
    CHECK(both(1, 6) == MemoryType::Uncacheable); // undefined by the manual
}

TEST_CASE("fixed ranges go before variable ones below 1 MiB", "[mtrr]") {
    Mtrrs m;
    m.default_type = fixed_too;
    m.variable_count = 1;
    m.variable[0] = {6, 0xf'8000'0000 | in_use};
    m.fixed[0] = 0x0606'0606'0606'0606;  // 0 to 512 KiB
    m.fixed[1] = 0x0606'0606'0606'0606;  // 512 to 640 KiB
    m.fixed[2] = 0x0000'0000'0000'0001;  // A0000: the first 16 KiB write-combining
    m.fixed[3] = 0x0505'0505'0505'0505;  // C0000 to C7FFF
    m.fixed[10] = 0x0400'0000'0000'0000; // the last 4 KiB
    CHECK(type(m, 0) == MemoryType::WriteBack);
    CHECK(memory_type_at(m, 0).bytes == 64 * kib);
    CHECK(memory_type_at(m, 0x9000).bytes == 64 * kib - 0x9000);
    CHECK(type(m, 0x9f000) == MemoryType::WriteBack);
    CHECK(type(m, 0xa0000) == MemoryType::WriteCombining);
    CHECK(memory_type_at(m, 0xa1000).bytes == 12 * kib);
    CHECK(type(m, 0xa4000) == MemoryType::Uncacheable);
    CHECK(type(m, 0xc7000) == MemoryType::WriteProtected);
    CHECK(type(m, 0xc8000) == MemoryType::Uncacheable);
    CHECK(memory_type_at(m, 0xc7000).bytes == 4 * kib);
    CHECK(type(m, 0xfe000) == MemoryType::Uncacheable);
    CHECK(type(m, 0xff000) == MemoryType::WriteThrough);
    CHECK(type(m, 1 * mib) == MemoryType::WriteBack);
    CHECK(memory_type_at(m, 1 * mib).bytes == 2 * gib - 1 * mib);
    m.default_type = enabled; // variable ranges only
    CHECK(type(m, 0xa4000) == MemoryType::WriteBack);
}

TEST_CASE("a mask with holes describes a range in pieces", "[mtrr]") {
    // Section 11.11.3: bits that the mask leaves out do not matter, wherever they are.
    Mtrrs m;
    m.default_type = enabled;
    m.variable_count = 1;
    m.variable[0] = {6, 0xf'ffdf'f000 | in_use}; // 0 and 2 MiB, 4 KiB each
    CHECK(type(m, 0) == MemoryType::WriteBack);
    CHECK(memory_type_at(m, 0).bytes == 4 * kib);
    CHECK(type(m, 4 * kib) == MemoryType::Uncacheable);
    CHECK(type(m, 2 * mib) == MemoryType::WriteBack);
    CHECK(type(m, 4 * mib) == MemoryType::Uncacheable);
}
