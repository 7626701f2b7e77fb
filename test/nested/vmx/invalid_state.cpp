// SPDX-License-Identifier: GPL-2.0-or-later
// Each check that VM entry makes of controls, host state and guest state, one violation at a time: refused
// as the manual says, and for the reason that the monitor's own checker (vmm/vmx/vmcs_check.cpp) names.
#include "test/nested/framework/local_apic.hpp"
#include "test/nested/vmx/guest.hpp"
#include "vmm/vmx/vmcs_check.hpp"

#include <cstring>

namespace escalus::nested::vmx {

namespace {

constexpr Group group{"vmx-invalid-state", "VM entry refuses each invalid state", vendor};

GUEST_CODE(nothing64, 64, "nop");
GUEST_CODE(nothing32, 32, "nop");
GUEST_CODE(nothing16, 16, "nop");

Code code_for(Mode mode) {
    switch (mode) {
    case Mode::Long:
        return nothing64;
    case Mode::Protected32:
    case Mode::Paged32:
    case Mode::Pae:
    case Mode::Compatibility:
        return nothing32;
    default:
        return nothing16;
    }
}

/// How VM entry refuses: VM-instruction errors 7 and 8 (section 30.4), exit reason 33 (section 26.7).
enum class Refusal { Controls = 7, Host = 8, Guest = 33 };

bool begins_with(const char* text, const char* start) {
    while (*start != 0)
        if (*text++ != *start++)
            return false;
    return true;
}

/// Whether `violation` is the rule in `reason`, which begins with its section.
void expect_reason(const char* violation, const char* reason) {
    if (!begins_with(violation, reason))
        fail("the checker says: ", violation);
}

void expect_refused(Guest& guest, Refusal refusal, const char* reason) {
    expect_reason(find_violation_in_current(), reason);
    const Entered entered = guest.enter();
    asm volatile("sti");
    if (refusal != Refusal::Guest) {
        EXPECT_EQ(entered.error, refusal);
        return;
    }
    EXPECT_EQ(entered.error, 0);
    EXPECT_EQ(entered.reason, entry_failed | number(ExitReason::InvalidGuestState));
    EXPECT_EQ(qualification(), 0);
}

struct Mistake {
    const char* name;
    Refusal refusal;
    const char* reason;
    void (*make)();
    const char* manual;
    Mode mode = Mode::Long;
};

std::uint64_t beyond() {
    return 1ull << capabilities.physical_bits;
}
constexpr std::uint64_t not_canonical = 1ull << 60;
void need_bitmaps() {
    need_primary(primary::port_bitmaps | primary::msr_bitmaps);
}
void need_tpr_shadow() {
    need_primary(primary::tpr_shadow);
}
void need_secondary_control(std::uint32_t bits) {
    need_primary(primary::secondary);
    need_secondary(bits);
}

// Section 26.2.1: the control fields.
constexpr const char* execution = "SDM 3C, 26.2.1.1";
constexpr const char* exiting = "SDM 3C, 26.2.1.2";
constexpr const char* entering = "SDM 3C, 26.2.1.3";
constexpr Mistake control_mistakes[] = {
    {"too-many-cr3-targets", Refusal::Controls, "26.2.1.1: too many CR3",
     [] { write(Field::Cr3TargetCount, (capabilities.misc >> 16 & 0x1ff) + 1); }, execution},
    {"io-bitmap-a-misaligned", Refusal::Controls, "26.2.1.1: the address of an I/O",
     [] {
         need_bitmaps();
         set_bits(Field::IoBitmapA, 0x800);
     },
     execution},
    {"io-bitmap-b-misaligned", Refusal::Controls, "26.2.1.1: the address of an I/O",
     [] {
         need_bitmaps();
         set_bits(Field::IoBitmapB, 1);
     },
     execution},
    {"io-bitmap-a-beyond-memory", Refusal::Controls, "26.2.1.1: the address of an I/O",
     [] {
         need_bitmaps();
         write(Field::IoBitmapA, beyond());
     },
     execution},
    {"io-bitmap-b-beyond-memory", Refusal::Controls, "26.2.1.1: the address of an I/O",
     [] {
         need_bitmaps();
         write(Field::IoBitmapB, beyond());
     },
     execution},
    {"msr-bitmap-misaligned", Refusal::Controls, "26.2.1.1: the address of the MSR",
     [] {
         need_bitmaps();
         set_bits(Field::MsrBitmap, 0x10);
     },
     execution},
    {"msr-bitmap-beyond-memory", Refusal::Controls, "26.2.1.1: the address of the MSR",
     [] {
         need_bitmaps();
         write(Field::MsrBitmap, beyond());
     },
     execution},
    {"virtual-apic-misaligned", Refusal::Controls, "26.2.1.1: the address of the virtual-APIC",
     [] {
         need_tpr_shadow();
         set_bits(Field::VirtualApicPage, 0x100);
     },
     execution},
    {"virtual-apic-beyond-memory", Refusal::Controls, "26.2.1.1: the address of the virtual-APIC",
     [] {
         need_tpr_shadow();
         write(Field::VirtualApicPage, beyond());
     },
     execution},
    {"tpr-threshold-reserved-bit", Refusal::Controls, "26.2.1.1: the TPR threshold's bits",
     [] {
         need_tpr_shadow();
         write(Field::TprThreshold, 0x10);
     },
     execution},
    {"tpr-threshold-above-tpr", Refusal::Controls, "26.2.1.1: the TPR threshold is above",
     [] {
         need_tpr_shadow();
         write(Field::TprThreshold, 1);
     },
     execution},
    {"virtual-nmis-without-nmi-exiting", Refusal::Controls, "26.2.1.1: virtual NMIs without",
     [] {
         need_pin(pin::virtual_nmis);
         clear_bits(Field::PinControls, pin::nmi);
     },
     execution},
    {"nmi-window-without-virtual-nmis", Refusal::Controls, "26.2.1.1: NMI-window exiting",
     [] { need_primary(primary::nmi_window); }, execution},
    {"apic-access-misaligned", Refusal::Controls, "26.2.1.1: the address of the APIC-access",
     [] {
         need_secondary_control(secondary::apic_accesses);
         write(Field::ApicAccessPage, 0x10);
     },
     execution},
    {"apic-access-beyond-memory", Refusal::Controls, "26.2.1.1: the address of the APIC-access",
     [] {
         need_secondary_control(secondary::apic_accesses);
         write(Field::ApicAccessPage, beyond());
     },
     execution},
    {"x2apic-and-apic-accesses", Refusal::Controls, "26.2.1.1: both x2APIC",
     [] {
         need_tpr_shadow();
         need_secondary_control(secondary::x2apic | secondary::apic_accesses);
     },
     execution},
    {"x2apic-without-tpr-shadow", Refusal::Controls, "26.2.1.1: APIC virtualization",
     [] { need_secondary_control(secondary::x2apic); }, execution},
    {"apic-registers-without-tpr-shadow", Refusal::Controls, "26.2.1.1: APIC virtualization",
     [] { need_secondary_control(secondary::apic_registers); }, execution},
    {"virtual-interrupts-without-tpr-shadow", Refusal::Controls, "26.2.1.1: APIC virtualization",
     [] { need_secondary_control(secondary::virtual_interrupts); }, execution},
    {"virtual-interrupts-without-interrupt-exits", Refusal::Controls, "26.2.1.1: virtual-interrupt delivery",
     [] {
         need_tpr_shadow();
         need_secondary_control(secondary::virtual_interrupts);
         clear_bits(Field::PinControls, pin::external_interrupts);
     },
     execution},
    {"vpid-0", Refusal::Controls, "26.2.1.1: VPIDs are enabled",
     [] { need_secondary_control(secondary::vpid); }, execution},
    {"tsc-multiplier-0", Refusal::Controls, "26.2.1.1: TSC scaling",
     [] {
         need_secondary_control(secondary::tsc_scaling);
         write(Field::TscMultiplier, 0);
     },
     execution},
    {"ept-pointer-type-1", Refusal::Controls, "26.2.1.1: the EPT pointer's memory type",
     [] {
         need_secondary_control(secondary::ept);
         write(Field::EptPointer, (read(Field::EptPointer) & ~7ull) | 1);
     },
     execution},
    {"ept-pointer-type-4", Refusal::Controls, "26.2.1.1: the EPT pointer's memory type",
     [] {
         need_secondary_control(secondary::ept);
         write(Field::EptPointer, (read(Field::EptPointer) & ~7ull) | 4);
     },
     execution},
    {"ept-pointer-type-7", Refusal::Controls, "26.2.1.1: the EPT pointer's memory type",
     [] {
         need_secondary_control(secondary::ept);
         set_bits(Field::EptPointer, 7);
     },
     execution},
    {"ept-pointer-walk-of-3", Refusal::Controls, "26.2.1.1: the EPT pointer's page-walk",
     [] {
         need_secondary_control(secondary::ept);
         write(Field::EptPointer, (read(Field::EptPointer) & ~0x38ull) | 2 << 3);
     },
     execution},
    {"ept-pointer-walk-of-8", Refusal::Controls, "26.2.1.1: the EPT pointer's page-walk",
     [] {
         need_secondary_control(secondary::ept);
         set_bits(Field::EptPointer, 7 << 3);
     },
     execution},
    {"ept-pointer-beyond-memory", Refusal::Controls, "26.2.1.1: a reserved bit of the EPT pointer",
     [] {
         need_secondary_control(secondary::ept);
         set_bits(Field::EptPointer, beyond());
     },
     execution},
    {"ept-dirty-not-offered", Refusal::Controls, "26.2.1.1: EPT accessed and dirty",
     [] {
         need_secondary_control(secondary::ept);
         if (has_ept(ept_capability::accessed_dirty))
             skip("the CPU has them");
         set_bits(Field::EptPointer, 64);
     },
     execution},
    {"unrestricted-without-ept", Refusal::Controls, "26.2.1.1: unrestricted guest without",
     [] {
         need_secondary_control(secondary::unrestricted);
         clear_bits(Field::SecondaryControls, secondary::ept);
     },
     execution},
    {"saved-timer-without-timer", Refusal::Controls, "26.2.1.2: the preemption timer",
     [] { need_exit(exit_control::save_preemption_timer); }, exiting},
    {"exit-store-misaligned", Refusal::Controls, "26.2.1.2: the address",
     [] {
         write(Field::ExitMsrStoreCount, 1);
         write(Field::ExitMsrStore, spare_vmcs() + 8);
     },
     exiting},
    {"exit-store-beyond-memory", Refusal::Controls, "26.2.1.2: the address",
     [] {
         write(Field::ExitMsrStoreCount, 1);
         write(Field::ExitMsrStore, beyond());
     },
     exiting},
    {"exit-store-end-beyond-memory", Refusal::Controls, "26.2.1.2: the address",
     [] {
         write(Field::ExitMsrStoreCount, 2);
         write(Field::ExitMsrStore, beyond() - 16);
     },
     exiting},
    {"exit-load-misaligned", Refusal::Controls, "26.2.1.2: the address",
     [] {
         write(Field::ExitMsrLoadCount, 1);
         write(Field::ExitMsrLoad, spare_vmcs() + 1);
     },
     exiting},
    {"exit-load-beyond-memory", Refusal::Controls, "26.2.1.2: the address",
     [] {
         write(Field::ExitMsrLoadCount, 1);
         write(Field::ExitMsrLoad, beyond());
     },
     exiting},
    {"exit-load-end-beyond-memory", Refusal::Controls, "26.2.1.2: the address",
     [] {
         write(Field::ExitMsrLoadCount, 3);
         write(Field::ExitMsrLoad, beyond() - 32);
     },
     exiting},
    {"entry-load-misaligned", Refusal::Controls, "26.2.1.3: the address",
     [] {
         write(Field::EntryMsrLoadCount, 1);
         write(Field::EntryMsrLoad, spare_vmcs() + 4);
     },
     entering},
    {"entry-load-beyond-memory", Refusal::Controls, "26.2.1.3: the address",
     [] {
         write(Field::EntryMsrLoadCount, 1);
         write(Field::EntryMsrLoad, beyond());
     },
     entering},
    {"entry-load-end-beyond-memory", Refusal::Controls, "26.2.1.3: the address",
     [] {
         write(Field::EntryMsrLoadCount, 2);
         write(Field::EntryMsrLoad, beyond() - 16);
     },
     entering},
};

void check(const Mistake& row) {
    Guest guest(row.mode, code_for(row.mode));
    row.make();
    expect_refused(guest, row.refusal, row.reason);
}

FAMILY(group, "control-", control_mistakes, "SDM 3C, 26.2.1") {
    check(row);
}

CHECK(group, "valid-state-runs", "SDM 3C, 26.2, 26.3") {
    Guest guest(nothing64);
    guest.run_to_end();
}

/// Bits of a field, each to be refused when it is set alone.
struct Bit {
    NumberedName name;
    unsigned bit;
};
template <unsigned first, unsigned last>
struct Bits {
    Bit rows[last - first + 1]{};
    constexpr Bits() {
        for (unsigned i = first; i <= last; ++i)
            rows[i - first] = {{"bit-", i}, i};
    }
};

constexpr Bits<7, 11> ept_pointer_table;
constexpr const auto& ept_pointer_bits = ept_pointer_table.rows;
FAMILY(group, "ept-pointer-", ept_pointer_bits, "SDM 3C, 26.2.1.1, table 24-9: reserved bits") {
    Guest guest(nothing64);
    need_secondary_control(secondary::ept);
    set_bits(Field::EptPointer, 1ull << row.bit);
    expect_refused(guest, Refusal::Controls, "26.2.1.1: a reserved bit of the EPT pointer");
}

// Section 26.2.1.3: the event to be injected.
struct Event {
    const char* name;
    const char* reason;
    std::uint32_t info, error_code, length;
    bool real_mode = false;
};
constexpr std::uint32_t exception = event::hardware_exception, with_code = event::error_valid;
constexpr const char* bad_type = "26.2.1.3: the event's type";
constexpr const char* bad_code = "26.2.1.3: the event's error code";
constexpr const char* bad_length = "26.2.1.3: the instruction length";
constexpr Event events[] = {
    {"type-1", bad_type, event_of(1, 0), 0, 0},
    {"nmi-vector-0", "26.2.1.3: an NMI", event_of(event::nmi, 0), 0, 0},
    {"nmi-vector-3", "26.2.1.3: an NMI", event_of(event::nmi, 3), 0, 0},
    {"exception-32", "26.2.1.3: a hardware exception", event_of(exception, 32), 0, 0},
    {"exception-255", "26.2.1.3: a hardware exception", event_of(exception, 255), 0, 0},
    {"other-vector-1", "26.2.1.3: an event of type 7", event_of(event::other, 1), 0, 0},
    {"df-without-code", bad_code, event_of(exception, 8), 0, 0},
    {"ts-without-code", bad_code, event_of(exception, 10), 0, 0},
    {"np-without-code", bad_code, event_of(exception, 11), 0, 0},
    {"ss-without-code", bad_code, event_of(exception, 12), 0, 0},
    {"gp-without-code", bad_code, event_of(exception, 13), 0, 0},
    {"pf-without-code", bad_code, event_of(exception, 14), 0, 0},
    {"ac-without-code", bad_code, event_of(exception, 17), 0, 0},
    {"de-with-code", bad_code, event_of(exception, 0) | with_code, 0, 0},
    {"db-with-code", bad_code, event_of(exception, 1) | with_code, 0, 0},
    {"ud-with-code", bad_code, event_of(exception, 6) | with_code, 0, 0},
    {"nm-with-code", bad_code, event_of(exception, 7) | with_code, 0, 0},
    {"mf-with-code", bad_code, event_of(exception, 16) | with_code, 0, 0},
    {"mc-with-code", bad_code, event_of(exception, 18) | with_code, 0, 0},
    {"xm-with-code", bad_code, event_of(exception, 19) | with_code, 0, 0},
    {"interrupt-with-code", bad_code, event_of(event::external, 0x40) | with_code, 0, 0},
    {"nmi-with-code", bad_code, event_of(event::nmi, 2) | with_code, 0, 0},
    {"software-interrupt-with-code", bad_code, event_of(event::software_interrupt, 13) | with_code, 0, 1},
    {"software-exception-with-code", bad_code, event_of(event::software_exception, 3) | with_code, 0, 1},
    {"code-in-real-mode", bad_code, event_of(exception, 13) | with_code, 0, 0, true},
    {"reserved-bit-12", "26.2.1.3: a reserved bit", event_of(event::external, 0x40) | 1 << 12, 0, 0},
    {"reserved-bit-20", "26.2.1.3: a reserved bit", event_of(event::external, 0x40) | 1 << 20, 0, 0},
    {"reserved-bit-30", "26.2.1.3: a reserved bit", event_of(event::external, 0x40) | 1 << 30, 0, 0},
    {"code-bit-16", "26.2.1.3: bits 31:16", event_of(exception, 13) | with_code, 1 << 16, 0},
    {"code-bit-31", "26.2.1.3: bits 31:16", event_of(exception, 14) | with_code, 1u << 31, 0},
    {"software-interrupt-length-16", bad_length, event_of(event::software_interrupt, 0x40), 0, 16},
    {"privileged-exception-length-16", bad_length, event_of(event::privileged_exception, 1), 0, 16},
    {"software-exception-length-16", bad_length, event_of(event::software_exception, 3), 0, 16},
    {"software-interrupt-length-0", bad_length, event_of(event::software_interrupt, 0x40), 0, 0},
    {"privileged-exception-length-0", bad_length, event_of(event::privileged_exception, 1), 0, 0},
    {"software-exception-length-0", bad_length, event_of(event::software_exception, 3), 0, 0},
};

FAMILY(group, "event-", events, "SDM 3C, 26.2.1.3, table 24-16") {
    constexpr std::uint64_t any_error_code = 1ull << 56, length_0 = 1 << 30;
    const bool hardware = event::type(row.info) == event::hardware_exception;
    if (row.reason == bad_code && hardware && !row.real_mode && (capabilities.basic & any_error_code) != 0)
        skip("this CPU takes any exception with or without an error code");
    if (row.reason == bad_length && row.length == 0 && (capabilities.misc & length_0) != 0)
        skip("this CPU takes an instruction length of 0");
    if (event::type(row.info) == event::other && !has_primary(primary::trap_flag))
        skip("no monitor trap flag: type 7 is reserved");
    Guest guest = row.real_mode ? Guest(Mode::Real, nothing16) : Guest(nothing64);
    set_bits(Field::GuestRflags, rflags::interrupt);
    write(Field::EntryEvent, row.info);
    write(Field::EntryErrorCode, row.error_code);
    write(Field::EntryInstructionLength, row.length);
    expect_refused(guest, Refusal::Controls, row.reason);
}

CHECK(group, "event-not-marked-valid", "SDM 3C, 26.2.1.3: only when bit 31 is 1") {
    Guest guest(nothing64);
    write(Field::EntryEvent, 0x7fff'f1ff);
    guest.run_to_end();
}

// Sections 26.2.2 to 26.2.4: the host-state area.
constexpr const char* host_registers = "SDM 3C, 26.2.2";
constexpr const char* host_segments = "SDM 3C, 26.2.3";
constexpr const char* host_address_size = "SDM 3C, 26.2.4";
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
FAMILY(group, "host-", host_mistakes, "SDM 3C, 26.2.2") {
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
FAMILY(group, "host-selector-", host_selectors, "SDM 3C, 26.2.3: RPL and TI must be 0") {
    Guest guest(nothing64);
    set_bits(row.field, row.bit);
    expect_refused(guest, Refusal::Host, "26.2.3: a host selector");
}

struct Pat {
    NumberedName name;
    unsigned type, entry;
};
constexpr Pat pats[] = {{{"type-", 2}, 2, 0},   {{"type-", 3}, 3, 5},     {{"type-", 8}, 8, 7},
                        {{"type-", 16}, 16, 3}, {{"type-", 255}, 255, 6}, {{"type-", 0x86}, 0x86, 1}};
void spoil(Field pat, const Pat& row) {
    const unsigned shift = row.entry * 8;
    write(pat, (read(pat) & ~(0xffull << shift)) | std::uint64_t{row.type} << shift);
}
FAMILY(group, "host-pat-", pats, "SDM 3C, 26.2.2: only types that WRMSR takes") {
    Guest guest(nothing64);
    need_exit(exit_control::load_pat);
    spoil(Field::HostPat, row);
    expect_refused(guest, Refusal::Host, "26.2.2: the host's PAT");
}
FAMILY(group, "guest-pat-", pats, "SDM 3C, 26.3.1.1: only types that WRMSR takes") {
    Guest guest(nothing64);
    need_entry(entry_control::load_pat);
    spoil(Field::GuestPat, row);
    expect_refused(guest, Refusal::Guest, "26.3.1.1: the PAT");
}

// Section 26.3.1.1: control registers, debug registers and MSRs of the guest.
constexpr const char* registers = "SDM 3C, 26.3.1.1";
constexpr Mistake register_mistakes[] = {
    {"cr0-ne-clear", Refusal::Guest, "26.3.1.1: CR0 has", [] { clear_bits(Field::GuestCr0, cr0::ne); },
     registers},
    {"cr0-bit-32", Refusal::Guest, "26.3.1.1: CR0 has", [] { set_bits(Field::GuestCr0, 1ull << 32); },
     registers},
    {"cr0-bit-63", Refusal::Guest, "26.3.1.1: CR0 has", [] { set_bits(Field::GuestCr0, 1ull << 63); },
     registers},
    {"cr0-pe-clear-when-restricted", Refusal::Guest, "26.3.1.1: CR0 has",
     [] {
         clear_bits(Field::SecondaryControls, secondary::unrestricted);
         clear_bits(Field::GuestCr0, cr0::pe);
     },
     registers, Mode::Paged32},
    {"cr0-pg-clear-when-restricted", Refusal::Guest, "26.3.1.1: CR0 has",
     [] {
         clear_bits(Field::SecondaryControls, secondary::unrestricted);
         clear_bits(Field::GuestCr0, cr0::pg);
     },
     registers, Mode::Paged32},
    {"pg-without-pe", Refusal::Guest, "26.3.1.1: CR0.PG", [] { set_bits(Field::GuestCr0, cr0::pg); },
     registers, Mode::Real},
    {"cr4-vmxe-clear", Refusal::Guest, "26.3.1.1: CR4", [] { clear_bits(Field::GuestCr4, cr4::vmxe); },
     registers},
    {"long-mode-without-pg", Refusal::Guest, "26.3.1.1: IA-32e mode without",
     [] { clear_bits(Field::GuestCr0, cr0::pg); }, registers},
    {"long-mode-without-pae", Refusal::Guest, "26.3.1.1: IA-32e mode without",
     [] { clear_bits(Field::GuestCr4, cr4::pae); }, registers},
    {"pcide-outside-long-mode", Refusal::Guest, "26.3.1.1: CR4.PCIDE",
     [] {
         if ((capabilities.cr4_fixed1 & cr4::pcide) == 0)
             skip("no PCIDs");
         set_bits(Field::GuestCr4, cr4::pcide);
     },
     registers, Mode::Pae},
    {"sysenter-esp-not-canonical", Refusal::Guest, "26.3.1.1: a SYSENTER",
     [] { write(Field::GuestSysenterEsp, not_canonical); }, registers},
    {"sysenter-eip-not-canonical", Refusal::Guest, "26.3.1.1: a SYSENTER",
     [] { write(Field::GuestSysenterEip, not_canonical); }, registers},
    {"efer-lma-clear-in-long-mode", Refusal::Guest, "26.3.1.1: EFER.LMA differs from the",
     [] {
         need_entry(entry_control::load_efer);
         clear_bits(Field::GuestEfer, efer::lma | efer::lme);
     },
     registers},
    {"efer-lma-set-outside-long-mode", Refusal::Guest, "26.3.1.1: EFER.LMA differs from the",
     [] {
         need_entry(entry_control::load_efer);
         set_bits(Field::GuestEfer, efer::lma | efer::lme);
     },
     registers, Mode::Pae},
    {"efer-lme-clear-with-paging", Refusal::Guest, "26.3.1.1: EFER.LMA differs from EFER.LME",
     [] {
         need_entry(entry_control::load_efer);
         clear_bits(Field::GuestEfer, efer::lme);
     },
     registers},
    {"efer-lme-set-with-paging", Refusal::Guest, "26.3.1.1: EFER.LMA differs from EFER.LME",
     [] {
         need_entry(entry_control::load_efer);
         set_bits(Field::GuestEfer, efer::lme);
     },
     registers, Mode::Pae},
};
FAMILY(group, "guest-", register_mistakes, "SDM 3C, 26.3.1.1") {
    check(row);
}

/// One bit in a field of the guest-state area.
struct FieldBit {
    NumberedName name;
    Field field;
    unsigned bit;
    const char* reason;
    const char* manual;
};
constexpr FieldBit field_bits[] = {
    {{"cr4-bit-", 26}, Field::GuestCr4, 26, "26.3.1.1: CR4", registers},
    {{"cr4-bit-", 29}, Field::GuestCr4, 29, "26.3.1.1: CR4", registers},
    {{"cr4-bit-", 30}, Field::GuestCr4, 30, "26.3.1.1: CR4", registers},
    {{"cr4-bit-", 31}, Field::GuestCr4, 31, "26.3.1.1: CR4", registers},
    {{"cr4-bit-", 33}, Field::GuestCr4, 33, "26.3.1.1: CR4", registers},
    {{"cr4-bit-", 48}, Field::GuestCr4, 48, "26.3.1.1: CR4", registers},
    {{"cr4-bit-", 63}, Field::GuestCr4, 63, "26.3.1.1: CR4", registers},
    {{"debugctl-bit-", 3}, Field::GuestDebugControl, 3, "26.3.1.1: a reserved bit of IA32_D", registers},
    {{"debugctl-bit-", 4}, Field::GuestDebugControl, 4, "26.3.1.1: a reserved bit of IA32_D", registers},
    {{"debugctl-bit-", 5}, Field::GuestDebugControl, 5, "26.3.1.1: a reserved bit of IA32_D", registers},
    {{"debugctl-bit-", 16}, Field::GuestDebugControl, 16, "26.3.1.1: a reserved bit of IA32_D", registers},
    {{"debugctl-bit-", 31}, Field::GuestDebugControl, 31, "26.3.1.1: a reserved bit of IA32_D", registers},
    {{"debugctl-bit-", 32}, Field::GuestDebugControl, 32, "26.3.1.1: a reserved bit of IA32_D", registers},
    {{"debugctl-bit-", 63}, Field::GuestDebugControl, 63, "26.3.1.1: a reserved bit of IA32_D", registers},
    {{"dr7-bit-", 32}, Field::GuestDr7, 32, "26.3.1.1: DR7", registers},
    {{"dr7-bit-", 40}, Field::GuestDr7, 40, "26.3.1.1: DR7", registers},
    {{"dr7-bit-", 63}, Field::GuestDr7, 63, "26.3.1.1: DR7", registers},
    {{"cr3-bit-", 52}, Field::GuestCr3, 52, "26.3.1.1: CR3", registers},
    {{"cr3-bit-", 60}, Field::GuestCr3, 60, "26.3.1.1: CR3", registers},
    {{"cr3-bit-", 63}, Field::GuestCr3, 63, "26.3.1.1: CR3", registers},
    {{"efer-bit-", 1}, Field::GuestEfer, 1, "26.3.1.1: a reserved bit of EFER", registers},
    {{"efer-bit-", 7}, Field::GuestEfer, 7, "26.3.1.1: a reserved bit of EFER", registers},
    {{"efer-bit-", 9}, Field::GuestEfer, 9, "26.3.1.1: a reserved bit of EFER", registers},
    {{"efer-bit-", 12}, Field::GuestEfer, 12, "26.3.1.1: a reserved bit of EFER", registers},
    {{"efer-bit-", 16}, Field::GuestEfer, 16, "26.3.1.1: a reserved bit of EFER", registers},
    {{"efer-bit-", 32}, Field::GuestEfer, 32, "26.3.1.1: a reserved bit of EFER", registers},
    {{"efer-bit-", 63}, Field::GuestEfer, 63, "26.3.1.1: a reserved bit of EFER", registers},
    {{"rflags-bit-", 3}, Field::GuestRflags, 3, "26.3.1.4: a reserved bit", "SDM 3C, 26.3.1.4"},
    {{"rflags-bit-", 5}, Field::GuestRflags, 5, "26.3.1.4: a reserved bit", "SDM 3C, 26.3.1.4"},
    {{"rflags-bit-", 15}, Field::GuestRflags, 15, "26.3.1.4: a reserved bit", "SDM 3C, 26.3.1.4"},
    {{"rflags-bit-", 22}, Field::GuestRflags, 22, "26.3.1.4: a reserved bit", "SDM 3C, 26.3.1.4"},
    {{"rflags-bit-", 31}, Field::GuestRflags, 31, "26.3.1.4: a reserved bit", "SDM 3C, 26.3.1.4"},
    {{"rflags-bit-", 32}, Field::GuestRflags, 32, "26.3.1.4: a reserved bit", "SDM 3C, 26.3.1.4"},
    {{"rflags-bit-", 63}, Field::GuestRflags, 63, "26.3.1.4: a reserved bit", "SDM 3C, 26.3.1.4"},
    {{"interruptibility-bit-", 5},
     Field::GuestInterruptibility,
     5,
     "26.3.1.5: a reserved bit of the i",
     "SDM 3C, 26.3.1.5"},
    {{"interruptibility-bit-", 8},
     Field::GuestInterruptibility,
     8,
     "26.3.1.5: a reserved bit of the i",
     "SDM 3C, 26.3.1.5"},
    {{"interruptibility-bit-", 31},
     Field::GuestInterruptibility,
     31,
     "26.3.1.5: a reserved bit of the i",
     "SDM 3C, 26.3.1.5"},
    {{"pending-debug-bit-", 4},
     Field::GuestPendingDebug,
     4,
     "26.3.1.5: a reserved bit of the p",
     "SDM 3C, 26.3.1.5"},
    {{"pending-debug-bit-", 13},
     Field::GuestPendingDebug,
     13,
     "26.3.1.5: a reserved bit of the p",
     "SDM 3C, 26.3.1.5"},
    {{"pending-debug-bit-", 15},
     Field::GuestPendingDebug,
     15,
     "26.3.1.5: a reserved bit of the p",
     "SDM 3C, 26.3.1.5"},
    {{"pending-debug-bit-", 17},
     Field::GuestPendingDebug,
     17,
     "26.3.1.5: a reserved bit of the p",
     "SDM 3C, 26.3.1.5"},
    {{"pending-debug-bit-", 63},
     Field::GuestPendingDebug,
     63,
     "26.3.1.5: a reserved bit of the p",
     "SDM 3C, 26.3.1.5"},
    {{"gdtr-limit-bit-", 16}, Field::GuestGdtrLimit, 16, "26.3.1.3: the limit", "SDM 3C, 26.3.1.3"},
    {{"gdtr-limit-bit-", 31}, Field::GuestGdtrLimit, 31, "26.3.1.3: the limit", "SDM 3C, 26.3.1.3"},
    {{"idtr-limit-bit-", 16}, Field::GuestIdtrLimit, 16, "26.3.1.3: the limit", "SDM 3C, 26.3.1.3"},
    {{"idtr-limit-bit-", 31}, Field::GuestIdtrLimit, 31, "26.3.1.3: the limit", "SDM 3C, 26.3.1.3"},
    {{"gdtr-base-bit-", 60}, Field::GuestGdtrBase, 60, "26.3.1.3: the base", "SDM 3C, 26.3.1.3"},
    {{"idtr-base-bit-", 60}, Field::GuestIdtrBase, 60, "26.3.1.3: the base", "SDM 3C, 26.3.1.3"},
};
FAMILY(group, "guest-", field_bits, "SDM 3C, 26.3.1") {
    Guest guest(nothing64);
    if (row.field == Field::GuestCr4 && (capabilities.cr4_fixed1 >> row.bit & 1) != 0)
        skip("this CPU knows the bit");
    if (row.field == Field::GuestEfer)
        need_entry(entry_control::load_efer);
    set_bits(row.field, 1ull << row.bit);
    expect_refused(guest, Refusal::Guest, row.reason);
}

CHECK(group, "guest-cr3-beyond-memory", "SDM 3C, 26.3.1.1") {
    Guest guest(nothing64);
    set_bits(Field::GuestCr3, beyond());
    expect_refused(guest, Refusal::Guest, "26.3.1.1: CR3");
}

// Section 26.3.1.2: segment registers.
constexpr unsigned segments[] = {seg_es, seg_cs, seg_ss, seg_ds, seg_fs, seg_gs};

struct Segment {
    const char* name;
    unsigned index;
};
constexpr Segment segment_rows[] = {{"es", seg_es}, {"cs", seg_cs}, {"ss", seg_ss},
                                    {"ds", seg_ds}, {"fs", seg_fs}, {"gs", seg_gs}};

Field rights_of(unsigned segment) {
    return nth(Field::GuestEsRights, segment);
}
Field base_of(unsigned segment) {
    return nth(Field::GuestEsBase, segment);
}
Field limit_of(unsigned segment) {
    return nth(Field::GuestEsLimit, segment);
}
Field selector_of(unsigned segment) {
    return nth(Field::GuestEs, segment);
}

FAMILY(group, "v8086-base-", segment_rows, "SDM 3C, 26.3.1.2: the selector times 16") {
    Guest guest(Mode::Virtual8086, nothing16);
    write(base_of(row.index), read(base_of(row.index)) + 16);
    expect_refused(guest, Refusal::Guest, "26.3.1.2: a base in virtual-8086");
}
FAMILY(group, "v8086-limit-", segment_rows, "SDM 3C, 26.3.1.2: must be FFFFh") {
    Guest guest(Mode::Virtual8086, nothing16);
    write(limit_of(row.index), 0xfffe);
    expect_refused(guest, Refusal::Guest, "26.3.1.2: a limit in virtual-8086");
}
FAMILY(group, "v8086-rights-", segment_rows, "SDM 3C, 26.3.1.2: must be F3h") {
    Guest guest(Mode::Virtual8086, nothing16);
    write(rights_of(row.index), 0x93);
    expect_refused(guest, Refusal::Guest, "26.3.1.2: access rights in virtual-8086");
}
FAMILY(group, "not-present-", segment_rows, "SDM 3C, 26.3.1.2: P must be 1") {
    Guest guest(nothing64);
    clear_bits(rights_of(row.index), rights::present);
    expect_refused(guest, Refusal::Guest, "26.3.1.2: P is clear");
}
FAMILY(group, "system-", segment_rows, "SDM 3C, 26.3.1.2: S must be 1") {
    Guest guest(nothing64);
    clear_bits(rights_of(row.index), rights::code_or_data);
    expect_refused(guest, Refusal::Guest, "26.3.1.2: S is clear");
}
FAMILY(group, "reserved-right-8-", segment_rows, "SDM 3C, 26.3.1.2: bits 11:8 must be 0") {
    Guest guest(nothing64);
    set_bits(rights_of(row.index), 1 << 8);
    expect_refused(guest, Refusal::Guest, "26.3.1.2: a reserved access right");
}
FAMILY(group, "reserved-right-31-", segment_rows, "SDM 3C, 26.3.1.2: bits 31:17 must be 0") {
    Guest guest(nothing64);
    set_bits(rights_of(row.index), 1u << 31);
    expect_refused(guest, Refusal::Guest, "26.3.1.2: a reserved access right");
}
FAMILY(group, "granularity-set-", segment_rows, "SDM 3C, 26.3.1.2: G and limit bits 11:0") {
    Guest guest(Mode::Paged32, nothing32);
    write(limit_of(row.index), 0xffff'fffe);
    expect_refused(guest, Refusal::Guest, "26.3.1.2: the limit of");
}
FAMILY(group, "granularity-clear-", segment_rows, "SDM 3C, 26.3.1.2: G and limit bits 31:20") {
    Guest guest(Mode::Paged32, nothing32);
    write(limit_of(row.index), 0x10'0000);
    clear_bits(rights_of(row.index), rights::pages);
    expect_refused(guest, Refusal::Guest, "26.3.1.2: the limit of");
}

struct Rights {
    NumberedName name;
    unsigned segment, value;
    const char* reason;
};
constexpr Rights types[] = {
    {{"cs-", 0}, seg_cs, 0, "26.3.1.2: the type of CS"},
    {{"cs-", 1}, seg_cs, 1, "26.3.1.2: the type of CS"},
    {{"cs-", 2}, seg_cs, 2, "26.3.1.2: the type of CS"},
    {{"cs-", 5}, seg_cs, 5, "26.3.1.2: the type of CS"},
    {{"cs-", 7}, seg_cs, 7, "26.3.1.2: the type of CS"},
    {{"cs-", 8}, seg_cs, 8, "26.3.1.2: the type of CS"},
    {{"cs-", 10}, seg_cs, 10, "26.3.1.2: the type of CS"},
    {{"cs-", 12}, seg_cs, 12, "26.3.1.2: the type of CS"},
    {{"cs-", 14}, seg_cs, 14, "26.3.1.2: the type of CS"},
    {{"ss-", 0}, seg_ss, 0, "26.3.1.2: the type of SS"},
    {{"ss-", 1}, seg_ss, 1, "26.3.1.2: the type of SS"},
    {{"ss-", 2}, seg_ss, 2, "26.3.1.2: the type of SS"},
    {{"ss-", 5}, seg_ss, 5, "26.3.1.2: the type of SS"},
    {{"ss-", 11}, seg_ss, 11, "26.3.1.2: the type of SS"},
    {{"ss-", 15}, seg_ss, 15, "26.3.1.2: the type of SS"},
    {{"ds-", 0}, seg_ds, 0, "26.3.1.2: the type of DS"},
    {{"ds-", 2}, seg_ds, 2, "26.3.1.2: the type of DS"},
    {{"ds-", 9}, seg_ds, 9, "26.3.1.2: DS, ES, FS or GS is code"},
    {{"ds-", 10}, seg_ds, 10, "26.3.1.2: the type of DS"},
    {{"es-", 2}, seg_es, 2, "26.3.1.2: the type of DS"},
    {{"es-", 13}, seg_es, 13, "26.3.1.2: DS, ES, FS or GS is code"},
    {{"fs-", 6}, seg_fs, 6, "26.3.1.2: the type of DS"},
    {{"fs-", 9}, seg_fs, 9, "26.3.1.2: DS, ES, FS or GS is code"},
    {{"gs-", 4}, seg_gs, 4, "26.3.1.2: the type of DS"},
    {{"gs-", 13}, seg_gs, 13, "26.3.1.2: DS, ES, FS or GS is code"},
    {{"tr-", 0}, seg_tr, 0, "26.3.1.2: TR is not a busy task"},
    {{"tr-", 1}, seg_tr, 1, "26.3.1.2: TR is not a busy task"},
    {{"tr-", 2}, seg_tr, 2, "26.3.1.2: TR is not a busy task"},
    {{"tr-", 3}, seg_tr, 3, "26.3.1.2: TR is not a busy task"}, // 16 bits: not in IA-32e mode
    {{"tr-", 9}, seg_tr, 9, "26.3.1.2: TR is not a busy task"},
    {{"ldtr-", 0}, seg_ldtr, 0, "26.3.1.2: the access rights of LDTR"},
    {{"ldtr-", 3}, seg_ldtr, 3, "26.3.1.2: the access rights of LDTR"},
    {{"ldtr-", 11}, seg_ldtr, 11, "26.3.1.2: the access rights of LDTR"},
};
FAMILY(group, "type-of-", types, "SDM 3C, 26.3.1.2: the type of a segment") {
    Guest guest(nothing64);
    write(rights_of(row.segment), (read(rights_of(row.segment)) & ~15ull) | row.value);
    expect_refused(guest, Refusal::Guest, row.reason);
}

void restrict_guest() {
    clear_bits(Field::SecondaryControls, secondary::unrestricted);
}
void set_dpl(unsigned segment, unsigned dpl) {
    write(rights_of(segment),
          (read(rights_of(segment)) & ~0x60ull) | std::uint64_t{dpl} << rights::dpl_shift);
}
constexpr const char* segment_checks = "SDM 3C, 26.3.1.2";
constexpr Mistake segment_mistakes[] = {
    {"tr-selector-ti", Refusal::Guest, "26.3.1.2: TR is in", [] { set_bits(selector_of(seg_tr), 4); },
     segment_checks},
    {"ldtr-selector-ti", Refusal::Guest, "26.3.1.2: LDTR is in", [] { set_bits(selector_of(seg_ldtr), 4); },
     segment_checks},
    {"ss-rpl-is-not-that-of-cs", Refusal::Guest, "26.3.1.2: the RPL of SS",
     [] {
         restrict_guest();
         set_bits(selector_of(seg_ss), 3);
     },
     segment_checks},
    {"tr-base-not-canonical", Refusal::Guest, "26.3.1.2: the base of TR",
     [] { write(base_of(seg_tr), not_canonical); }, segment_checks},
    {"ldtr-base-not-canonical", Refusal::Guest, "26.3.1.2: the base of TR or LDTR",
     [] { write(base_of(seg_ldtr), not_canonical); }, segment_checks},
    {"fs-base-not-canonical", Refusal::Guest, "26.3.1.2: the base of FS",
     [] { write(base_of(seg_fs), not_canonical); }, segment_checks},
    {"gs-base-not-canonical", Refusal::Guest, "26.3.1.2: the base of FS or GS",
     [] { write(base_of(seg_gs), not_canonical); }, segment_checks},
    {"cs-base-above-4g", Refusal::Guest, "26.3.1.2: the base of CS",
     [] { write(base_of(seg_cs), 1ull << 32); }, segment_checks},
    {"ss-base-above-4g", Refusal::Guest, "26.3.1.2: the base of CS, SS",
     [] { write(base_of(seg_ss), 1ull << 32); }, segment_checks},
    {"ds-base-above-4g", Refusal::Guest, "26.3.1.2: the base of CS, SS, DS",
     [] { write(base_of(seg_ds), 1ull << 32); }, segment_checks},
    {"es-base-above-4g", Refusal::Guest, "26.3.1.2: the base of CS, SS, DS or ES",
     [] { write(base_of(seg_es), 1ull << 32); }, segment_checks},
    {"cs-l-and-d", Refusal::Guest, "26.3.1.2: CS.L and CS.D",
     [] { set_bits(rights_of(seg_cs), rights::size_32); }, segment_checks},
    {"cs-dpl-is-not-that-of-ss", Refusal::Guest, "26.3.1.2: the DPL of CS and SS", [] { set_dpl(seg_cs, 3); },
     segment_checks},
    {"conforming-cs-dpl-above-that-of-ss", Refusal::Guest, "26.3.1.2: the DPL of conforming CS",
     [] {
         set_bits(rights_of(seg_cs), 4);
         set_dpl(seg_cs, 1);
     },
     segment_checks},
    {"data-cs-dpl-not-0", Refusal::Guest, "26.3.1.2: CS is a data segment",
     [] {
         write(rights_of(seg_cs), 0x93);
         set_dpl(seg_cs, 1);
     },
     segment_checks, Mode::Real},
    {"data-cs-when-restricted", Refusal::Guest, "26.3.1.2: the type of CS",
     [] {
         restrict_guest();
         write(rights_of(seg_cs), (read(rights_of(seg_cs)) & ~15ull) | 3);
     },
     segment_checks, Mode::Paged32},
    {"ss-dpl-is-not-its-rpl", Refusal::Guest, "26.3.1.2: the DPL of SS",
     [] {
         restrict_guest();
         set_bits(rights_of(seg_cs), 4); // conforming, so that the DPL of CS does not matter
         set_dpl(seg_ss, 3);
     },
     segment_checks},
    {"ss-dpl-in-real-mode", Refusal::Guest, "26.3.1.2: the DPL of SS is not 0",
     [] {
         set_dpl(seg_ss, 3);
         set_dpl(seg_cs, 3);
     },
     segment_checks, Mode::Real},
    {"ds-dpl-below-rpl", Refusal::Guest, "26.3.1.2: the DPL of DS",
     [] {
         restrict_guest();
         set_bits(selector_of(seg_ds), 3);
     },
     segment_checks},
    {"es-dpl-below-rpl", Refusal::Guest, "26.3.1.2: the DPL of DS",
     [] {
         restrict_guest();
         set_bits(selector_of(seg_es), 1);
     },
     segment_checks},
    {"fs-dpl-below-rpl", Refusal::Guest, "26.3.1.2: the DPL of DS",
     [] {
         restrict_guest();
         set_bits(selector_of(seg_fs), 2);
     },
     segment_checks},
    {"gs-dpl-below-rpl", Refusal::Guest, "26.3.1.2: the DPL of DS",
     [] {
         restrict_guest();
         set_bits(selector_of(seg_gs), 3);
     },
     segment_checks},
    {"tr-unusable", Refusal::Guest, "26.3.1.2: TR is not a busy task",
     [] { set_bits(rights_of(seg_tr), rights::unusable); }, segment_checks},
    {"tr-not-present", Refusal::Guest, "26.3.1.2: the access rights of TR",
     [] { clear_bits(rights_of(seg_tr), rights::present); }, segment_checks},
    {"tr-code-or-data", Refusal::Guest, "26.3.1.2: the access rights of TR",
     [] { set_bits(rights_of(seg_tr), rights::code_or_data); }, segment_checks},
    {"tr-reserved-right-11", Refusal::Guest, "26.3.1.2: the access rights of TR",
     [] { set_bits(rights_of(seg_tr), 1 << 11); }, segment_checks},
    {"tr-reserved-right-17", Refusal::Guest, "26.3.1.2: the access rights of TR",
     [] { set_bits(rights_of(seg_tr), 1 << 17); }, segment_checks},
    {"tr-granularity-set", Refusal::Guest, "26.3.1.2: the access rights of TR",
     [] { set_bits(rights_of(seg_tr), rights::pages); }, segment_checks},
    {"tr-granularity-clear", Refusal::Guest, "26.3.1.2: the access rights of TR",
     [] { write(limit_of(seg_tr), 0x10'0067); }, segment_checks},
    {"ldtr-not-present", Refusal::Guest, "26.3.1.2: the access rights of LDTR",
     [] { clear_bits(rights_of(seg_ldtr), rights::present); }, segment_checks},
    {"ldtr-code-or-data", Refusal::Guest, "26.3.1.2: the access rights of LDTR",
     [] { set_bits(rights_of(seg_ldtr), rights::code_or_data); }, segment_checks},
    {"ldtr-reserved-right-8", Refusal::Guest, "26.3.1.2: the access rights of LDTR",
     [] { set_bits(rights_of(seg_ldtr), 1 << 8); }, segment_checks},
    {"ldtr-reserved-right-20", Refusal::Guest, "26.3.1.2: the access rights of LDTR",
     [] { set_bits(rights_of(seg_ldtr), 1 << 20); }, segment_checks},
    {"ldtr-granularity-set", Refusal::Guest, "26.3.1.2: the access rights of LDTR",
     [] {
         set_bits(rights_of(seg_ldtr), rights::pages);
         write(limit_of(seg_ldtr), 0xfffe);
     },
     segment_checks},
    {"ldtr-granularity-clear", Refusal::Guest, "26.3.1.2: the access rights of LDTR",
     [] { write(limit_of(seg_ldtr), 0x10'ffff); }, segment_checks},
};
FAMILY(group, "segment-", segment_mistakes, "SDM 3C, 26.3.1.2") {
    check(row);
}

// Sections 26.3.1.4 and 26.3.1.5: RIP, RFLAGS, and what is in no register.
constexpr const char* rip_rflags = "SDM 3C, 26.3.1.4";
constexpr const char* non_register = "SDM 3C, 26.3.1.5";
void be_in(std::uint64_t state) {
    if (state != activity::active && (capabilities.misc >> (5 + state) & 1) == 0)
        skip("this CPU does not have the activity state");
    write(Field::GuestActivity, state);
    // Should it be entered, the timer ends it soon.
    set_bits(Field::GuestRflags, rflags::interrupt);
    local_apic::arm_timer(100);
}
void block(std::uint32_t bits) {
    set_bits(Field::GuestInterruptibility, bits);
    set_bits(Field::GuestRflags, rflags::interrupt);
}
constexpr Mistake other_mistakes[] = {
    {"rip-bit-32-in-compatibility-mode", Refusal::Guest, "26.3.1.4: RIP[63:32]",
     [] { set_bits(Field::GuestRip, 1ull << 32); }, rip_rflags, Mode::Compatibility},
    {"rip-bit-32-in-protected-mode", Refusal::Guest, "26.3.1.4: RIP[63:32]",
     [] { set_bits(Field::GuestRip, 1ull << 32); }, rip_rflags, Mode::Paged32},
    {"rip-not-canonical", Refusal::Guest, "26.3.1.4: RIP is not",
     [] { write(Field::GuestRip, not_canonical); }, rip_rflags},
    {"rflags-fixed-bit-clear", Refusal::Guest, "26.3.1.4: a reserved bit",
     [] { clear_bits(Field::GuestRflags, rflags::fixed); }, rip_rflags},
    {"v8086-in-long-mode", Refusal::Guest, "26.3.1.", [] { set_bits(Field::GuestRflags, rflags::vm); },
     rip_rflags, Mode::Compatibility},
    {"v8086-in-real-mode", Refusal::Guest, "26.3.1.4: RFLAGS.VM",
     [] {
         for (const unsigned segment : segments)
             write(rights_of(segment), 0xf3);
         set_bits(Field::GuestRflags, rflags::vm);
     },
     rip_rflags, Mode::Real},
    {"interrupt-injected-with-if-clear", Refusal::Guest, "26.3.1.4: an external interrupt",
     [] { inject(event::external, 0x40); }, rip_rflags},
    {"activity-4", Refusal::Guest, "26.3.1.5: an activity state", [] { write(Field::GuestActivity, 4); },
     non_register},
    {"activity-huge", Refusal::Guest, "26.3.1.5: an activity state",
     [] { write(Field::GuestActivity, 0x8000'0001); }, non_register},
    {"hlt-with-ss-dpl-3", Refusal::Guest, "26.3.1.5: HLT state",
     [] {
         be_in(activity::hlt);
         Guest::to_user();
     },
     non_register},
    {"hlt-blocked-by-sti", Refusal::Guest, "26.3.1.5: inactive while",
     [] {
         be_in(activity::hlt);
         block(blocking::sti);
     },
     non_register},
    {"hlt-blocked-by-mov-ss", Refusal::Guest, "26.3.1.5: inactive while",
     [] {
         be_in(activity::hlt);
         block(blocking::mov_ss);
     },
     non_register},
    {"shutdown-blocked-by-sti", Refusal::Guest, "26.3.1.5: inactive while",
     [] {
         be_in(activity::shutdown);
         block(blocking::sti);
     },
     non_register},
    {"wait-for-sipi-blocked-by-mov-ss", Refusal::Guest, "26.3.1.5: inactive while",
     [] {
         be_in(activity::wait_for_sipi);
         block(blocking::mov_ss);
     },
     non_register},
    {"hlt-with-ud", Refusal::Guest, "26.3.1.5: an event that",
     [] {
         be_in(activity::hlt);
         inject(exception, 6);
     },
     non_register},
    {"hlt-with-gp", Refusal::Guest, "26.3.1.5: an event that",
     [] {
         be_in(activity::hlt);
         inject(exception, 13, 0);
     },
     non_register},
    {"hlt-with-software-interrupt", Refusal::Guest, "26.3.1.5: an event that",
     [] {
         be_in(activity::hlt);
         inject(event::software_interrupt, 0x40);
         write(Field::EntryInstructionLength, 1);
     },
     non_register},
    {"shutdown-with-interrupt", Refusal::Guest, "26.3.1.5: an event that",
     [] {
         be_in(activity::shutdown);
         set_bits(Field::GuestRflags, rflags::interrupt);
         inject(event::external, 0x40);
     },
     non_register},
    {"shutdown-with-db", Refusal::Guest, "26.3.1.5: an event that",
     [] {
         be_in(activity::shutdown);
         inject(exception, 1);
     },
     non_register},
    {"wait-for-sipi-with-nmi", Refusal::Guest, "26.3.1.5: an event that",
     [] {
         be_in(activity::wait_for_sipi);
         inject(event::nmi, 2);
     },
     non_register},
    {"both-sti-and-mov-ss-block", Refusal::Guest, "26.3.1.5: both STI",
     [] { block(blocking::sti | blocking::mov_ss); }, non_register},
    {"sti-blocks-with-if-clear", Refusal::Guest, "26.3.1.5: STI blocks",
     [] { set_bits(Field::GuestInterruptibility, blocking::sti); }, non_register},
    {"interrupt-while-sti-blocks", Refusal::Guest, "26.3.1.5: an external interrupt while",
     [] {
         block(blocking::sti);
         inject(event::external, 0x40);
     },
     non_register},
    {"interrupt-while-mov-ss-blocks", Refusal::Guest, "26.3.1.5: an external interrupt while",
     [] {
         block(blocking::mov_ss);
         inject(event::external, 0x40);
     },
     non_register},
    {"nmi-while-mov-ss-blocks", Refusal::Guest, "26.3.1.5: an NMI while MOV SS",
     [] {
         block(blocking::mov_ss);
         inject(event::nmi, 2);
     },
     non_register},
    {"smi-blocking-outside-smm", Refusal::Guest, "26.3.1.5: SMIs are blocked",
     [] { set_bits(Field::GuestInterruptibility, blocking::smi); }, non_register},
    {"nmi-while-virtual-nmis-are-blocked", Refusal::Guest, "26.3.1.5: an NMI while NMIs",
     [] {
         need_pin(pin::virtual_nmis);
         set_bits(Field::GuestInterruptibility, blocking::nmi);
         inject(event::nmi, 2);
     },
     non_register},
    {"shadow-and-tf-without-pending-step", Refusal::Guest, "26.3.1.5: the pending single step",
     [] {
         block(blocking::sti);
         set_bits(Field::GuestRflags, rflags::tf);
     },
     non_register},
    {"shadow-without-tf-with-pending-step", Refusal::Guest, "26.3.1.5: the pending single step",
     [] {
         block(blocking::mov_ss);
         write(Field::GuestPendingDebug, pending_debug::single_step);
     },
     non_register},
    {"shadow-and-btf-with-pending-step", Refusal::Guest, "26.3.1.5: the pending single step",
     [] {
         block(blocking::sti);
         set_bits(Field::GuestRflags, rflags::tf);
         write(Field::GuestDebugControl, 2);
         write(Field::GuestPendingDebug, pending_debug::single_step);
     },
     non_register},
    {"hlt-and-tf-without-pending-step", Refusal::Guest, "26.3.1.5: the pending single step",
     [] {
         be_in(activity::hlt);
         set_bits(Field::GuestRflags, rflags::tf);
     },
     non_register},
};
FAMILY(group, "state-", other_mistakes, "SDM 3C, 26.3.1") {
    check(row);
}

struct Link {
    const char* name;
    std::uint64_t (*pointer)();
};
std::uint64_t other_revision() {
    const std::uint32_t revision = static_cast<std::uint32_t>(capabilities.basic) ^ 1;
    std::memcpy(guest_memory.data, &revision, sizeof revision);
    return reinterpret_cast<std::uint64_t>(guest_memory.data);
}
constexpr Link links[] = {{"misaligned", [] { return spare_vmcs() + 0x800; }},
                          {"beyond-memory", beyond},
                          {"other-revision", other_revision}};
FAMILY(group, "link-pointer-", links, "SDM 3C, 26.3.1.5: exit qualification 4") {
    Guest guest(nothing64);
    write(Field::LinkPointer, row.pointer());
    expect_reason(find_violation_in_current(), "26.3.1.5: the VMCS link pointer");
    const Entered entered = guest.enter();
    asm volatile("sti");
    EXPECT_EQ(entered.error, 0);
    EXPECT_EQ(entered.reason, entry_failed | number(ExitReason::InvalidGuestState));
    EXPECT_EQ(qualification(), 4);
}

// Section 26.3.1.6: the page-directory-pointer-table entries.
constexpr Bit pdpte_bits[] = {{{"bit-", 1}, 1},   {{"bit-", 2}, 2},   {{"bit-", 5}, 5},
                              {{"bit-", 6}, 6},   {{"bit-", 7}, 7},   {{"bit-", 8}, 8},
                              {{"bit-", 52}, 52}, {{"bit-", 62}, 62}, {{"bit-", 63}, 63}};
FAMILY(group, "pdpte-", pdpte_bits, "SDM 3C, 26.3.1.6: exit qualification 2") {
    Guest guest(Mode::Pae, nothing32);
    need_secondary_control(secondary::ept);
    // A different one for each row, so that all four are tried.
    set_bits(nth(Field::GuestPdpte0, row.bit % 4), 1ull << row.bit | 1);
    expect_reason(find_violation_in_current(), "26.3.1.6");
    const Entered entered = guest.enter();
    asm volatile("sti");
    EXPECT_EQ(entered.reason, entry_failed | number(ExitReason::InvalidGuestState));
    EXPECT_EQ(qualification(), 2);
}
CHECK(group, "pdpte-not-present-is-not-checked", "SDM 3C, 26.3.1.6: only when bit 0 is 1") {
    Guest guest(Mode::Pae, nothing32);
    need_secondary_control(secondary::ept);
    write(nth(Field::GuestPdpte0, 3), 1ull << 63 | 0x1e6);
    guest.run_to_end();
}

/// What looks invalid and is not.
constexpr Mistake odd[] = {
    {"io-bitmap-not-in-use", Refusal::Guest, nullptr,
     [] {
         clear_bits(Field::PrimaryControls, primary::port_bitmaps);
         write(Field::IoBitmapA, 1);
     },
     execution},
    {"msr-area-of-none", Refusal::Guest, nullptr, [] { write(Field::EntryMsrLoad, 1); }, entering},
    {"unusable-ds-with-bad-rights", Refusal::Guest, nullptr,
     [] { write(rights_of(seg_ds), rights::unusable | 0xfff); }, segment_checks},
    {"unusable-ss", Refusal::Guest, nullptr, [] { write(rights_of(seg_ss), rights::unusable); },
     segment_checks},
    {"unusable-ldtr", Refusal::Guest, nullptr,
     [] {
         write(rights_of(seg_ldtr), rights::unusable);
         write(base_of(seg_ldtr), not_canonical);
     },
     segment_checks},
    {"execute-only-cs", Refusal::Guest, nullptr, [] { clear_bits(rights_of(seg_cs), 2); }, segment_checks},
    {"host-ss-null", Refusal::Guest, nullptr, [] { write(Field::HostSs, 0); }, host_segments},
    {"sti-blocking-with-if", Refusal::Guest, nullptr, [] { block(blocking::sti); }, non_register},
    {"nmi-blocking", Refusal::Guest, nullptr, [] { set_bits(Field::GuestInterruptibility, blocking::nmi); },
     non_register},
    {"cr3-low-bits", Refusal::Guest, nullptr, [] { set_bits(Field::GuestCr3, 0xfe7); }, registers},
    {"debugctl-not-loaded", Refusal::Guest, nullptr,
     [] {
         if ((capabilities.entry & entry_control::load_debug) != 0)
             skip("debug controls are always loaded");
         clear_bits(Field::EntryControls, entry_control::load_debug);
         write(Field::GuestDebugControl, ~0ull);
         write(Field::GuestDr7, ~0ull);
     },
     registers},
    {"pat-not-loaded", Refusal::Guest, nullptr,
     [] {
         clear_bits(Field::EntryControls, entry_control::load_pat);
         write(Field::GuestPat, ~0ull);
     },
     registers},
};
FAMILY(group, "accepted-", odd, "SDM 3C, 26.2, 26.3") {
    Guest guest(row.mode, code_for(row.mode));
    row.make();
    guest.run_to_end();
}

// Section 26.7: what is left after an entry that fails.

CHECK(group, "controls-before-host",
      "SDM 3C, 26.2, 30.4: which checks come first is not said; the error is one of both") {
    Guest guest(nothing64);
    write(Field::Cr3TargetCount, 0x1ff);
    write(Field::HostCs, 0);
    const Entered entered = guest.enter();
    asm volatile("sti");
    EXPECT(entered.error == number(Refusal::Controls) || entered.error == number(Refusal::Host));
}
CHECK(group, "host-before-guest", "SDM 3C, 26.1 to 26.3: guest state is checked after controls and host") {
    Guest guest(nothing64);
    write(Field::HostCs, 0);
    write(Field::GuestRflags, 0);
    const Entered entered = guest.enter();
    asm volatile("sti");
    EXPECT_EQ(entered.error, Refusal::Host);
}
CHECK(group, "failed-entry-does-not-launch", "SDM 3C, 26.7: the launch state is not changed") {
    Guest guest(nothing64);
    write(Field::GuestRflags, 0);
    EXPECT_EQ(guest.enter().reason, entry_failed | number(ExitReason::InvalidGuestState));
    write(Field::GuestRflags, rflags::fixed);
    guest.run_to_end(); // by VMLAUNCH
}
CHECK(group, "failed-entry-keeps-the-event", "SDM 3C, 26.7: bit 31 of the event is not cleared") {
    Guest guest(nothing64);
    inject(exception, 6);
    set_bits(Field::GuestRflags, 1ull << 63);
    EXPECT_EQ(guest.enter().reason, entry_failed | number(ExitReason::InvalidGuestState));
    EXPECT_EQ(read(Field::EntryEvent), event_of(exception, 6));
}
CHECK(group, "failed-entry-saves-no-guest-state", "SDM 3C, 26.7") {
    Guest guest(nothing64);
    write(Field::GuestDr7, 1ull << 40 | 0x400);
    write(Field::GuestRsp, 0x1234);
    EXPECT_EQ(guest.enter().reason, entry_failed | number(ExitReason::InvalidGuestState));
    EXPECT_EQ(read(Field::GuestDr7), 1ull << 40 | 0x400);
    EXPECT_EQ(read(Field::GuestRsp), 0x1234);
}
CHECK(group, "host-state-is-loaded", "SDM 3C, 26.7, 27.5: as by a VM exit") {
    Guest guest(nothing64);
    const auto host_cr0 = vmm::read_cr0(), host_cr3 = vmm::read_cr3(), host_cr4 = vmm::read_cr4();
    write(Field::GuestRflags, 0);
    EXPECT_EQ(guest.enter().reason, entry_failed | number(ExitReason::InvalidGuestState));
    EXPECT_EQ(vmm::read_cr0(), host_cr0);
    EXPECT_EQ(vmm::read_cr3(), host_cr3);
    EXPECT_EQ(vmm::read_cr4(), host_cr4);
}

} // namespace

} // namespace escalus::nested::vmx
