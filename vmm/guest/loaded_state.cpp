// SPDX-License-Identifier: GPL-2.0-or-later
#include "vmm/guest/loaded_state.hpp"

#include "vmm/cpu/instructions.hpp"

namespace escalus::vmm {

namespace {

constinit bool tsc_aux = false;

void switch_xcr0(std::uint64_t from, std::uint64_t to) {
    if (from != to)
        write_xcr0(to);
}

void put_back_debug_registers(const PerCpu& cpu, Vcpu& vcpu) {
    vcpu.dr[0] = read_dr0();
    vcpu.dr[1] = read_dr1();
    vcpu.dr[2] = read_dr2();
    vcpu.dr[3] = read_dr3();
    vcpu.dr_live = false;
    write_dr0(cpu.control_dr[0]);
    write_dr1(cpu.control_dr[1]);
    write_dr2(cpu.control_dr[2]);
    write_dr3(cpu.control_dr[3]);
}

} // namespace

// Both states are loaded and saved with every component enabled: what one side has not enabled yet must not
// be what the other left there.
//
// Who calls VcpuRun has nothing in the registers that every call may change (docs/ABI.md), so they need not
// be saved, and are in their initial state afterwards.
[[gnu::hot]] LoadedState::LoadedState(PerCpu& cpu, Vcpu& vcpu) : cpu_{cpu}, vcpu_{vcpu} {
    const auto all = fpu_components();
    if (all != 0) {
        cpu.control_xcr0 = read_xcr0();
        switch_xcr0(cpu.control_xcr0, all);
    }
    save_fpu_components(cpu.control_fpu(), cpu.control_fpu_is_lazy ? all : fpu_preserved_by_calls);
    load_fpu(vcpu.fpu());
    if (all != 0)
        switch_xcr0(all, vcpu.xcr0);
    if (cpu.control_tsc_aux != vcpu.tsc_aux)
        write_msr(msr::tsc_aux, vcpu.tsc_aux);
}

[[gnu::hot]] LoadedState::~LoadedState() {
    const auto all = fpu_components();
    if (all != 0) {
        // Read, not remembered: emulators (QEMU 7.2) execute the guest's XSETBV without the exit.
        vcpu_.xcr0 = read_xcr0();
        switch_xcr0(vcpu_.xcr0, all);
    }
    save_fpu(vcpu_.fpu());
    load_fpu(cpu_.control_fpu());
    if (all != 0)
        switch_xcr0(all, cpu_.control_xcr0);
    if (cpu_.control_tsc_aux != vcpu_.tsc_aux)
        write_msr(msr::tsc_aux, cpu_.control_tsc_aux);
    if (vcpu_.dr_live)
        put_back_debug_registers(cpu_, vcpu_);
}

void load_debug_registers(PerCpu& cpu, Vcpu& vcpu) {
    cpu.control_dr[0] = read_dr0();
    cpu.control_dr[1] = read_dr1();
    cpu.control_dr[2] = read_dr2();
    cpu.control_dr[3] = read_dr3();
    write_dr0(vcpu.dr[0]);
    write_dr1(vcpu.dr[1]);
    write_dr2(vcpu.dr[2]);
    write_dr3(vcpu.dr[3]);
    vcpu.dr_live = true;
}

void start_loaded_state(PerCpu& cpu) {
    constexpr std::uint32_t rdtscp = 1u << 27, rdpid = 1u << 22;
    tsc_aux = (cpuid(0x80000001).edx & rdtscp) != 0 || (cpuid(0).eax >= 7 && (cpuid(7).ecx & rdpid) != 0);
    cpu.control_tsc_aux = tsc_aux ? read_msr(msr::tsc_aux) : 0;
}

bool has_tsc_aux() {
    return tsc_aux;
}

std::uint64_t sane_tsc_aux(std::uint64_t value) {
    return tsc_aux ? value & 0xffff'ffff : 0;
}

bool write_control_tsc_aux(PerCpu& cpu, std::uint64_t value) {
    if (!tsc_aux || value >> 32 != 0)
        return false;
    cpu.control_tsc_aux = value;
    write_msr(msr::tsc_aux, value);
    return true;
}

bool write_guest_tsc_aux(Vcpu& vcpu, std::uint64_t value) {
    if (!tsc_aux || value >> 32 != 0)
        return false;
    vcpu.tsc_aux = value;
    write_msr(msr::tsc_aux, value);
    return true;
}

bool write_guest_xcr0(Vcpu& vcpu, std::uint64_t value) {
    if (!is_valid_xcr0(value))
        return false;
    vcpu.xcr0 = value;
    write_xcr0(value);
    return true;
}

} // namespace escalus::vmm
