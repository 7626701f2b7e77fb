// SPDX-License-Identifier: GPL-2.0-or-later
// A VM of the monitor: its shared pages, its memory, its vCPUs. Destroyed in the monitor with the object.
#pragma once

#include "devmodel/engine/engine.hpp"
#include "devmodel/engine/hypercall.hpp"
#include "devmodel/engine/near_memory.hpp"
#include "devmodel/engine/physical_memory.hpp"
#include "devmodel/engine/region_allocator.hpp"
#include "devmodel/engine/run_gate.hpp"

#include <memory>
#include <vector>

#include <pthread.h>

namespace escalus {

class MonitorVm;

class MonitorVcpu final : public EngineVcpu, public NearMemory {
  public:
    /// `arguments` are those of VcpuRun and VcpuState.
    MonitorVcpu(HypercallPort& port, const HypercallArguments& arguments, RunGate& gate, unsigned index,
                abi::VcpuPage& page, const abi::StatPage& statistics)
        : port_{port},
          arguments_{arguments},
          gate_{gate},
          index_{index},
          page_{page},
          statistics_{statistics} {}

    abi::VcpuPage& page() override { return page_; }
    abi::ExitReason run() override;
    void request_exit() override;
    void fetch_state() override;
    [[nodiscard]] const abi::StatPage& statistics() const override { return statistics_; }
    [[nodiscard]] bool inside() const { return inside_.load(); }

  private:
    HypercallPort& port_;
    HypercallArguments arguments_;
    RunGate& gate_;
    unsigned index_;
    abi::VcpuPage& page_;
    const abi::StatPage& statistics_;
    RunGate::Inside inside_ = false;
    pthread_t thread_{}; // written before inside_ is set for the first time
    bool thread_known_ = false;
};

class MonitorVm final : public EngineVm, public NearMemory {
  public:
    /// Takes over a VM that VmCreate made, and destroys it should the rest fail.
    MonitorVm(std::shared_ptr<HypercallPort> port, const PhysicalMemory& memory, std::uint64_t handle,
              HostPhys vm_page, abi::Key host_key);
    ~MonitorVm() override;
    MonitorVm(const MonitorVm&) = delete;
    MonitorVm& operator=(const MonitorVm&) = delete;

    void set_cpuid(std::span<const abi::CpuidEntry> entries) override;
    [[nodiscard]] EngineVcpu& vcpu(unsigned index) override { return *vcpus_.at(index); }
    [[nodiscard]] unsigned vcpu_count() const override { return static_cast<unsigned>(vcpus_.size()); }

    [[nodiscard]] const abi::Key& key() const { return key_; }

    MemoryRegion& allocate(std::string name, std::uint64_t size) override;
    void map(GuestPhys gpa, MemoryRegion& region, std::uint64_t offset, std::uint64_t size,
             Access access) override;
    void unmap(GuestPhys gpa, std::uint64_t size) override;
    void harvest_dirty(GuestPhys gpa, std::uint64_t size, std::vector<std::uint64_t>& bitmap) override;

  private:
    class Region final : public MemoryRegion {
      public:
        Region(std::string name, std::uint64_t offset, std::span<std::uint8_t> bytes)
            : name_{std::move(name)}, offset_{offset}, bytes_{bytes} {}
        std::span<std::uint8_t> bytes() override { return bytes_; }
        [[nodiscard]] std::uint64_t offset() const { return offset_; }
        [[nodiscard]] const std::string& name() const { return name_; }

      private:
        std::string name_;
        std::uint64_t offset_;
        std::span<std::uint8_t> bytes_;
    };

    void attach(const PhysicalMemory& memory, HostPhys vm_page);
    HypercallResult call(abi::Call call, std::uint64_t rcx, std::uint64_t r8 = 0, std::uint64_t r9 = 0);
    /// A call that needs all vCPUs out of guest mode: tried at once, and again behind the closed gate when
    /// one was in. Throws EngineError when it fails.
    void call_outside(abi::Call call, const char* what, std::uint64_t rcx, std::uint64_t r8,
                      std::uint64_t r9 = 0);
    void scrub();
    void destroy() noexcept;

    std::shared_ptr<HypercallPort> port_;
    std::uint64_t handle_;
    abi::Key key_; // the host's until the VM's own has been read
    Mapping area_;
    Mapping memory_;
    RegionAllocator allocator_{{}};
    std::vector<std::unique_ptr<Region>> regions_;
    std::vector<std::unique_ptr<MonitorVcpu>> vcpus_;
    RunGate gate_;
};

} // namespace escalus
