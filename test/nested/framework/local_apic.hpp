// SPDX-License-Identifier: GPL-2.0-or-later
// This CPU's local APIC, for what the suite needs: a one-shot timer, interrupts and NMIs to itself. In the
// mode, xAPIC or x2APIC, that the firmware left it in. AMD APM 2, chapter 16; Intel SDM 3, chapter 11.
#pragma once

#include <cstdint>

namespace escalus::nested::local_apic {

/// Enables it and measures its timer.
void start();
void end_of_interrupt();
/// `timer_vector` comes after this time; 0 stops the timer.
void arm_timer(unsigned milliseconds);

void send_self(std::uint8_t vector);
void send_nmi_to_self();
void send_init_to_self();
void set_task_priority(std::uint8_t priority);
/// Whether `vector` waits in the IRR.
[[nodiscard]] bool requested(std::uint8_t vector);

} // namespace escalus::nested::local_apic
