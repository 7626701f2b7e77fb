// SPDX-License-Identifier: GPL-2.0-or-later
// The seam between the monitor and the two kinds of hardware virtualization. svm/ and vmx/ each provide one
// Backend; it is chosen once, at boot, and nothing outside the two folders knows which.
#pragma once

#include "vmm/abi/abi.hpp"
#include "vmm/cpu/instructions.hpp"
#include "vmm/cpu/per_cpu.hpp"
#include "vmm/memory/nested_tables.hpp"

namespace escalus::vmm {

struct Vcpu;

/// How a CPU begins to run the control OS.
struct ControlStart {
    bool start_up_ipi = false; ///< waits for one, then real mode; else 64-bit Linux entry
    std::uint64_t rip = 0, rsi = 0, cr3 = 0, gdt_base = 0;
};

/// Bits of a leaf of nested tables, and for how many bytes they hold.
struct NestedAttributes {
    std::uint64_t leaf = 0;
    std::uint64_t bytes = ~0ull;
};

enum class RunResult {
    DeviceModel, ///< the vCPU's page says why
    Control      ///< the control OS has an interrupt to take; the hypercall is to be executed again
};

struct Backend {
    abi::Backend kind;
    const char* name;
    /// Whether this is the CPU's kind of virtualization, usable or not.
    bool (*offered)();
    /// Names what this CPU lacks, in words for the user; null when it has everything.
    const char* (*missing)();
    /// Takes this CPU into root mode, with interrupts held off from then on. The boot CPU is the first.
    void (*enable)(PerCpu& cpu);
    /// Does not return. A CPU that starts by a start-up IPI waits for it first.
    void (*run_control)(PerCpu& cpu, const ControlStart& start);

    bool (*create_vcpu)(Vcpu& vcpu);
    void (*destroy_vcpu)(Vcpu& vcpu);
    RunResult (*run_vcpu)(PerCpu& cpu, Vcpu& vcpu);
    /// Brings these groups of the vCPU's page up to date.
    void (*export_state)(Vcpu& vcpu, std::uint32_t groups);

    const NestedFormat* (*nested_format)();
    /// How the control OS's nested tables map physical memory at `address`.
    NestedAttributes (*control_memory_attributes)(HostPhys address);
    /// abi::feature_... of this CPU.
    std::uint32_t (*features)();
    /// Takes out of CPUID what the control OS must not use.
    void (*hide_features)(std::uint32_t function, std::uint32_t index, CpuidResult& result);
};

extern const Backend svm_backend, vmx_backend;
/// The one in use; null until it is chosen.
extern const Backend* backend;

} // namespace escalus::vmm
