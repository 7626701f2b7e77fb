// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/cpuid_policy.hpp"

#include <cstring>
#include <map>
#include <string>

#include <catch2/catch.hpp>

using namespace escalus;

namespace {

enum : unsigned { eax, ebx, ecx, edx };
using Registers = std::array<std::uint32_t, 4>;

/// A CPU that has everything.
Registers everything(bool intel, std::uint32_t leaf, std::uint32_t index) {
    const std::uint32_t all = 0xffffffff;
    switch (leaf) {
    case 0:
        return intel ? Registers{0x16, 0x756e6547, 0x6c65746e, 0x49656e69}
                     : Registers{0xd, 0x68747541, 0x444d4163, 0x69746e65};
    case 1:
        return {0x800f12, 0x05100800, all, all};
    case 4:
    case 0x8000001d:
        return index < 3 ? Registers{0xfc004101 | (index + 1) << 5, 7, 8, 9} : Registers{};
    case 7:
        return index == 0 ? Registers{2, all, all, all} : Registers{all, all, all, all};
    case 0xd:
        switch (index) {
        case 0:
            return {0x2ff, 0x340, 0xa88, 0};
        case 1:
            return {0xf, 0x340, 0, 0};
        case 2:
            return {0x100, 0x240, 0, 0};
        case 5:
            return {0x40, 0x440, 0, 0};
        case 6:
            return {0x200, 0x480, 0, 0};
        case 7:
            return {0x400, 0x680, 0, 0};
        case 9:
            return {8, 0xa80, 1, 0};
        default:
            return {};
        }
    case 0x80000000:
        return {intel ? 0x80000008 : 0x80000021, 0, 0, 0};
    case 0x80000008:
        return {0x3930, all, 0x7007, all};
    default:
        return {all, all, all, all};
    }
}

std::vector<abi::CpuidEntry> table(unsigned vcpus = 1, bool intel = false,
                                   std::vector<CpuidOverride> overrides = {}) {
    return build_cpuid({.host = [=](std::uint32_t l, std::uint32_t i) { return everything(intel, l, i); },
                        .vcpus = vcpus,
                        .tsc_hz = 2'500'000'000,
                        .overrides = overrides});
}

bool has(std::uint32_t value, unsigned bit) {
    return (value >> bit & 1) != 0;
}

std::string all_x_but(unsigned bit, char c) {
    std::string s(32, 'x');
    s[31 - bit] = c;
    return s;
}

} // namespace

TEST_CASE("KVM's leaves are there when it is offered, after our own") {
    const auto with =
        build_cpuid({.host = [](std::uint32_t l, std::uint32_t i) { return everything(false, l, i); },
                     .kvm_features = 0x1000048,
                     .overrides = {}});
    const auto signature = cpuid_lookup(with, 0x40000100);
    CHECK(signature[eax] == 0x40000101);
    CHECK(std::memcmp(&signature[ebx], "KVMKVMKVM\0\0\0", 12) == 0);
    CHECK(cpuid_lookup(with, 0x40000101) == Registers{0x1000048, 0, 0, 0});
    CHECK(cpuid_lookup(with, 0x40000000)[ebx] == cpuid_lookup(table(), 0x40000000)[ebx]);
    CHECK(cpuid_lookup(table(), 0x40000100) == Registers{});
}

TEST_CASE("what is not virtualized is hidden, and the machine's own is offered") {
    const auto t = table();
    const auto basic = cpuid_lookup(t, 1);
    for (const unsigned hidden : {2u, 3u, 5u, 6u, 7u, 8u, 15u, 17u, 18u}) // DTES64 MONITOR VMX SMX ... PCID
        CHECK_FALSE(has(basic[ecx], hidden));
    for (const unsigned offered : {0u, 13u, 21u, 24u, 25u, 26u, 28u, 31u}) // x2APIC, TSC deadline, hypervisor
        CHECK(has(basic[ecx], offered));
    for (const unsigned offered : {0u, 6u, 7u, 9u, 12u, 14u, 16u}) // PAE MCE APIC MTRR MCA PAT
        CHECK(has(basic[edx], offered));
    CHECK_FALSE(has(basic[edx], 28)); // one processor: no HTT
    const auto seven = cpuid_lookup(t, 7);
    CHECK(has(seven[ebx], 5));        // AVX2
    CHECK_FALSE(has(seven[ebx], 1));  // TSC_ADJUST
    CHECK_FALSE(has(seven[ebx], 2));  // SGX
    CHECK_FALSE(has(seven[ebx], 10)); // INVPCID
    CHECK_FALSE(has(seven[ebx], 14)); // MPX
    CHECK_FALSE(has(seven[ecx], 3));  // PKU
    CHECK_FALSE(has(seven[edx], 26)); // SPEC_CTRL
    CHECK(cpuid_lookup(t, 5) == Registers{});
    CHECK(cpuid_lookup(t, 0xa) == Registers{});
    const auto extended = cpuid_lookup(t, 0x80000001);
    CHECK_FALSE(has(extended[ecx], 2)); // SVM
    CHECK(has(extended[ecx], 22));      // TOPOEXT
    CHECK(has(extended[edx], 20));
    CHECK(has(extended[edx], 29));
    CHECK(cpuid_lookup(t, 0x80000000)[eax] == 0x8000001e);
    CHECK(cpuid_lookup(table(1, true), 0x80000000)[eax] == 0x80000008);
    CHECK(cpuid_lookup(t, 0x8000000a) == Registers{});
    CHECK(cpuid_lookup(t, 0x80000008)[eax] == 0x302e); // 46 bits fit the monitor's limit
}

