// SPDX-License-Identifier: GPL-2.0-or-later
// The checks of VM entry (Intel SDM 3C, sections 26.2 and 26.3): one violation at a time.
#include "vmm/cpu/instructions.hpp"
#include "vmm/vmx/vmcs.hpp"
#include "vmm/vmx/vmcs_check.hpp"

#include <functional>
#include <string>

#include <catch2/catch.hpp>

using namespace escalus::vmm;
using namespace escalus::vmm::vmx;

namespace {

constexpr std::uint64_t everything_allowed = 0xffffffff'00000000;

Capabilities skylake() {
    Capabilities c;
    c.basic = 1ull << 55 | 1ull << 54;
    c.pin = 0x0000007f'00000016;
    c.primary = 0xfff9fffe'04006172;
    c.secondary = everything_allowed;
    c.exit = 0x01ffffff'00036dfb;
    c.entry = 0x0003ffff'000011fb;
    c.misc = 0x1e0 | 4 << 16; // all activity states, four CR3 targets
    c.cr0_fixed0 = 0x80000021;
    c.cr0_fixed1 = 0xffffffff;
    c.cr4_fixed0 = 0x2000;
    c.cr4_fixed1 = 0x3767ff;
    c.ept_vpid = ept_capability::accessed_dirty;
    c.physical_bits = 40;
    return c;
}

/// A 64-bit guest under a 64-bit host.
VmcsState long_mode() {
    const Capabilities has = skylake();
    VmcsState s;
    s.pin = settle(has.pin, pin::external_interrupts | pin::nmi | pin::virtual_nmis);
    s.primary = settle(has.primary, primary::tpr_shadow | primary::msr_bitmaps | primary::secondary);
    s.secondary = secondary::ept | secondary::unrestricted | secondary::vpid;
    s.exit = settle(has.exit, exit_control::host_64 | exit_control::load_efer | exit_control::load_pat);
    s.entry = settle(has.entry, entry_control::load_debug | entry_control::load_efer |
                                    entry_control::load_pat | entry_control::long_mode);
    s.vpid = 2;
    s.msr_bitmap = 0x5000;
    s.virtual_apic = 0x6000;
    s.ept_pointer = 0x7000 | 6 | 3 << 3 | 64;
    s.host_cr0 = 0x80000031;
    s.host_cr4 = 0x2620;
    s.host_efer = efer::lme | efer::lma | efer::nxe;
    s.host_pat = s.pat = 0x0007040600070406;
    s.host_cs = 8;
    s.host_ss = s.host_ds = s.host_es = 16;
    s.host_tr = 32;
    s.cr0 = 0x80000031;
    s.cr4 = 0x2020;
    s.efer = efer::lme | efer::lma;
    s.rflags = rflags::fixed;
    for (auto& segment : s.segment)
        segment = {0x10, 0xc093, 0xffffffff, 0};
    s.segment[seg_cs] = {8, 0xa09b, 0xffffffff, 0};
    s.segment[seg_ldtr] = {0, rights::unusable, 0, 0};
    s.segment[seg_tr] = {0x20, 0x8b, 0x67, 0};
    return s;
}

VmcsState real_mode() {
    VmcsState s = long_mode();
    s.entry &= ~entry_control::long_mode;
    s.cr0 = 0x20;
    s.cr4 = 0x2000;
    s.efer = 0;
    for (auto& segment : s.segment)
        segment = {0x100, 0x93, 0xffff, 0x1000};
    s.segment[seg_cs].access = 0x9b;
    s.segment[seg_ldtr] = {0, 0x82, 0xffff, 0};
    s.segment[seg_tr] = {0, 0x8b, 0xffff, 0};
    return s;
}

VmcsState v8086() {
    VmcsState s = real_mode();
    s.cr0 |= cr0::pe;
    s.rflags |= rflags::vm;
    for (unsigned i = 0; i <= seg_gs; ++i)
        s.segment[i].access = 0xf3;
    return s;
}

using Spoil = std::function<void(VmcsState&)>;

std::string violation(
    VmcsState state, const Spoil& spoil = [](VmcsState&) {}) {
    spoil(state);
    const char* text = find_violation(state, skylake());
    return text == nullptr ? "" : text;
}

struct Case {
    const char* expected;
    Spoil spoil;
};

void check_all(const VmcsState& valid, std::initializer_list<Case> cases) {
    for (const auto& c : cases) {
        INFO(c.expected);
        CHECK(violation(valid, c.spoil) == c.expected);
    }
}

void set_event(VmcsState& s, std::uint32_t type, std::uint32_t vector, std::uint32_t more = 0) {
    s.entry_event = event::valid | type << event::type_shift | vector | more;
}

} // namespace

