// SPDX-License-Identifier: GPL-2.0-or-later
// The engine over the monitor's hypercalls (vmm/abi/abi.hpp is the contract, docs/ABI.md explains it).
//
// The order of a device model's life: construct as root, create_vm (which maps the VM's pages and memory),
// give_up_host_access, enter_sandbox (sandbox.hpp). From then on the process holds its own VM's key and
// nothing of the host's.
#pragma once

#include "devmodel/engine/engine.hpp"
#include "devmodel/engine/monitor_host.hpp"

#include <memory>

namespace escalus {

class MonitorEngine final : public Engine {
  public:
    /// Throws EngineError: no monitor, another ABI version, /dev/mem refused.
    MonitorEngine();
    explicit MonitorEngine(std::unique_ptr<MonitorHost> host) : host_{std::move(host)} {}

    /// As it was when the host was given up, afterwards.
    [[nodiscard]] EngineInfo info() const override;
    /// Throws EngineError; when the pool is too small it says how much is free.
    std::unique_ptr<EngineVm> create_vm(std::uint64_t memory_bytes, unsigned vcpus) override;

    /// What identifies the VM created last: whoever holds it can destroy that VM (MonitorHost::destroy needs
    /// only the handle, as root), should this process die.
    struct CreatedVm {
        std::uint64_t handle = 0;
        abi::Key key;
    };
    [[nodiscard]] const CreatedVm& created_vm() const { return created_; }

    /// Unmaps the host page with its key and closes /dev/mem. VMs that were created live on.
    void give_up_host_access();

  private:
    std::unique_ptr<MonitorHost> host_;
    EngineInfo last_info_;
    CreatedVm created_;
};

} // namespace escalus
