// SPDX-License-Identifier: GPL-2.0-or-later
// What looks invalid and is not; and SDM 3C, 26.7: what is left after an entry that fails.
#include "test/nested/vmx/invalid_state.hpp"

namespace escalus::nested::vmx {

namespace {

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
FAMILY(invalid_state, "accepted-", odd, "SDM 3C, 26.2, 26.3") {
    Guest guest(row.mode, code_for(row.mode));
    row.make();
    guest.run_to_end();
}

CHECK(invalid_state, "controls-before-host",
      "SDM 3C, 26.2, 30.4: which checks come first is not said; the error is one of both") {
    Guest guest(nothing64);
    write(Field::Cr3TargetCount, 0x1ff);
    write(Field::HostCs, 0);
    const Entered entered = guest.enter();
    asm volatile("sti");
    EXPECT(entered.error == number(Refusal::Controls) || entered.error == number(Refusal::Host));
}
CHECK(invalid_state, "host-before-guest",
      "SDM 3C, 26.1 to 26.3: guest state is checked after controls and host") {
    Guest guest(nothing64);
    write(Field::HostCs, 0);
    write(Field::GuestRflags, 0);
    const Entered entered = guest.enter();
    asm volatile("sti");
    EXPECT_EQ(entered.error, Refusal::Host);
}
CHECK(invalid_state, "failed-entry-does-not-launch", "SDM 3C, 26.7: the launch state is not changed") {
    Guest guest(nothing64);
    write(Field::GuestRflags, 0);
    EXPECT_EQ(guest.enter().reason, entry_failed | number(ExitReason::InvalidGuestState));
    write(Field::GuestRflags, rflags::fixed);
    guest.run_to_end(); // by VMLAUNCH
}
CHECK(invalid_state, "failed-entry-keeps-the-event", "SDM 3C, 26.7: bit 31 of the event is not cleared") {
    Guest guest(nothing64);
    inject(exception, 6);
    set_bits(Field::GuestRflags, 1ull << 63);
    EXPECT_EQ(guest.enter().reason, entry_failed | number(ExitReason::InvalidGuestState));
    EXPECT_EQ(read(Field::EntryEvent), event_of(exception, 6));
}
CHECK(invalid_state, "failed-entry-saves-no-guest-state", "SDM 3C, 26.7") {
    Guest guest(nothing64);
    write(Field::GuestDr7, 1ull << 40 | 0x400);
    write(Field::GuestRsp, 0x1234);
    EXPECT_EQ(guest.enter().reason, entry_failed | number(ExitReason::InvalidGuestState));
    EXPECT_EQ(read(Field::GuestDr7), 1ull << 40 | 0x400);
    EXPECT_EQ(read(Field::GuestRsp), 0x1234);
}
CHECK(invalid_state, "host-state-is-loaded", "SDM 3C, 26.7, 27.5: as by a VM exit") {
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
