// SPDX-License-Identifier: GPL-2.0-or-later
// Starts the other CPUs at boot, by the sequence of Intel SDM 3, section 9.4.4 (AMD APM 2, section 16.5).
#include "vmm/cpu/apic.hpp"
#include "vmm/cpu/backend.hpp"
#include "vmm/cpu/exceptions.hpp"
#include "vmm/cpu/fpu.hpp"
#include "vmm/cpu/log.hpp"
#include "vmm/cpu/pit.hpp"
#include "vmm/memory/page_allocator.hpp"

#include <cstring>

extern "C" char trampoline_start[], trampoline_end[];
extern "C" std::uint64_t trampoline_stack;

namespace escalus::vmm {

constinit PerCpu* cpus[cpus_max] = {};
constinit unsigned cpu_count = 1;

namespace {

constexpr HostPhys trampoline{0x8000};
constexpr std::uint32_t assert_level = 1 << 14;

bool arrived(const PerCpu& cpu) {
    return cpu.state() != StartState::Offline;
}

bool start_one(PerCpu& cpu) {
    *(cpu.stack_top() - 2) = reinterpret_cast<std::uint64_t>(&cpu);
    __atomic_store_n(&trampoline_stack, reinterpret_cast<std::uint64_t>(cpu.stack_top() - 2),
                     __ATOMIC_RELEASE);
    const auto send = [&](apic::Delivery delivery, std::uint32_t vector) {
        apic::send({static_cast<std::uint32_t>(delivery) << 8 | assert_level | vector, cpu.apic_id});
    };
    send(apic::Delivery::Init, 0);
    wait_microseconds(10'000);
    for (unsigned attempt = 0; attempt < 2 && !arrived(cpu); ++attempt) {
        send(apic::Delivery::StartUp, static_cast<std::uint32_t>(raw(trampoline) >> 12));
        wait_microseconds(200);
    }
    // A second: emulated CPUs may be slow.
    for (unsigned i = 0; i < 1000 && !arrived(cpu); ++i)
        wait_microseconds(1000);
    return arrived(cpu);
}

} // namespace

void start_cpus(const std::uint32_t* ids, unsigned count) {
    const auto bytes = static_cast<std::size_t>(trampoline_end - trampoline_start);
    std::uint8_t saved[256];
    auto* place = reinterpret_cast<std::uint8_t*>(raw(trampoline));
    asm("" : "+r"(place)); // a small constant address is not a null pointer
    std::memcpy(saved, place, bytes);
    std::memcpy(place, trampoline_start, bytes);
    for (unsigned i = 0; i < count; ++i) {
        if (ids[i] == cpus[0]->apic_id)
            continue;
        auto* cpu = allocate_object<PerCpu>(fpu_area_bytes());
        if (cpu == nullptr)
            panic("no memory for another CPU");
        cpu->index = cpu_count;
        cpu->apic_id = ids[i];
        cpus[cpu_count] = cpu;
        if (start_one(*cpu))
            ++cpu_count;
        else // it is left alone: should it come to life later, it finds its structures
            log::error("the CPU with APIC ID ", ids[i], " does not start; the control OS must not use it");
    }
    std::memcpy(place, saved, bytes);
    log::info(cpu_count, " CPUs in root mode");
}

extern "C" [[noreturn]] void application_cpu_main(PerCpu& cpu) {
    load_exception_table();
    enable_fpu();
    backend->enable(cpu);
    cpu.set_state(StartState::WaitForSipi);
    backend->run_control(cpu, {.start_up_ipi = true});
    halt_forever();
}

} // namespace escalus::vmm
