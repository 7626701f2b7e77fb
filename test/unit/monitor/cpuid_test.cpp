// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/guest/vm.hpp"

#include <cstdlib>
#include <memory>

#include <catch2/catch.hpp>

using namespace escalus;
using namespace escalus::vmm;

TEST_CASE("the guest's CPUID table") {
    constexpr std::uint32_t every = 0xffffffff;
    auto* area = static_cast<std::uint8_t*>(std::aligned_alloc(page_size, 4 * page_size));
    const std::unique_ptr<std::uint8_t, decltype(&std::free)> keep{area, std::free};
    auto vm = std::make_unique<Vm>();
    vm->area = {reinterpret_cast<std::uint64_t>(area), 4 * page_size};
    abi::CpuidPage& page = vm->cpuid_page();
    page.entries[0] = {0, 0, 1, 0xd, 2, 3, 4, every};
    page.entries[1] = {1, 0, 1, 1, 0, 1u << 27, 0, 0};
    page.entries[2] = {1, 0, 1, 2, 0, 0, 0, 1};
    page.entries[3] = {4, 0, 0, 40, 0, 0, 0, every};
    page.entries[4] = {4, 2, 0, 42, 0, 0, 0, every};
    page.entries[5] = {7, 0, 0, 7, 0, 1u << 4, 0, every};
    page.entries[6] = {0x80000000, 0, 1, 8, 0, 0, 0, every};
    // A vCPU's own entries stand before the one for every other.
    page.entries[7] = {0x8000001e, 0, 1, 101, 0, 0, 0, 1};
    page.entries[8] = {0x8000001e, 0, 1, 103, 0, 0, 0, 3};
    page.entries[9] = {0x8000001e, 0, 1, 99, 0, 0, 0, every};
    page.count = 10;
    Vcpu vcpu;
    vcpu.cpuid = &page;
    const auto eax = [&](std::uint32_t function, std::uint32_t index = 0) {
        return guest_cpuid(vcpu, function, index, 0).eax;
    };
    CHECK(eax(0, 99) == 0xd); // the index does not matter
    CHECK(eax(4, 0) == 40);
    CHECK(eax(4, 1) == 0); // not there: zero
    CHECK(eax(4, 2) == 42);
    CHECK(eax(0x80000000) == 8);
    CHECK(eax(0x80000001) == 0);
    CHECK(eax(0x40000000) == 0);
    CHECK(eax(1) == 1);
    vcpu.index = 1;
    CHECK(eax(1) == 2); // its own entry
    CHECK(eax(0x8000001e, 5) == 101);
    CHECK(eax(4, 2) == 42);
    vcpu.index = 2;
    CHECK(eax(0x8000001e) == 99);
    CHECK(eax(1) == 0); // none for it
    vcpu.index = 3;
    CHECK(eax(0x8000001e) == 103);
    vcpu.index = 0;
    // OSXSAVE and OSPKE follow CR4.
    CHECK(guest_cpuid(vcpu, 1, 0, 0).ecx == 0);
    CHECK(guest_cpuid(vcpu, 1, 0, cr4::osxsave).ecx == 1u << 27);
    CHECK(guest_cpuid(vcpu, 7, 0, 0).ecx == 0);
    CHECK(guest_cpuid(vcpu, 7, 0, cr4::pke).ecx == 1u << 4);
    // A device model that lies about the count changes only its own answers.
    page.count = 0xffffffff;
    CHECK(eax(0) == 0xd);
    page.count = 0;
    CHECK(eax(0) == 0);
}
