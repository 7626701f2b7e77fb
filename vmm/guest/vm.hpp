// SPDX-License-Identifier: GPL-2.0-or-later
// Guests: a Vm owns memory of the pool, nested page tables and vCPUs. Slots and objects are in private
// memory; what a device model may see and change is in the VM's shared area (vmm/abi/abi.hpp).
#pragma once

#include "vmm/abi/abi.hpp"
#include "vmm/cpu/fpu.hpp"
#include "vmm/cpu/per_cpu.hpp"
#include "vmm/memory/recent_pages.hpp"

namespace escalus::vmm {

struct Vm;

struct alignas(64) Vcpu {
    Vm* vm = nullptr;
    unsigned index = 0;
    bool running = false; // atomically accessed
    abi::VcpuPage* page = nullptr;
    abi::StatPage* statistics = nullptr;
    abi::CpuidPage* cpuid = nullptr;       ///< the VM's
    std::uint32_t* posted_vcpus = nullptr; ///< the VM's: in the page of vCPU 0

    Gprs gprs{};
    std::uint64_t xcr0 = 1;
    std::uint64_t tsc_aux = 0;
    std::uint64_t tsc_ratio = abi::tsc_ratio_one;
    std::uint64_t dr[4] = {};
    bool dr_live =
        false;          ///< the guest used its debug registers since it was last entered: they are in the CPU
    abi::Event event{}; ///< waits for injection at the next entry

    // Where its TLB entries are.
    unsigned last_cpu = ~0u;
    std::uint64_t asid_generation = 0;
    bool flush = true; ///< the nested tables changed
    RecentPages recent;

    void* backend = nullptr; ///< AMD-V: its VMCB; VT-x: its vmx::GuestState

    /// Behind the object, in the same page where it fits.
    [[nodiscard]] FpuArea& fpu() { return *reinterpret_cast<FpuArea*>(this + 1); }
};

struct Vm {
    std::uint64_t handle = 0; ///< 0: free slot
    std::uint64_t generation = 0;
    abi::Key key{};
    NestedTables tables;
    abi::Extent area{}; ///< the shared area
    abi::Extent extents[abi::extents_max] = {};
    std::uint32_t extent_count = 0;
    std::uint64_t memory_bytes = 0;
    std::uint64_t scrubbed_bytes = 0; ///< how much of the memory has been zeroed
    std::uint32_t vcpu_count = 0;
    Vcpu* vcpus[abi::vcpus_max] = {};
    /// How many vCPUs are in guest mode; -1 while the mappings change. Atomically accessed.
    std::int32_t gate = 0;

    [[nodiscard]] abi::CpuidPage& cpuid_page() const {
        return *reinterpret_cast<abi::CpuidPage*>(area.address + abi::vm_area_cpuid * page_size);
    }
    [[nodiscard]] std::uint64_t* dirty_page() const {
        return reinterpret_cast<std::uint64_t*>(area.address + abi::vm_area_dirty * page_size);
    }
};

/// The VM with this handle, or null.
Vm* find_vm(std::uint64_t handle);

struct CallResult {
    abi::Status status = abi::Status::Ok;
    std::uint64_t value0 = 0, value1 = 0;
    bool repeat = false; ///< leave the control OS's instruction pointer on the hypercall
};

/// The keys have been checked by the caller (control/hypercalls.cpp).
CallResult create_vm(std::uint64_t bytes, std::uint64_t vcpus);
CallResult scrub_vm(Vm& vm);
CallResult destroy_vm(Vm& vm);
CallResult map_memory(Vm& vm, std::uint64_t gpa_and_flags, HostPhys host, std::uint64_t bytes);
CallResult unmap_memory(Vm& vm, GuestPhys gpa, std::uint64_t bytes);
CallResult harvest_dirty(Vm& vm, GuestPhys gpa, std::uint64_t bytes);
CallResult run_vcpu(PerCpu& cpu, Vm& vm, std::uint64_t index);
CallResult fetch_vcpu_state(Vm& vm, std::uint64_t index);

/// 128 random bits.
abi::Key make_key();

/// CPUID as a guest sees it (guest/cpuid.cpp).
CpuidResult guest_cpuid(const Vcpu& vcpu, std::uint32_t function, std::uint32_t index,
                        std::uint64_t guest_cr4);

} // namespace escalus::vmm
