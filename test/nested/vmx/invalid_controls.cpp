// SPDX-License-Identifier: GPL-2.0-or-later
// SDM 3C, 26.2.1: the control fields, and the event to be injected.
#include "test/nested/vmx/invalid_state.hpp"

namespace escalus::nested::vmx {

namespace {

void need_bitmaps() {
    need_primary(primary::port_bitmaps | primary::msr_bitmaps);
}
void need_tpr_shadow() {
    need_primary(primary::tpr_shadow);
}

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

FAMILY(invalid_state, "control-", control_mistakes, "SDM 3C, 26.2.1") {
    check(row);
}

CHECK(invalid_state, "valid-state-runs", "SDM 3C, 26.2, 26.3") {
    Guest guest(nothing64);
    guest.run_to_end();
}

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
FAMILY(invalid_state, "ept-pointer-", ept_pointer_bits, "SDM 3C, 26.2.1.1, table 24-9: reserved bits") {
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
constexpr std::uint32_t with_code = event::error_valid;
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

FAMILY(invalid_state, "event-", events, "SDM 3C, 26.2.1.3, table 24-16") {
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

CHECK(invalid_state, "event-not-marked-valid", "SDM 3C, 26.2.1.3: only when bit 31 is 1") {
    Guest guest(nothing64);
    write(Field::EntryEvent, 0x7fff'f1ff);
    guest.run_to_end();
}

} // namespace

} // namespace escalus::nested::vmx
