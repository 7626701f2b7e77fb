// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/control/start_ipi.hpp"

#include "vmm/control/control_memory.hpp"
#include "vmm/cpu/instructions.hpp"
#include "vmm/cpu/log.hpp"

namespace escalus::vmm {

namespace {

bool addressed(const PerCpu& sender, const PerCpu& cpu, const apic::Command& command) {
    switch (command.shorthand()) {
    case apic::Shorthand::Self:
        return &cpu == &sender;
    case apic::Shorthand::All:
        return true;
    case apic::Shorthand::Others:
        return &cpu != &sender;
    case apic::Shorthand::None:
        break;
    }
    // INIT and start-up IPIs to logical destinations are legal, but nobody starts CPUs so: no CPU has a
    // logical ID yet.
    const std::uint32_t broadcast = apic::x2apic_mode() ? 0xffffffff : 0xff;
    return !command.logical() && (command.destination == cpu.apic_id || command.destination == broadcast);
}

} // namespace

bool watching_start_ipis() {
    for (unsigned i = 1; i < cpu_count; ++i)
        if (cpus[i]->state() == StartState::WaitForSipi)
            return true;
    return false;
}

bool act_out_start_ipi(const PerCpu& sender, const apic::Command& command) {
    const bool init = command.delivery() == static_cast<std::uint32_t>(apic::Delivery::Init);
    const bool start_up = command.delivery() == static_cast<std::uint32_t>(apic::Delivery::StartUp);
    if (!init && !start_up)
        return false;
    for (unsigned i = 0; i < cpu_count; ++i) {
        PerCpu& cpu = *cpus[i];
        if (!addressed(sender, cpu, command))
            continue;
        if (cpu.state() == StartState::Running) {
            if (init && !command.level_deassert())
                log::warning("INIT for CPU ", cpu.index,
                             ", which runs, is ignored: CPUs cannot be restarted");
            continue;
        }
        if (!start_up)
            continue; // it waits for its start-up IPI already
        __atomic_store_n(&cpu.start_vector, command.vector(), __ATOMIC_RELEASE);
        log::debug("CPU ", cpu.index, " starts at vector ", hex(std::uint64_t{command.vector()}));
    }
    return true;
}

std::uint8_t wait_for_start(PerCpu& cpu) {
    std::uint32_t vector = PerCpu::no_vector;
    while (vector == PerCpu::no_vector) {
        pause();
        vector = __atomic_load_n(&cpu.start_vector, __ATOMIC_ACQUIRE);
    }
    cpu.set_state(StartState::Running);
    return static_cast<std::uint8_t>(vector);
}

} // namespace escalus::vmm
