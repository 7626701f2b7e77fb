// SPDX-License-Identifier: GPL-2.0-or-later
// SDM 3C, 26.2.2 to 26.2.4: the host-state area.
#include "test/nested/vmx/invalid_state.hpp"

namespace escalus::nested::vmx {

namespace {

constexpr Mistake host_mistakes[] = {
    {"cr0-pe-clear", Refusal::Host, "26.2.2: the host's CR0", [] { clear_bits(Field::HostCr0, cr0::pe); },
     host_registers},
    {"cr0-ne-clear", Refusal::Host, "26.2.2: the host's CR0", [] { clear_bits(Field::HostCr0, cr0::ne); },
     host_registers},
    {"cr0-pg-clear", Refusal::Host, "26.2.2: the host's CR0", [] { clear_bits(Field::HostCr0, cr0::pg); },
     host_registers},
    {"cr0-bit-32", Refusal::Host, "26.2.2: the host's CR0", [] { set_bits(Field::HostCr0, 1ull << 32); },
     host_registers},
    {"cr0-bit-63", Refusal::Host, "26.2.2: the host's CR0", [] { set_bits(Field::HostCr0, 1ull << 63); },
     host_registers},
    {"cr4-vmxe-clear", Refusal::Host, "26.2.2: the host's CR4", [] { clear_bits(Field::HostCr4, cr4::vmxe); },
     host_registers},
    {"cr4-bit-31", Refusal::Host, "26.2.2: the host's CR4", [] { set_bits(Field::HostCr4, 1ull << 31); },
     host_registers},
    {"cr4-bit-63", Refusal::Host, "26.2.2: the host's CR4", [] { set_bits(Field::HostCr4, 1ull << 63); },
     host_registers},
    {"cr3-beyond-memory", Refusal::Host, "26.2.2: the host's CR3", [] { set_bits(Field::HostCr3, beyond()); },
     host_registers},
    {"cr3-bit-51", Refusal::Host, "26.2.2: the host's CR3",
     [] {
         if (capabilities.physical_bits > 51)
             skip("all address bits are in use");
         set_bits(Field::HostCr3, 1ull << 51);
     },
     host_registers},
    {"sysenter-esp-not-canonical", Refusal::Host, "26.2.2: a SYSENTER",
     [] { write(Field::HostSysenterEsp, not_canonical); }, host_registers},
    {"sysenter-eip-not-canonical", Refusal::Host, "26.2.2: a SYSENTER",
     [] { write(Field::HostSysenterEip, not_canonical); }, host_registers},
    {"efer-lma-clear", Refusal::Host, "26.2.2: the host's EFER",
     [] {
         need_exit(exit_control::load_efer);
         clear_bits(Field::HostEfer, efer::lma);
     },
     host_registers},
    {"efer-lme-clear", Refusal::Host, "26.2.2: the host's EFER",
     [] {
         need_exit(exit_control::load_efer);
         clear_bits(Field::HostEfer, efer::lme);
     },
     host_registers},
    {"efer-reserved-bit-1", Refusal::Host, "26.2.2: the host's EFER",
     [] {
         need_exit(exit_control::load_efer);
         set_bits(Field::HostEfer, 2);
     },
     host_registers},
    {"efer-svme", Refusal::Host, "26.2.2: the host's EFER",
     [] {
         need_exit(exit_control::load_efer);
         set_bits(Field::HostEfer, efer::svme);
     },
     host_registers},
    {"efer-bit-63", Refusal::Host, "26.2.2: the host's EFER",
     [] {
         need_exit(exit_control::load_efer);
         set_bits(Field::HostEfer, 1ull << 63);
     },
     host_registers},
    {"cs-null", Refusal::Host, "26.2.3: the host's CS or TR", [] { write(Field::HostCs, 0); }, host_segments},
    {"tr-null", Refusal::Host, "26.2.3: the host's CS or TR", [] { write(Field::HostTr, 0); }, host_segments},
    {"fs-base-not-canonical", Refusal::Host, "26.2.3: a segment base",
     [] { write(Field::HostFsBase, not_canonical); }, host_segments},
    {"gs-base-not-canonical", Refusal::Host, "26.2.3: a segment base",
     [] { write(Field::HostGsBase, not_canonical); }, host_segments},
    {"tr-base-not-canonical", Refusal::Host, "26.2.3: a segment base",
     [] { write(Field::HostTrBase, not_canonical); }, host_segments},
    {"gdtr-base-not-canonical", Refusal::Host, "26.2.3: a segment base",
     [] { write(Field::HostGdtrBase, not_canonical); }, host_segments},
    {"idtr-base-not-canonical", Refusal::Host, "26.2.3: a segment base",
     [] { write(Field::HostIdtrBase, not_canonical); }, host_segments},
    {"address-space-size-clear", Refusal::Host, "26.2.4: this CPU is in IA-32e mode",
     [] {
         clear_bits(Field::ExitControls, exit_control::host_64 | exit_control::load_efer);
         // Without 64 bits the checks before this one want a stack.
         write(Field::HostSs, read(Field::HostCs));
     },
     host_address_size},
    {"cr4-pae-clear", Refusal::Host, "26.2.4: the host's CR4.PAE",
     [] { clear_bits(Field::HostCr4, cr4::pae); }, host_address_size},
    {"rip-not-canonical", Refusal::Host, "26.2.4: the host's RIP",
     [] { write(Field::HostRip, not_canonical); }, host_address_size},
};
FAMILY(invalid_state, "host-", host_mistakes, "SDM 3C, 26.2.2") {
    check(row);
}

struct Selector {
    const char* name;
    Field field;
    unsigned bit;
};
constexpr Selector host_selectors[] = {
    {"es-rpl", Field::HostEs, 1}, {"es-ti", Field::HostEs, 4},  {"cs-rpl", Field::HostCs, 3},
    {"cs-ti", Field::HostCs, 4},  {"ss-rpl", Field::HostSs, 2}, {"ss-ti", Field::HostSs, 4},
    {"ds-rpl", Field::HostDs, 1}, {"ds-ti", Field::HostDs, 4},  {"fs-rpl", Field::HostFs, 1},
    {"fs-ti", Field::HostFs, 4},  {"gs-rpl", Field::HostGs, 2}, {"gs-ti", Field::HostGs, 4},
    {"tr-rpl", Field::HostTr, 3}, {"tr-ti", Field::HostTr, 4}};
FAMILY(invalid_state, "host-selector-", host_selectors, "SDM 3C, 26.2.3: RPL and TI must be 0") {
    Guest guest(nothing64);
    set_bits(row.field, row.bit);
    expect_refused(guest, Refusal::Host, "26.2.3: a host selector");
}

FAMILY(invalid_state, "host-pat-", pats, "SDM 3C, 26.2.2: only types that WRMSR takes") {
    Guest guest(nothing64);
    need_exit(exit_control::load_pat);
    spoil(Field::HostPat, row);
    expect_refused(guest, Refusal::Host, "26.2.2: the host's PAT");
}

} // namespace

} // namespace escalus::nested::vmx
