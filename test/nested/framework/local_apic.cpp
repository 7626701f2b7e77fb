// SPDX-License-Identifier: GPL-2.0-or-later
#include "test/nested/framework/local_apic.hpp"

#include "test/nested/framework/interrupts.hpp"
#include "vmm/cpu/apic.hpp"
#include "vmm/cpu/instructions.hpp"
#include "vmm/cpu/pit.hpp"

namespace escalus::nested::local_apic {

namespace {

namespace apic = vmm::apic;
constexpr std::uint32_t reg_tpr = 0x80, reg_eoi = 0xb0, reg_spurious = 0xf0, reg_irr = 0x200,
                        reg_lvt_timer = 0x320, reg_timer_initial = 0x380, reg_timer_current = 0x390,
                        reg_timer_divide = 0x3e0;
constexpr std::uint32_t software_enable = 1 << 8, masked = 1 << 16, divide_by_16 = 3, level_assert = 1 << 14;
constexpr std::uint32_t delivery_nmi = 4 << 8, delivery_init = 5 << 8;
constexpr std::uint32_t x2apic_first = 0x800;

constinit bool x2apic = false;
constinit std::uint64_t ticks_per_ms = 0;

std::uint32_t read(std::uint32_t reg) {
    return x2apic ? static_cast<std::uint32_t>(vmm::read_msr(x2apic_first + reg / 16)) : apic::read(reg);
}
void write(std::uint32_t reg, std::uint32_t value) {
    if (x2apic)
        vmm::write_msr(x2apic_first + reg / 16, value);
    else
        apic::write(reg, value);
}

} // namespace

void start() {
    const auto base = vmm::read_msr(vmm::msr::apic_base);
    if ((base & apic::base_enable) == 0)
        vmm::write_msr(vmm::msr::apic_base, base | apic::base_enable);
    x2apic = apic::x2apic_mode();
    write(reg_spurious, software_enable | spurious_vector);
    write(reg_tpr, 0);
    write(reg_timer_divide, divide_by_16);
    write(reg_lvt_timer, masked | timer_vector);
    constexpr unsigned measured_ms = 20;
    write(reg_timer_initial, ~0u);
    vmm::wait_microseconds(measured_ms * 1000);
    ticks_per_ms = (~0u - read(reg_timer_current)) / measured_ms + 1;
    write(reg_timer_initial, 0);
    write(reg_lvt_timer, timer_vector);
}

void end_of_interrupt() {
    write(reg_eoi, 0);
}

void arm_timer(unsigned milliseconds) {
    const std::uint64_t ticks = ticks_per_ms * milliseconds;
    write(reg_timer_initial, ticks > ~0u ? ~0u : static_cast<std::uint32_t>(ticks));
}

void send_self(std::uint8_t vector) {
    apic::send({level_assert | vector, apic::id()});
}
void send_nmi_to_self() {
    apic::send({level_assert | delivery_nmi, apic::id()});
}
void send_init_to_self() {
    apic::send({level_assert | delivery_init, apic::id()});
}
void set_task_priority(std::uint8_t priority) {
    write(reg_tpr, priority);
}
bool requested(std::uint8_t vector) {
    return (read(reg_irr + vector / 32 * 16) >> vector % 32 & 1) != 0;
}

} // namespace escalus::nested::local_apic
