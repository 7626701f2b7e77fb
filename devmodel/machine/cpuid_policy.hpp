// SPDX-License-Identifier: GPL-2.0-or-later
// The CPUID table of a guest: the host's CPU without what is not virtualized (SVM, VMX, MONITOR, performance
// counters, speculation control, shadow stacks, protection keys), with what the machine adds (x2APIC, machine
// check, topology, the hypervisor's leaves).
//
// Sources: Intel SDM volume 2A "CPUID", AMD APM volume 3 appendix E, VMware KB 1009458 for leaf 0x40000010,
// Linux, Documentation/virt/kvm/x86/cpuid.rst for 0x40000100. All vCPUs are cores of one package, each with
// one thread; a vCPU's APIC ID is its number.
#pragma once

#include "devmodel/config/machine_config.hpp"
#include "vmm/abi/abi.hpp"

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace escalus {

struct CpuidPolicy {
    /// EAX EBX ECX EDX of the host's CPU.
    std::function<std::array<std::uint32_t, 4>(std::uint32_t leaf, std::uint32_t index)> host;
    unsigned vcpus = 1;
    std::uint64_t tsc_hz = 1'000'000'000;
    std::uint64_t apic_timer_hz = 1'000'000'000;
    bool apic = true;
    bool x2apic = true;
    bool tsc_deadline = true;
    std::uint32_t kvm_features = 0; ///< KVM's interface, see kvm_interface.hpp; 0: none
    std::span<const CpuidOverride> overrides;
};

inline constexpr char guest_hypervisor_signature[] = "EscalusHVM\0"; // 12 bytes
// KVM's leaves are not the first: who knows KVM looks for them in steps of 0x100, and old systems, which
// expect more of KVM than is here, only look at the first.
inline constexpr std::uint32_t leaf_kvm = 0x40000100, leaf_kvm_features = leaf_kvm + 1;
inline constexpr char kvm_signature[] = "KVMKVMKVM\0\0"; // 12 bytes

[[nodiscard]] std::vector<abi::CpuidEntry> build_cpuid(const CpuidPolicy& policy);

/// What a table says, for the parts of the machine that must agree with it.
[[nodiscard]] std::array<std::uint32_t, 4> cpuid_lookup(std::span<const abi::CpuidEntry> table,
                                                        std::uint32_t leaf, std::uint32_t index = 0,
                                                        std::uint32_t vcpu = 0);
[[nodiscard]] unsigned physical_address_bits(std::span<const abi::CpuidEntry> table);

} // namespace escalus
