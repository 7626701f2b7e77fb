// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/cpu_reset.hpp"

#include <memory>

#include <catch2/catch.hpp>

using namespace escalus;

TEST_CASE("reset begins at the top of the address space, in real mode") {
    auto page = std::make_unique<abi::VcpuPage>();
    page->msrs.tsc_offset = 77;
    page->msrs.tsc_ratio = 2 * abi::tsc_ratio_one;
    page->msrs.lstar = 1;
    page->event.valid = 1;
    reset_registers(*page, CpuReset::Reset, 0x800f12);
    CHECK(page->segment[abi::seg_cs].base + page->rip == 0xfffffff0);
    CHECK(page->cr0 == 0x60000010);
    CHECK(page->gpr[abi::rdx] == 0x800f12);
    CHECK(page->rflags == 2);
    CHECK(page->xcr0 == 1);
    CHECK(page->msrs.pat == 0x0007040600070406);
    CHECK(page->msrs.lstar == 0);
    CHECK(page->msrs.tsc_offset == 77);
    CHECK(page->msrs.tsc_ratio == 2 * abi::tsc_ratio_one);
    CHECK(page->event.valid == 0);
    CHECK(page->dirty == (abi::group_all | abi::group_fpu_reset));
}

TEST_CASE("INIT keeps MSRs, the FPU and the cache bits") {
    auto page = std::make_unique<abi::VcpuPage>();
    page->msrs.lstar = 5;
    page->xcr0 = 7;
    page->cr0 = 0x80000011;
    reset_registers(*page, CpuReset::Init, 0);
    CHECK(page->cr0 == 0x10);
    CHECK(page->msrs.lstar == 5);
    CHECK(page->xcr0 == 7);
    CHECK((page->dirty & (abi::group_msrs | abi::group_fpu_reset)) == 0);
}

TEST_CASE("SIPI starts in real mode at its vector's page") {
    auto page = std::make_unique<abi::VcpuPage>();
    reset_registers(*page, CpuReset::Init, 0);
    start_at_vector(*page, 0x9a);
    CHECK(page->segment[abi::seg_cs].base == 0x9a000);
    CHECK(page->segment[abi::seg_cs].selector == 0x9a00);
    CHECK(page->rip == 0);
}

TEST_CASE("boot protocols begin in flat protected mode with interrupts off") {
    auto page = std::make_unique<abi::VcpuPage>();
    reset_registers(*page, CpuReset::Reset, 0);
    enter_flat_protected_mode(*page, 0x100000, 0x10, 0x18);
    CHECK(page->cr0 == 0x11);
    CHECK(page->rip == 0x100000);
    CHECK(page->segment[abi::seg_cs].attributes == 0xc9b);
    CHECK(page->segment[abi::seg_ds].limit == 0xffffffff);
    CHECK((page->rflags & 0x200) == 0);
}
