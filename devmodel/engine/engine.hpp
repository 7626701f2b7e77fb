// SPDX-License-Identifier: GPL-2.0-or-later
// What executes guest code. The monitor's engine (monitor_engine.hpp) is the first; another hypervisor's
// interface could stand beside it. State and exits use the types of vmm/abi, which are engine-neutral plain
// data.
#pragma once

#include "devmodel/machine/guest_memory.hpp"
#include "vmm/abi/abi.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace escalus {

/// An engine refused or failed; what() says what, why, and what to do instead.
class EngineError : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// One virtual CPU. run() is called from its own thread only; request_exit() from any.
class EngineVcpu {
  public:
    virtual ~EngineVcpu() = default;
    /// The state shared with the engine: read it after run() returned, change it (and set `dirty`) before the
    /// next run().
    virtual abi::VcpuPage& page() = 0;
    /// Executes guest code until the device model is needed. Throws EngineError when the engine refuses.
    virtual abi::ExitReason run() = 0;
    /// Makes a run() under way, or the next one, return Interrupted soon. Cheap when not in guest mode.
    virtual void request_exit() = 0;
    /// Brings all groups of page() up to date (after exits where `valid` lacks some).
    virtual void fetch_state() = 0;
    [[nodiscard]] virtual const abi::StatPage& statistics() const = 0;
};

class EngineVm : public MemoryMap {
  public:
    /// The CPUID table as the guest will see it. Before the first run().
    virtual void set_cpuid(std::span<const abi::CpuidEntry> entries) = 0;
    [[nodiscard]] virtual EngineVcpu& vcpu(unsigned index) = 0;
    [[nodiscard]] virtual unsigned vcpu_count() const = 0;
};

struct EngineInfo {
    std::string name;    ///< "monitor"
    std::string backend; ///< "AMD-V" or "VT-x"
    std::uint32_t abi_version = 0;
    std::uint64_t pool_bytes = 0, pool_free_bytes = 0;
    unsigned cpus = 0;
    bool scales_tsc = false; ///< abi::Msrs::tsc_ratio has an effect
    /// run() ends at VcpuPage::deadline by itself. Without it the deadline is looked at on each entry and
    /// after each interrupt of the host, for which somebody has to see (host_alarm.hpp).
    bool deadline_timer = false;
};

class Engine {
  public:
    virtual ~Engine() = default;
    [[nodiscard]] virtual EngineInfo info() const = 0;
    /// `memory_bytes` is the sum of what MemoryMap::allocate will be asked for (each rounded up to 2 MiB).
    virtual std::unique_ptr<EngineVm> create_vm(std::uint64_t memory_bytes, unsigned vcpus) = 0;
};

} // namespace escalus