TEST_CASE("valid VMCS states pass", "[vmcs]") {
    CHECK(violation(long_mode()).empty());
    CHECK(violation(real_mode()).empty());
    CHECK(violation(v8086()).empty());
    CHECK(violation(long_mode(), [](VmcsState& s) {
              set_event(s, event::hardware_exception, 14, event::error_valid);
          }).empty());
    CHECK(violation(long_mode(), [](VmcsState& s) { set_event(s, event::nmi, 2); }).empty());
    CHECK(violation(real_mode(), [](VmcsState& s) { s.activity = activity::wait_for_sipi; }).empty());
    CHECK(violation(real_mode(), [](VmcsState& s) { set_event(s, event::hardware_exception, 13); }).empty());
}

TEST_CASE("checks of the controls: 26.2.1", "[vmcs]") {
    check_all(
        long_mode(),
        {{"26.2.1.1: a reserved pin-based control", [](VmcsState& s) { s.pin = 0; }},
         {"26.2.1.1: a reserved primary processor-based control", [](VmcsState& s) { s.primary |= 1; }},
         {"26.2.1.1: too many CR3 targets", [](VmcsState& s) { s.cr3_targets = 5; }},
         {"26.2.1.1: virtual NMIs without NMI exiting", [](VmcsState& s) { s.pin &= ~pin::nmi; }},
         {"26.2.1.1: NMI-window exiting without virtual NMIs",
          [](VmcsState& s) {
              s.pin &= ~pin::virtual_nmis;
              s.primary |= primary::nmi_window;
          }},
         {"26.2.1.1: the TPR threshold's bits 31:4 are not zero", [](VmcsState& s) { s.tpr_threshold = 16; }},
         {"26.2.1.1: the TPR threshold is above the virtual TPR", [](VmcsState& s) { s.tpr_threshold = 3; }},
         {"26.2.1.1: APIC virtualization without a TPR shadow",
          [](VmcsState& s) {
              s.primary &= ~primary::tpr_shadow;
              s.secondary |= secondary::x2apic;
          }},
         {"26.2.1.1: both x2APIC mode and APIC accesses are virtualized",
          [](VmcsState& s) { s.secondary |= secondary::x2apic | secondary::apic_accesses; }},
         {"26.2.1.1: virtual-interrupt delivery without external-interrupt exiting",
          [](VmcsState& s) {
              s.secondary |= secondary::virtual_interrupts;
              s.pin &= ~pin::external_interrupts;
          }},
         {"26.2.1.1: VPIDs are enabled and the VPID is 0", [](VmcsState& s) { s.vpid = 0; }},
         {"26.2.1.1: unrestricted guest without EPT", [](VmcsState& s) { s.secondary &= ~secondary::ept; }},
         {"26.2.1.1: the address of an I/O bitmap",
          [](VmcsState& s) {
              s.primary |= primary::port_bitmaps;
              s.io_bitmap_b = 0x123;
          }},
         {"26.2.1.1: the address of the MSR bitmap", [](VmcsState& s) { s.msr_bitmap = 1ull << 40; }},
         {"26.2.1.1: the address of the virtual-APIC page", [](VmcsState& s) { s.virtual_apic += 8; }},
         {"26.2.1.1: TSC scaling by 0", [](VmcsState& s) { s.secondary |= secondary::tsc_scaling; }},
         {"26.2.1.1: the address of the APIC-access page",
          [](VmcsState& s) {
              s.secondary |= secondary::apic_accesses;
              s.apic_access = 0x10;
          }},
         {"26.2.1.1: the EPT pointer's memory type", [](VmcsState& s) { s.ept_pointer ^= 1; }},
         {"26.2.1.1: the EPT pointer's page-walk length", [](VmcsState& s) { s.ept_pointer ^= 8; }},
         {"26.2.1.1: a reserved bit of the EPT pointer", [](VmcsState& s) { s.ept_pointer |= 1 << 9; }},
         {"26.2.1.2: a reserved VM-exit control", [](VmcsState& s) { s.exit = 0; }},
         {"26.2.1.2: the preemption timer is saved, but not active",
          [](VmcsState& s) { s.exit |= exit_control::save_preemption_timer; }},
         {"26.2.1.2: the address of a VM-exit MSR area",
          [](VmcsState& s) {
              s.exit_load_count = 1;
              s.exit_load = 8;
          }},
         {"26.2.1.3: a reserved VM-entry control", [](VmcsState& s) { s.entry = 0; }},
         {"26.2.1.3: the address of the VM-entry MSR area",
          [](VmcsState& s) {
              s.entry_load_count = 2;
              s.entry_load = (1ull << 40) - 16;
          }},
         {"26.2.1.3: an entry to SMM from outside of it",
          [](VmcsState& s) { s.entry |= entry_control::to_smm; }}});
    Capabilities no_dirty = skylake();
    no_dirty.ept_vpid = 0;
    CHECK(std::string{find_violation(long_mode(), no_dirty)}.find("EPT accessed and dirty") !=
          std::string::npos);
}

