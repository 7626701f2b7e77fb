// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/control/start_ipi.hpp"

#include "vmm/control/control_memory.hpp"
#include "vmm/cpu/instructions.hpp"
#include "vmm/cpu/log.hpp"
#include "vmm/guest/instruction.hpp"

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

/// Until every CPU runs the control OS.
bool still_needed() {
    for (unsigned i = 1; i < cpu_count; ++i)
        if (cpus[i]->state() == StartState::WaitForSipi)
            return true;
    return false;
}

/// True when nothing is left to be sent.
bool act_out(const PerCpu& sender, const apic::Command& command) {
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

constinit WatchMsr watch_register = nullptr; // null: nothing is watched

[[gnu::cold]] void stop_watching() {
    watch_register(false);
    watch_apic_page(apic::page(), false);
    watch_register = nullptr;
}

} // namespace

[[gnu::cold]] void watch_start_ipis(WatchMsr watch_msr) {
    if (cpu_count == 1)
        return;
    watch_register = watch_msr;
    watch_msr(true);
    watch_apic_page(apic::page(), true);
}

[[gnu::cold]] void write_interrupt_command(const PerCpu& sender, const apic::Command& command) {
    if (watch_register == nullptr || !act_out(sender, command))
        apic::send(command);
    else if (!still_needed())
        stop_watching();
}

bool is_watched(GuestPhys gpa) {
    return watch_register != nullptr && (raw(gpa) & ~page_mask) == raw(apic::page());
}

[[gnu::cold]] unsigned write_watched_page(PerCpu& cpu, const PagingState& paging, GuestLinear rip,
                                          GuestPhys gpa) {
    std::uint8_t bytes[instruction_bytes_max];
    const auto reg = static_cast<std::uint32_t>(raw(gpa) & page_mask);
    const Store store =
        decode_store(bytes, read_guest_linear(paging, rip, bytes, sizeof bytes), cpu.control.r);
    if (store.length == 0) {
        log::warning("CPU ", cpu.index, ": a write to the local APIC at rip ", hex(raw(rip)),
                     " is not understood; start-up IPIs are no longer watched");
        stop_watching();
    } else if (reg == apic::reg_icr_low) {
        write_interrupt_command(cpu, {store.value, apic::read(apic::reg_icr_high) >> 24});
    } else {
        apic::write(reg, store.value);
    }
    return store.length;
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
