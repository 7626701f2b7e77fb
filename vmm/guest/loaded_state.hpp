// SPDX-License-Identifier: GPL-2.0-or-later
// What is in the CPU itself while a guest runs, whichever back end runs it, and so is switched by hand: FPU
// and vector registers with XCR0, TSC_AUX, and DR0 to DR3. All else is in the VMCB or VMCS.
#pragma once

#include "vmm/guest/vm.hpp"

namespace escalus::vmm {

/// The guest's state is loaded from the constructor to the destructor, the control OS's put by.
class LoadedState {
  public:
    LoadedState(PerCpu& cpu, Vcpu& vcpu);
    ~LoadedState();
    LoadedState(const LoadedState&) = delete;
    LoadedState& operator=(const LoadedState&) = delete;

  private:
    PerCpu& cpu_;
    Vcpu& vcpu_;
};

/// Debug registers are loaded only when the guest uses them: at the exit of its first access after an entry.
void load_debug_registers(PerCpu& cpu, Vcpu& vcpu);

/// For each CPU, before the control OS runs on it.
void start_loaded_state(PerCpu& cpu);
/// TSC_AUX is known without reading it, as the control OS's writes are intercepted. False where the CPU has
/// none, or refuses the value: the write must fault.
[[nodiscard]] bool write_control_tsc_aux(PerCpu& cpu, std::uint64_t value);
[[nodiscard]] bool write_guest_tsc_aux(Vcpu& vcpu, std::uint64_t value);
/// RDTSCP or RDPID: the MSR exists.
[[nodiscard]] bool has_tsc_aux();

/// What a device model's value may be: loading it must not fault.
[[nodiscard]] std::uint64_t sane_tsc_aux(std::uint64_t value);

[[nodiscard]] constexpr std::uint64_t sane_tsc_ratio(std::uint64_t value, bool scaling) {
    value &= abi::tsc_ratio_mask;
    return scaling && value != 0 ? value : abi::tsc_ratio_one;
}

/// XSETBV, apart from CPL and the register's number. False: #GP(0).
[[nodiscard]] bool write_guest_xcr0(Vcpu& vcpu, std::uint64_t value);

} // namespace escalus::vmm