TEST_CASE("checks of the event to be injected: 26.2.1.3", "[vmcs]") {
    check_all(long_mode(),
              {{"26.2.1.3: the event's type is reserved", [](VmcsState& s) { set_event(s, 1, 0); }},
               {"26.2.1.3: an NMI whose vector is not 2", [](VmcsState& s) { set_event(s, event::nmi, 3); }},
               {"26.2.1.3: a hardware exception with a vector above 31",
                [](VmcsState& s) { set_event(s, event::hardware_exception, 32); }},
               {"26.2.1.3: an event of type 7 whose vector is not 0",
                [](VmcsState& s) { set_event(s, event::other, 1); }},
               {"26.2.1.3: the event's error code is wanted and missing, or the other way round",
                [](VmcsState& s) { set_event(s, event::hardware_exception, 13); }},
               {"26.2.1.3: the event's error code is wanted and missing, or the other way round",
                [](VmcsState& s) { set_event(s, event::external, 40, event::error_valid); }},
               {"26.2.1.3: a reserved bit of the event",
                [](VmcsState& s) { set_event(s, event::hardware_exception, 6, 1 << 13); }},
               {"26.2.1.3: bits 31:16 of the event's error code are not zero",
                [](VmcsState& s) {
                    set_event(s, event::hardware_exception, 13, event::error_valid);
                    s.entry_error_code = 0x10000;
                }},
               {"26.2.1.3: the instruction length of a software event",
                [](VmcsState& s) { set_event(s, event::software_interrupt, 0x80); }}});
    CHECK(violation(real_mode(), [](VmcsState& s) {
              set_event(s, event::hardware_exception, 13, event::error_valid);
          }).find("error code") != std::string::npos);
}

TEST_CASE("checks of the host state: 26.2.2 to 26.2.4", "[vmcs]") {
    constexpr std::uint64_t odd = 1ull << 60;
    check_all(
        long_mode(),
        {{"26.2.2: the host's CR0 has a bit that VMX operation does not allow",
          [](VmcsState& s) { s.host_cr0 &= ~cr0::ne; }},
         {"26.2.2: the host's CR4 has a bit that VMX operation does not allow",
          [](VmcsState& s) { s.host_cr4 &= ~cr4::vmxe; }},
         {"26.2.2: the host's CR3 is beyond the physical address width",
          [](VmcsState& s) { s.host_cr3 = odd; }},
         {"26.2.2: a SYSENTER address of the host is not canonical",
          [](VmcsState& s) { s.host_sysenter_eip = odd; }},
         {"26.2.2: the host's PAT", [](VmcsState& s) { s.host_pat = 2; }},
         {"26.2.2: the host's EFER", [](VmcsState& s) { s.host_efer &= ~efer::lma; }},
         {"26.2.3: a host selector has RPL or TI set", [](VmcsState& s) { s.host_ds = 0x13; }},
         {"26.2.3: the host's CS or TR is null", [](VmcsState& s) { s.host_tr = 0; }},
         {"26.2.3: a segment base of the host is not canonical", [](VmcsState& s) { s.host_gs_base = odd; }},
         {"26.2.4: the host's CR4.PAE is clear", [](VmcsState& s) { s.host_cr4 &= ~cr4::pae; }},
         {"26.2.4: the host's RIP is not canonical", [](VmcsState& s) { s.host_rip = odd; }}});
}

