// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/cpu/instructions.hpp"
#include "vmm/svm/vmcb.hpp"

#include <functional>
#include <string>

#include <catch2/catch.hpp>

using namespace escalus::vmm;
using namespace escalus::vmm::svm;

namespace {
Vmcb valid_long_mode() {
    Vmcb v{};
    v.control.intercepts2 = intercept2::vmrun;
    v.control.asid = 2;
    v.save.efer = efer::svme | efer::lme | efer::lma;
    v.save.cr0 = cr0::pe | cr0::pg | cr0::et;
    v.save.cr4 = cr4::pae;
    v.save.cs.attributes = 0xa9b;
    return v;
}
std::string violation(const std::function<void(Vmcb&)>& spoil) {
    Vmcb v = valid_long_mode();
    spoil(v);
    const char* text = find_violation(v, 40);
    return text == nullptr ? "" : text;
}
} // namespace

TEST_CASE("valid states pass") {
    CHECK(violation([](Vmcb&) {}).empty());
    CHECK(violation([](Vmcb& v) { v.save.efer = efer::svme, v.save.cr0 = cr0::et, v.save.cr4 = 0; }).empty());
    CHECK(violation([](Vmcb& v) { v.control.inject = event::valid | 3u << 8 | 14; }).empty());
}

TEST_CASE("a virtual interrupt is offered when its priority is above the TPR") {
    using namespace interrupt_control;
    const auto offered = [](std::uint32_t priority, std::uint32_t tpr, std::uint32_t more = 0) {
        return (offer_by_priority(priority << priority_shift | tpr | more) & irq) != 0;
    };
    CHECK(offered(5, 4));
    CHECK_FALSE(offered(5, 5));
    CHECK_FALSE(offered(5, 6));
    CHECK(offered(15, 14));
    CHECK_FALSE(offered(0, 0));
    CHECK(offered(0, 15, ignore_tpr));
    CHECK_FALSE(offered(5, 5, irq | masking)); // taken back when the TPR rises
    CHECK(offer_by_priority(5u << priority_shift | 4 | masking) ==
          (5u << priority_shift | 4 | masking | irq));
}

TEST_CASE("each consistency check is named") {
    CHECK(violation([](Vmcb& v) { v.save.efer &= ~efer::svme; }).find("SVME") != std::string::npos);
    CHECK(violation([](Vmcb& v) { v.save.cr0 |= cr0::nw; }).find("NW") != std::string::npos);
    CHECK(violation([](Vmcb& v) { v.save.cr0 |= 1ull << 32; }).find("CR0[63:32]") != std::string::npos);
    CHECK(violation([](Vmcb& v) { v.save.cr3 = 1ull << 40; }).find("CR3") != std::string::npos);
    CHECK(violation([](Vmcb& v) { v.save.cr4 |= 1ull << 40; }).find("CR4[63:32]") != std::string::npos);
    CHECK(violation([](Vmcb& v) { v.save.dr6 = 1ull << 32; }).find("DR6") != std::string::npos);
    CHECK(violation([](Vmcb& v) { v.save.dr7 = 1ull << 32; }).find("DR7") != std::string::npos);
    CHECK(violation([](Vmcb& v) { v.save.cr4 = 0; }).find("PAE") != std::string::npos);
    CHECK(violation([](Vmcb& v) { v.save.cr0 &= ~cr0::pe; }).find("PE") != std::string::npos);
    CHECK(violation([](Vmcb& v) { v.save.cs.attributes |= 1 << 10; }).find("CS.L") != std::string::npos);
    CHECK(violation([](Vmcb& v) { v.control.intercepts2 = 0; }).find("VMRUN") != std::string::npos);
    CHECK(violation([](Vmcb& v) { v.control.asid = 0; }).find("ASID") != std::string::npos);
    CHECK(violation([](Vmcb& v) { v.control.inject = event::valid | 5u << 8; }).find("reserved") !=
          std::string::npos);
    CHECK(violation([](Vmcb& v) { v.control.inject = event::valid | 3u << 8 | 2; }).find("vector") !=
          std::string::npos);
}

TEST_CASE("the conditions of maps, reserved bits, impossible events and nested paging are named") {
    CHECK(violation([](Vmcb& v) { v.save.cr4 |= 1ull << 31; }).find("CR4") != std::string::npos);
    CHECK(violation([](Vmcb& v) { v.save.efer |= 1ull << 40; }).find("EFER") != std::string::npos);
    CHECK(violation([](Vmcb& v) { v.control.inject = event::valid | 3u << 8 | 5; }).find("64-bit") !=
          std::string::npos);
    CHECK(violation([](Vmcb& v) {
              v.save.cs.attributes = 0xc9b; // compatibility mode
              v.control.inject = event::valid | 3u << 8 | 5;
          }).empty());
    const auto map_at = [](std::uint64_t address, bool io) {
        return violation([=](Vmcb& v) {
            v.control.intercepts1 = io ? intercept1::ioio : intercept1::msr;
            (io ? v.control.iopm : v.control.msrpm) = address;
        });
    };
    CHECK(map_at((1ull << 40) - 0x3000, true).empty());
    CHECK(map_at((1ull << 40) - 0x2000, true).find("I/O") != std::string::npos);
    CHECK(map_at((1ull << 40) - 0x2000, false).empty());
    CHECK(map_at((1ull << 40) - 0x1000, false).find("MSR") != std::string::npos);
    const auto nested = [](std::uint64_t root, std::uint64_t pat) {
        return violation([=](Vmcb& v) {
            v.control.nested_control = 1;
            v.control.nested_cr3 = root;
            v.save.pat = pat;
        });
    };
    CHECK(nested(0x1000, 0x0007040600070406).empty());
    CHECK(nested(1ull << 40, 0x0007040600070406).find("nCR3") != std::string::npos);
    CHECK(nested(0x1000, 0x0007040600030406).find("G_PAT") != std::string::npos);
}

TEST_CASE("the exit code of a refused VMRUN, in 64 bits and in QEMU's 32") {
    VmcbControl control{};
    control.exit_code = ~0ull;
    CHECK(exit_code_of(control) == ExitCode::Invalid);
    control.exit_code = 0xffffffff;
    CHECK(exit_code_of(control) == ExitCode::Invalid);
    control.exit_code = 0x400;
    CHECK(exit_code_of(control) == ExitCode::NestedPageFault);
}
