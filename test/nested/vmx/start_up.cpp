// SPDX-License-Identifier: GPL-2.0-or-later
// INIT signals, start-up IPIs and the activity state wait-for-SIPI. Another CPU sends them. The last group,
// and the checks of INIT last in it: where an exit does not consume the INIT, no guest can be entered any
// more.
#include "test/nested/framework/interrupts.hpp"
#include "test/nested/framework/second_cpu.hpp"
#include "test/nested/guests/interrupts_code.hpp"
#include "test/nested/vmx/guest.hpp"

namespace escalus::nested::vmx {

namespace {

using second_cpu::Delivery;

constexpr Group group{"vmx-start-up", "INIT, start-up IPIs, the activity state wait-for-SIPI", vendor};
constexpr std::uint8_t vector = 0x61;
constexpr unsigned vector_nmi = 2;

GUEST_CODE(do_nothing, 64, "nop; nop");

void need_second_cpu() {
    if (!second_cpu::present())
        skip("there is no second CPU to send it");
}

/// A guest that waits for a start-up IPI.
void wait_for_sipi() {
    constexpr std::uint64_t has_wait_for_sipi = 1 << 8; // SDM 3D, A.6
    if ((capabilities.misc & has_wait_for_sipi) == 0)
        skip("this CPU does not have the activity state");
    write(Field::GuestActivity, activity::wait_for_sipi);
}

CHECK(group, "sipi-exits-with-its-vector", "SDM 3C, 25.2, 27.2.1: bits 7:0 of the exit qualification") {
    need_second_cpu();
    for (const std::uint8_t sent : {std::uint8_t{0x9a}, std::uint8_t{0}, std::uint8_t{0xff}}) {
        Guest guest(do_nothing);
        wait_for_sipi();
        const auto before = rip();
        second_cpu::sends({Delivery::StartUp, sent});
        REQUIRE_EQ(guest.run(), ExitReason::Sipi);
        EXPECT_EQ(qualification(), sent);
        EXPECT_EQ(rip(), before);
    }
}
CHECK(group, "sipi-exit-saves-the-activity-state", "SDM 3C, 27.1, 27.3.4: the one before the exit") {
    need_second_cpu();
    Guest guest(do_nothing);
    wait_for_sipi();
    second_cpu::sends({Delivery::StartUp, 0x9a});
    REQUIRE_EQ(guest.run(), ExitReason::Sipi);
    EXPECT_EQ(read(Field::GuestActivity), activity::wait_for_sipi);
}
CHECK(group, "sipi-exit-leaves-what-is-needed-to-go-on", "SDM 3C, 27.3.4, 26.3.1.5") {
    need_second_cpu();
    Guest guest(do_nothing);
    wait_for_sipi();
    second_cpu::sends({Delivery::StartUp, 0x9a});
    REQUIRE_EQ(guest.run(), ExitReason::Sipi);
    EXPECT_EQ(read(Field::GuestInterruptibility), 0);
    write(Field::GuestActivity, activity::active);
    guest.run_to_end();
}
CHECK(group, "sipi-is-ignored-by-an-active-guest", "SDM 3C, 25.2: outside of wait-for-SIPI it does nothing") {
    need_second_cpu();
    Guest guest(spin);
    set_bits(Field::GuestRflags, rflags::interrupt);
    second_cpu::sends({Delivery::StartUp, 0x9a}, {Delivery::Fixed, vector});
    EXPECT_EQ(guest.run(), ExitReason::ExternalInterrupt);
}
CHECK(group, "sipi-is-ignored-in-root-mode", "SDM 3C, 23.8") {
    need_second_cpu();
    Guest guest(do_nothing);
    second_cpu::sends({Delivery::StartUp, 0x9a});
    second_cpu::wait_until_sent();
    guest.run_to_end();
}
CHECK(group, "interrupts-are-blocked-in-wait-for-sipi", "SDM 3C, 24.4.2, 25.2") {
    need_second_cpu();
    Guest guest(do_nothing);
    wait_for_sipi();
    set_bits(Field::GuestRflags, rflags::interrupt);
    second_cpu::sends({Delivery::Fixed, vector}, {Delivery::StartUp, 0x9a});
    EXPECT_EQ(guest.run(), ExitReason::Sipi);
    EXPECT_EQ(interrupts_taken[vector], 1); // in root mode, after it
}
CHECK(group, "nmis-are-blocked-in-wait-for-sipi", "SDM 3C, 24.4.2, 25.2") {
    need_second_cpu();
    Guest guest(do_nothing);
    wait_for_sipi();
    second_cpu::sends({Delivery::Nmi, 0}, {Delivery::StartUp, 0x9a});
    EXPECT_EQ(guest.run(), ExitReason::Sipi);
}
CHECK(group, "an-nmi-of-another-cpu-exits", "SDM 3C, 25.2, table 24-5") {
    need_second_cpu();
    Guest guest(spin);
    second_cpu::sends({Delivery::Nmi, 0});
    REQUIRE_EQ(guest.run(), ExitReason::ExceptionOrNmi);
    EXPECT_EQ(read(Field::ExitEvent), event_of(event::nmi, vector_nmi));
}

CHECK(group, "init-exits", "SDM 3C, 25.2: INIT signals cause VM exits") {
    need_second_cpu();
    Guest guest(spin);
    const auto before = rip();
    second_cpu::sends({Delivery::Init, 0});
    REQUIRE_EQ(guest.run(), ExitReason::Init);
    EXPECT(rip() - before <= 2); // PAUSE, and a jump back to it
    EXPECT_EQ(qualification(), 0);
}
CHECK(group, "init-is-consumed-by-its-exit",
      "SDM 3C, 25.2, 27.1: the guest goes on when it is entered again") {
    need_second_cpu();
    Guest guest(spin);
    second_cpu::sends({Delivery::Init, 0});
    REQUIRE_EQ(guest.run(), ExitReason::Init);
    Guest next(do_nothing);
    next.run_to_end();
}
CHECK(group, "init-exits-in-hlt", "SDM 3C, 25.2, 27.1, 27.3.4: HLT is the activity state before the exit") {
    need_second_cpu();
    if ((capabilities.misc & 1 << 6) == 0)
        skip("no HLT activity state");
    Guest guest(do_nothing);
    write(Field::GuestActivity, activity::hlt);
    second_cpu::sends({Delivery::Init, 0});
    REQUIRE_EQ(guest.run(), ExitReason::Init);
    EXPECT_EQ(read(Field::GuestActivity), activity::hlt);
}
CHECK(group, "init-waits-in-root-mode",
      "SDM 3C, 23.8: blocked there, it exits before the first instruction") {
    need_second_cpu();
    Guest guest(do_nothing);
    const auto before = rip();
    second_cpu::sends({Delivery::Init, 0});
    second_cpu::wait_until_sent();
    REQUIRE_EQ(guest.run(), ExitReason::Init);
    EXPECT_EQ(rip(), before);
}

} // namespace

} // namespace escalus::nested::vmx