TEST_CASE("checks of the guest's registers: 26.3.1.1", "[vmcs]") {
    constexpr std::uint64_t odd = 1ull << 60;
    check_all(long_mode(),
              {{"26.3.1.1: CR0 has a bit that VMX operation does not allow",
                [](VmcsState& s) { s.cr0 &= ~cr0::ne; }},
               {"26.3.1.1: CR0.PG is set and CR0.PE is clear", [](VmcsState& s) { s.cr0 &= ~cr0::pe; }},
               {"26.3.1.1: CR4 has a bit that VMX operation does not allow",
                [](VmcsState& s) { s.cr4 |= 1 << 15; }},
               {"26.3.1.1: a reserved bit of IA32_DEBUGCTL", [](VmcsState& s) { s.debug_control = 4; }},
               {"26.3.1.1: IA-32e mode without CR0.PG or CR4.PAE", [](VmcsState& s) { s.cr4 &= ~cr4::pae; }},
               {"26.3.1.1: CR3 is beyond the physical address width", [](VmcsState& s) { s.cr3 = odd; }},
               {"26.3.1.1: DR7[63:32] are not zero", [](VmcsState& s) { s.dr7 = odd; }},
               {"26.3.1.1: a SYSENTER address is not canonical", [](VmcsState& s) { s.sysenter_esp = odd; }},
               {"26.3.1.1: the PAT has a reserved memory type", [](VmcsState& s) { s.pat = 0x300; }},
               {"26.3.1.1: a reserved bit of EFER", [](VmcsState& s) { s.efer |= efer::svme; }},
               {"26.3.1.1: EFER.LMA differs from the IA-32e mode control",
                [](VmcsState& s) { s.efer &= ~efer::lma; }},
               {"26.3.1.1: EFER.LMA differs from EFER.LME though paging is on",
                [](VmcsState& s) { s.efer &= ~efer::lme; }}});
    CHECK(violation(real_mode(), [](VmcsState& s) { s.cr4 |= cr4::pcide; }) ==
          "26.3.1.1: CR4.PCIDE outside of IA-32e mode");
}

