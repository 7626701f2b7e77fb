// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/cpu/apic.hpp"

#include "vmm/cpu/instructions.hpp"

namespace escalus::vmm::apic {

bool x2apic_mode() {
    return (read_msr(msr::apic_base) & (base_enable | base_x2apic)) == (base_enable | base_x2apic);
}

HostPhys page() {
    return HostPhys{read_msr(msr::apic_base) & 0x000f'ffff'ffff'f000};
}

std::uint32_t read(std::uint32_t reg) {
    return *reinterpret_cast<volatile std::uint32_t*>(raw(page() + reg));
}

void write(std::uint32_t reg, std::uint32_t value) {
    *reinterpret_cast<volatile std::uint32_t*>(raw(page() + reg)) = value;
}

std::uint32_t id() {
    return x2apic_mode() ? static_cast<std::uint32_t>(read_msr(msr::x2apic_id)) : read(reg_id) >> 24;
}

void send(const Command& command) {
    if (x2apic_mode()) {
        write_msr(msr::x2apic_icr, std::uint64_t{command.destination} << 32 | command.low);
        return;
    }
    write(reg_icr_high, command.destination << 24);
    write(reg_icr_low, command.low);
    // Bounded: some emulators leave the delivery status bit set for good.
    for (unsigned i = 0; i < 100'000 && (read(reg_icr_low) & 1 << 12) != 0; ++i)
        pause();
}

} // namespace escalus::vmm::apic
