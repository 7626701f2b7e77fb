// SPDX-License-Identifier: GPL-2.0-or-later
// The monitor as root sees it: discovery by CPUID, the host page, the log, the list of VMs.
#pragma once

#include "devmodel/engine/engine.hpp"
#include "devmodel/engine/hypercall.hpp"
#include "devmodel/engine/physical_memory.hpp"

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace escalus {

/// What the CPUID leaves say (abi.hpp, "Discovery").
struct MonitorDiscovery {
    std::uint32_t abi_version = 0;
    std::uint32_t features = 0;
    abi::Backend backend = abi::Backend::Svm;
    HostPhys host_page{};
};

using CpuidFunction = std::function<std::array<std::uint32_t, 4>(std::uint32_t leaf, std::uint32_t index)>;
/// CPUID of the CPU that this runs on.
[[nodiscard]] std::array<std::uint32_t, 4> host_cpuid(std::uint32_t leaf, std::uint32_t index);

/// Nothing when there is no monitor underneath; its version is not judged.
[[nodiscard]] std::optional<MonitorDiscovery> discover_monitor(const CpuidFunction& cpuid = host_cpuid);
/// The same with a message for the user: throws EngineError when there is no monitor, or one that speaks
/// another version of the ABI.
[[nodiscard]] MonitorDiscovery require_monitor(const CpuidFunction& cpuid = host_cpuid);

/// Needs root: maps the host page through /dev/mem.
class MonitorHost {
  public:
    /// Throws EngineError: no monitor, another ABI version, /dev/mem refused.
    MonitorHost();
    MonitorHost(const MonitorDiscovery& discovery, std::shared_ptr<HypercallPort> port,
                std::unique_ptr<PhysicalMemory> memory);

    [[nodiscard]] EngineInfo info() const;

    struct VmInfo {
        std::uint64_t handle = 0; ///< abi::VmHandle
        std::uint64_t memory_bytes = 0;
        unsigned vcpus = 0;
    };
    [[nodiscard]] std::vector<VmInfo> vms() const;
    /// A copy of the counters of one vCPU of a VM; nothing when there is no such VM or vCPU.
    [[nodiscard]] std::optional<abi::StatPage> statistics(std::uint64_t handle, unsigned vcpu) const;
    /// What the log ring holds, oldest first, from a whole line on. `position`, when given, says from which
    /// byte of the stream to read, and is moved to its end (to follow the log).
    [[nodiscard]] std::string log(std::uint64_t* position = nullptr) const;
    /// Destroys a VM by the host key: for one whose device model died. Busy and unknown handles throw
    /// EngineError.
    void destroy(std::uint64_t handle);

  private:
    friend class MonitorEngine;
    void open(const MonitorDiscovery& discovery);

    std::shared_ptr<HypercallPort> port_;
    std::unique_ptr<PhysicalMemory> memory_;
    std::uint32_t features_ = 0;
    Mapping host_page_;
    Mapping log_;
};

} // namespace escalus