TEST_CASE("checks of the guest's segments: 26.3.1.2", "[vmcs]") {
    constexpr std::uint64_t odd = 1ull << 60;
    check_all(
        long_mode(),
        {{"26.3.1.2: TR is in the local descriptor table",
          [](VmcsState& s) { s.segment[seg_tr].selector |= 4; }},
         {"26.3.1.2: LDTR is in the local descriptor table",
          [](VmcsState& s) {
              s.segment[seg_ldtr] = {4, 0x82, 0, 0};
          }},
         {"26.3.1.2: the base of FS or GS is not canonical",
          [](VmcsState& s) { s.segment[seg_fs].base = odd; }},
         {"26.3.1.2: the base of CS, SS, DS or ES is above 4 GiB",
          [](VmcsState& s) { s.segment[seg_ds].base = odd; }},
         {"26.3.1.2: the base of TR or LDTR is not canonical",
          [](VmcsState& s) { s.segment[seg_tr].base = odd; }},
         {"26.3.1.2: the type of CS is not accessed code",
          [](VmcsState& s) { s.segment[seg_cs].access = 0xa09a; }},
         {"26.3.1.2: S is clear in CS", [](VmcsState& s) { s.segment[seg_cs].access = 0xa08b; }},
         {"26.3.1.2: P is clear in CS", [](VmcsState& s) { s.segment[seg_cs].access = 0xa01b; }},
         {"26.3.1.2: the DPL of CS and SS differ", [](VmcsState& s) { s.segment[seg_cs].access |= 0x60; }},
         {"26.3.1.2: the DPL of conforming CS is above that of SS",
          [](VmcsState& s) { s.segment[seg_cs].access = 0xa0ff; }},
         {"26.3.1.2: CS.L and CS.D are both set",
          [](VmcsState& s) { s.segment[seg_cs].access |= rights::size_32; }},
         {"26.3.1.2: a reserved access right of CS",
          [](VmcsState& s) { s.segment[seg_cs].access |= 1 << 8; }},
         {"26.3.1.2: the limit of CS does not fit its granularity",
          [](VmcsState& s) { s.segment[seg_cs].limit = 0xfffff000; }},
         {"26.3.1.2: the type of SS is neither 3 nor 7",
          [](VmcsState& s) { s.segment[seg_ss].access = 0xc091; }},
         {"26.3.1.2: the type of DS, ES, FS or GS is not accessed",
          [](VmcsState& s) { s.segment[seg_ds].access = 0xc092; }},
         {"26.3.1.2: DS, ES, FS or GS is code that cannot be read",
          [](VmcsState& s) { s.segment[seg_es].access = 0xc099; }},
         {"26.3.1.2: S is clear in SS, DS, ES, FS or GS",
          [](VmcsState& s) { s.segment[seg_gs].access = 0xc083; }},
         {"26.3.1.2: P is clear in SS, DS, ES, FS or GS",
          [](VmcsState& s) { s.segment[seg_gs].access = 0xc013; }},
         {"26.3.1.2: a reserved access right of SS, DS, ES, FS or GS",
          [](VmcsState& s) { s.segment[seg_fs].access |= 1 << 9; }},
         {"26.3.1.2: the limit of SS, DS, ES, FS or GS does not fit its granularity",
          [](VmcsState& s) { s.segment[seg_ds].access &= ~rights::pages; }},
         {"26.3.1.2: TR is not a busy task", [](VmcsState& s) { s.segment[seg_tr].access = 0x89; }},
         {"26.3.1.2: TR is not a busy task", [](VmcsState& s) { s.segment[seg_tr].access = 0x83; }},
         {"26.3.1.2: the access rights of TR", [](VmcsState& s) { s.segment[seg_tr].access = 0xb; }},
         {"26.3.1.2: the access rights of LDTR", [](VmcsState& s) {
              s.segment[seg_ldtr] = {8, 0x81, 0, 0};
          }}});
    check_all(real_mode(), {{"26.3.1.2: the DPL of SS is not 0 in real mode",
                             [](VmcsState& s) {
                                 s.segment[seg_cs].access |= 0x60;
                                 s.segment[seg_ss].access |= 0x60;
                             }},
                            {"26.3.1.2: CS is a data segment and its DPL is not 0",
                             [](VmcsState& s) { s.segment[seg_cs].access = 0xf3; }}});
    check_all(v8086(), {{"26.3.1.2: a base in virtual-8086 mode is not the selector times 16",
                         [](VmcsState& s) { s.segment[seg_es].base = 0; }},
                        {"26.3.1.2: a limit in virtual-8086 mode is not ffff",
                         [](VmcsState& s) { s.segment[seg_es].limit = 0xfffff; }},
                        {"26.3.1.2: access rights in virtual-8086 mode are not f3",
                         [](VmcsState& s) { s.segment[seg_ss].access = 0x93; }}});
    // Selectors and DPLs that only count without unrestricted guest mode.
    const auto restricted = [](VmcsState& s) { s.secondary &= ~secondary::unrestricted; };
    CHECK(violation(long_mode(), [&](VmcsState& s) {
              restricted(s);
              s.segment[seg_ss].selector |= 3;
          }) == "26.3.1.2: the RPL of SS and CS differ");
    CHECK(violation(long_mode(), [&](VmcsState& s) {
              restricted(s);
              s.segment[seg_ds].selector |= 3;
          }) == "26.3.1.2: the DPL of DS, ES, FS or GS is below its RPL");
}