TEST_CASE("the hypervisor's leaves carry our name and exact frequencies") {
    const auto t = table();
    const auto id = cpuid_lookup(t, 0x40000000);
    CHECK(std::memcmp(&id[ebx], "EscalusHVM\0\0", 12) == 0);
    CHECK(id[eax] == 0x40000010);
    CHECK(cpuid_lookup(t, 0x40000010)[eax] == 2'500'000);
    CHECK(cpuid_lookup(t, 0x40000010)[ebx] == 1'000'000);
    const auto intel = cpuid_lookup(table(1, true), 0x15);
    CHECK(std::uint64_t{intel[ecx]} * intel[ebx] / intel[eax] == 2'500'000'000);
}

TEST_CASE("the TSC is invariant whatever the host's is") {
    for (const bool intel : {false, true}) {
        const auto host = [=](std::uint32_t leaf, std::uint32_t index) {
            return leaf == 0x80000007 ? Registers{} : everything(intel, leaf, index);
        };
        const auto t = build_cpuid({.host = host, .vcpus = 4, .tsc_hz = 2'500'000'000, .overrides = {}});
        CHECK(cpuid_lookup(t, 0x80000007) == Registers{0, 0, 0, 1 << 8});
    }
    CHECK(cpuid_lookup(table(), 0x80000007) == Registers{0, 0, 0, 1 << 8}); // and nothing else of that leaf
}

TEST_CASE("the topology agrees with the number of processors in every leaf") {
    const auto t = table(3);
    for (unsigned vcpu = 0; vcpu < 3; ++vcpu) {
        const auto basic = cpuid_lookup(t, 1, 0, vcpu);
        CHECK(basic[ebx] >> 24 == vcpu);
        CHECK((basic[ebx] >> 16 & 0xff) == 3);
        CHECK(has(basic[edx], 28));
        const auto cores = cpuid_lookup(t, 0xb, 1, vcpu);
        CHECK(cores[eax] == 2);
        CHECK(cores[ebx] == 3);
        CHECK(cores[edx] == vcpu);
        CHECK(cpuid_lookup(t, 0xb, 0, vcpu)[ebx] == 1);
    }
    CHECK(has(cpuid_lookup(t, 0x80000001)[ecx], 1));
    CHECK((cpuid_lookup(t, 0x80000008)[ecx] & 0xff) == 2);
    CHECK(cpuid_lookup(t, 0x80000008)[ecx] >> 12 == 2);
    for (unsigned vcpu = 0; vcpu < 3; ++vcpu)
        CHECK(cpuid_lookup(t, 0x8000001e, 0, vcpu) == Registers{vcpu, vcpu, 0, 0});
    CHECK((cpuid_lookup(t, 0x8000001d, 0)[eax] >> 14 & 0xfff) == 0); // L1 and L2 are a core's own
    CHECK((cpuid_lookup(t, 0x8000001d, 1)[eax] >> 14 & 0xfff) == 0);
    CHECK((cpuid_lookup(t, 0x8000001d, 2)[eax] >> 14 & 0xfff) == 2); // L3 is everybody's
    CHECK(cpuid_lookup(t, 0x8000001d, 2)[eax] >> 26 == 0);
    CHECK(cpuid_lookup(t, 0x8000001d, 3) == Registers{});
    CHECK(cpuid_lookup(t, 4) == Registers{});
    const auto intel = table(3, true);
    CHECK(cpuid_lookup(intel, 4, 0)[eax] >> 26 == 2);
    CHECK((cpuid_lookup(intel, 4, 2)[eax] >> 14 & 0xfff) == 2);
    CHECK((cpuid_lookup(intel, 4, 1)[eax] >> 14 & 0xfff) == 0);
    CHECK(cpuid_lookup(intel, 0x8000001e, 0, 1) == Registers{});
    CHECK_FALSE(has(cpuid_lookup(intel, 0x80000001)[ecx], 1)); // CmpLegacy is AMD's
}

TEST_CASE("AMD's extended topology is offered where the host has it, and there is an APIC") {
    const auto without = [](bool apic) {
        return build_cpuid({.host =
                                [=](std::uint32_t l, std::uint32_t i) {
                                    auto r = everything(false, l, i);
                                    if (l == 0x80000001 && apic)
                                        r[ecx] &= ~(1u << 22);
                                    return r;
                                },
                            .vcpus = apic ? 2u : 1u,
                            .apic = apic,
                            .x2apic = apic,
                            .tsc_deadline = apic,
                            .overrides = {}});
    };
    for (const bool apic : {true, false}) {
        const auto t = without(apic);
        CHECK_FALSE(has(cpuid_lookup(t, 0x80000001)[ecx], 22));
        CHECK(cpuid_lookup(t, 0x80000000)[eax] == 0x80000008);
        CHECK(cpuid_lookup(t, 0x8000001e) == Registers{});
    }
}

TEST_CASE("the largest machine's table fits the monitor's page") {
    CHECK(table(abi::vcpus_max).size() <= abi::cpuid_entries_max);
    CHECK(table(abi::vcpus_max, true).size() <= abi::cpuid_entries_max);
}

TEST_CASE("XSAVE offers AVX and AVX-512 with their sizes, and no supervisor state") {
    const auto t = table();
    const auto main = cpuid_lookup(t, 0xd, 0);
    CHECK(main[eax] == 0xe7);
    CHECK(main[ecx] == 0xa80);
    CHECK(cpuid_lookup(t, 0xd, 1)[eax] == 7);
    CHECK(cpuid_lookup(t, 0xd, 2)[ebx] == 0x240);
    CHECK(cpuid_lookup(t, 0xd, 9) == Registers{});
}

TEST_CASE("overrides are applied over the default") {
    auto t = table(1, false,
                   {{.leaf = 1, .index = {}, .register_index = ecx, .bits = all_x_but(28, '0')},
                    {.leaf = 1, .index = {}, .register_index = ecx, .bits = all_x_but(5, 'k')},
                    {.leaf = 0x40001000, .index = {}, .register_index = eax, .bits = std::string(32, '1')}});
    CHECK_FALSE(has(cpuid_lookup(t, 1)[ecx], 28));
    CHECK(has(cpuid_lookup(t, 1)[ecx], 5));
    CHECK(cpuid_lookup(t, 0x40001000)[eax] == 0xffffffff);
    t = table(1, false, {{.leaf = 7, .index = 0, .register_index = ebx, .bits = all_x_but(5, '0')}});
    CHECK_FALSE(has(cpuid_lookup(t, 7)[ebx], 5));
}

TEST_CASE("NX goes with PAE, and XSAVE's leaf with XSAVE") {
    const auto t = table(1, false,
                         {{.leaf = 1, .index = {}, .register_index = edx, .bits = all_x_but(6, '0')},
                          {.leaf = 1, .index = {}, .register_index = ecx, .bits = all_x_but(26, '0')}});
    CHECK_FALSE(has(cpuid_lookup(t, 0x80000001)[edx], 20));
    CHECK_FALSE(has(cpuid_lookup(t, 0x80000001)[edx], 29));
    CHECK(cpuid_lookup(t, 0xd, 0) == Registers{});
}

TEST_CASE("without an APIC nothing of it is offered") {
    const auto t =
        build_cpuid({.host = [](std::uint32_t l, std::uint32_t i) { return everything(false, l, i); },
                     .apic = false,
                     .x2apic = false,
                     .tsc_deadline = false,
                     .overrides = {}});
    CHECK_FALSE(has(cpuid_lookup(t, 1)[edx], 9));
    CHECK_FALSE(has(cpuid_lookup(t, 0x80000001)[edx], 9));
    CHECK_FALSE(has(cpuid_lookup(t, 1)[ecx], 21));
    CHECK_FALSE(has(cpuid_lookup(t, 1)[ecx], 24));
    CHECK(cpuid_lookup(t, 0xb, 0) == Registers{});
}
