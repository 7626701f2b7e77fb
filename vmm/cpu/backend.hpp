// SPDX-License-Identifier: GPL-2.0-or-later
// The seam between the monitor and the two kinds of hardware virtualization. svm/ and vmx/ each provide one
// Backend; it is chosen once, at boot, and nothing outside the two folders knows which.
#pragma once

#include "vmm/abi/abi.hpp"
#include "vmm/cpu/per_cpu.hpp"
#include "vmm/memory/nested_tables.hpp"

namespace escalus::vmm {

struct Vcpu;

/// How a CPU begins to run the control OS.
struct ControlStart {
    bool start_up_ipi = false; ///< real mode at vector << 12; else 64-bit Linux entry
    std::uint8_t vector = 0;
    std::uint64_t rip = 0, rsi = 0, cr3 = 0, gdt_base = 0;
};

enum class RunResult {
    DeviceModel, ///< the vCPU's page says why
    Control      ///< the control OS has an interrupt to take; the hypercall is to be executed again
};

struct Backend {
    abi::Backend kind;
    const char* name;
    /// Names what this CPU lacks, in words for the user; null when it has everything.
    const char* (*missing)();
    /// Takes this CPU into root mode, with interrupts held off from then on.
    void (*enable)(PerCpu& cpu);
    /// Does not return.
    void (*run_control)(PerCpu& cpu, const ControlStart& start);

    bool (*create_vcpu)(Vcpu& vcpu);
    void (*destroy_vcpu)(Vcpu& vcpu);
    RunResult (*run_vcpu)(PerCpu& cpu, Vcpu& vcpu);
    /// Brings all groups of the vCPU's page up to date.
    void (*export_state)(Vcpu& vcpu);

    const NestedFormat* (*nested_format)();
};

extern const Backend svm_backend;
/// The one in use; null until it is chosen.
extern const Backend* backend;

} // namespace escalus::vmm