TEST_CASE("checks of tables, RIP, RFLAGS and the rest: 26.3.1.3 to 26.3.1.6", "[vmcs]") {
    constexpr std::uint64_t odd = 1ull << 60;
    check_all(
        long_mode(),
        {{"26.3.1.3: the base of GDTR or IDTR is not canonical", [](VmcsState& s) { s.gdtr_base = odd; }},
         {"26.3.1.3: the limit of GDTR or IDTR is above ffff", [](VmcsState& s) { s.idtr_limit = 0x10000; }},
         {"26.3.1.4: RIP is not canonical", [](VmcsState& s) { s.rip = odd; }},
         {"26.3.1.4: a reserved bit of RFLAGS", [](VmcsState& s) { s.rflags = 0; }},
         {"26.3.1.4: an external interrupt with RFLAGS.IF clear",
          [](VmcsState& s) { set_event(s, event::external, 40); }},
         {"26.3.1.5: an activity state that this CPU lacks", [](VmcsState& s) { s.activity = 4; }},
         {"26.3.1.5: HLT state with a DPL of SS that is not 0",
          [](VmcsState& s) {
              s.activity = activity::hlt;
              s.segment[seg_ss].access |= 0x60;
              s.segment[seg_cs].access |= 0x60;
          }},
         {"26.3.1.5: inactive while STI or MOV SS blocks",
          [](VmcsState& s) {
              s.activity = activity::shutdown;
              s.interruptibility = blocking::mov_ss;
          }},
         {"26.3.1.5: an event that the activity state does not take",
          [](VmcsState& s) {
              s.activity = activity::hlt;
              set_event(s, event::hardware_exception, 6);
          }},
         {"26.3.1.5: a reserved bit of the interruptibility state",
          [](VmcsState& s) { s.interruptibility = 32; }},
         {"26.3.1.5: both STI and MOV SS block", [](VmcsState& s) { s.interruptibility = blocking::shadow; }},
         {"26.3.1.5: STI blocks though RFLAGS.IF is clear",
          [](VmcsState& s) { s.interruptibility = blocking::sti; }},
         {"26.3.1.5: an external interrupt while STI or MOV SS blocks",
          [](VmcsState& s) {
              s.rflags |= rflags::interrupt;
              s.interruptibility = blocking::sti;
              set_event(s, event::external, 40);
          }},
         {"26.3.1.5: an NMI while MOV SS blocks",
          [](VmcsState& s) {
              s.interruptibility = blocking::mov_ss;
              set_event(s, event::nmi, 2);
          }},
         {"26.3.1.5: an NMI while NMIs are blocked",
          [](VmcsState& s) {
              s.interruptibility = blocking::nmi;
              set_event(s, event::nmi, 2);
          }},
         {"26.3.1.5: SMIs are blocked outside of SMM",
          [](VmcsState& s) { s.interruptibility = blocking::smi; }},
         {"26.3.1.5: a reserved bit of the pending debug exceptions",
          [](VmcsState& s) { s.pending_debug = 1 << 5; }},
         {"26.3.1.5: the pending single step does not match RFLAGS.TF",
          [](VmcsState& s) {
              s.interruptibility = blocking::mov_ss;
              s.rflags |= rflags::tf;
          }},
         {"26.3.1.5: the VMCS link pointer", [](VmcsState& s) { s.link_pointer = 5; }},
         {"26.3.1.5: the VMCS link pointer", [](VmcsState& s) {
              s.link_pointer = 0x7000;
              s.link_revision = 0x55;
          }}});
    check_all(real_mode(), {{"26.3.1.4: RIP[63:32] are not zero outside of 64-bit mode",
                             [](VmcsState& s) { s.rip = odd; }}});
    CHECK(violation(v8086(), [](VmcsState& s) { s.cr0 &= ~cr0::pe; }) ==
          "26.3.1.4: RFLAGS.VM is set in IA-32e or real mode");
    CHECK(violation(long_mode(), [](VmcsState& s) {
              s.entry &= ~entry_control::long_mode;
              s.efer = 0;
              s.pdpte[1] = 3;
          }) == "26.3.1.6: a reserved bit of a page-directory-pointer-table entry");
}
