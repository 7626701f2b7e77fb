// SPDX-License-Identifier: GPL-2.0-or-later
// A virtual CPU's thread: enters the guest, handles each exit with the device lock held, injects what is
// pending, and sleeps while the guest has nothing to do.
//
// State: what is pending (NMI, INIT, SIPI), whether the vCPU halts or waits for SIPI, the TSC offset, its
// local APIC, MSRs and KVM interface; all registers are in the engine's VcpuPage. SMIs are ignored: there is
// no SMM.
#pragma once

#include "devmodel/backends/host/host_alarm.hpp"
#include "devmodel/config/cpu_list.hpp"
#include "devmodel/devices/chipset/i8259.hpp"
#include "devmodel/devices/chipset/local_apic.hpp"
#include "devmodel/emulator/emulator.hpp"
#include "devmodel/engine/engine.hpp"
#include "devmodel/engine/near_memory.hpp"
#include "devmodel/machine/apic_window.hpp"
#include "devmodel/machine/device_condition.hpp"
#include "devmodel/machine/guest_clock.hpp"
#include "devmodel/machine/kvm_interface.hpp"
#include "devmodel/machine/msrs.hpp"
#include "devmodel/machine/port_notes.hpp"
#include "devmodel/machine/tsc_ratio.hpp"
#include "devmodel/machine/vcpu_clock.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>

namespace escalus {

/// What a vCPU's thread reports. Calls come from that thread with the device lock held.
class VcpuHost {
  public:
    virtual ~VcpuHost() = default;
    /// The vCPU met a triple fault; the machine resets. It has let the vCPUs go no further when this returns.
    virtual void triple_fault(unsigned vcpu) = 0;
    /// Execution cannot go on. The same.
    virtual void vcpu_failed(unsigned vcpu, std::string text) = 0;
};

struct VcpuSurroundings {
    DeviceLock& lock; ///< the device lock
    GuestClock& clock;
    I8259Pair& pic;
    ApicBus& apic_bus;
    ApicWindow& apic_window;
    Bus& ports;
    PortNotes& port_notes;
    GuestMemory& memory;
    Emulator& emulator;
    VcpuHost& host;
    TscRatio tsc_ratio;  ///< the same for all vCPUs
    bool deadline_timer; ///< the engine's
    KvmInterface::WallTime wall_time;
};

/// What CPUID says that a vCPU must agree with.
struct VcpuConfig {
    LocalApic::Config apic;
    Msrs::Config msrs;
    KvmInterface::Config kvm;
    std::uint32_t cpuid_signature = 0; ///< CPUID 1 EAX
};

class VcpuThread final : public CpuSignals, public TscClock, public NearMemory {
  public:
    VcpuThread(unsigned index, EngineVcpu& engine, const VcpuSurroundings& around, const VcpuConfig& config);
    ~VcpuThread() override;
    VcpuThread(const VcpuThread&) = delete;
    VcpuThread& operator=(const VcpuThread&) = delete;

    // All of these with the device lock held, but for join().
    /// Power-on or reset. Held only. `tsc_offset`: the guest's TSC less the host's (scaled), the same for all
    /// vCPUs.
    void reset(ResetKind kind, std::uint64_t tsc_offset);
    /// Starts the thread, which stays held, on these CPUs (null: on any). Throws std::runtime_error.
    void start(const CpuMask* cpus);
    void let_go();
    /// Takes the vCPU out of guest mode. It is out once held() says so; `changed` is notified then.
    void hold(DeviceCondition& changed);
    [[nodiscard]] bool held() const { return !thread_.joinable() || held_; }
    void quit();
    void join();

    LocalApic& apic() { return apic_; }
    Msrs& msrs() { return msrs_; }
    abi::VcpuPage& page() { return page_; }
    [[nodiscard]] const abi::VcpuPage& page() const { return page_; }
    [[nodiscard]] const abi::StatPage& statistics() const { return engine_.statistics(); }
    /// The clock's base moved (it was paused): the guest's TSC stays continuous.
    void shift_tsc(std::uint64_t by) {
        set_tsc_offset(tsc_offset_ - around_.tsc_ratio.to_guest(by));
        clock_.resumed();
    }

    // CpuSignals
    void interrupt_pending() override { wake(); }
    void nmi() override;
    void smi() override {}
    void init() override;
    void startup(std::uint8_t vector) override;
    // TscClock
    [[nodiscard]] std::uint64_t tsc_at(GuestTime time) const override;
    [[nodiscard]] GuestTime time_of_tsc(std::uint64_t tsc) const override;

  private:
    void run_loop();
    void wake();
    void take_init_and_startup();
    [[nodiscard]] bool can_wake() const;
    void sleep(std::unique_lock<DeviceLock>& lock);
    void set_alarm(std::uint64_t deadline_tsc);
    void prepare_entry();
    void prepare_interrupts(bool free);
    void inject(abi::EventType type, std::uint8_t vector, std::optional<std::uint32_t> error_code = {});
    [[nodiscard]] bool interruptible() const;
    void after_exit();
    void handle(abi::ExitReason reason);
    void handle_other(abi::ExitReason reason);
    void handle_io();
    void handle_memory();
    [[nodiscard]] bool emulate();
    void handle_task_switch();
    void handle_msr_read();
    void handle_msr_write();
    void unknown_msr(std::uint32_t index, bool write);
    void look_at(const EmulationResult& result);
    void complete_instruction();
    void need_state(std::uint32_t groups);
    void fail(const std::string& what);
    void set_tsc_offset(std::uint64_t offset);

    unsigned index_;
    EngineVcpu& engine_;
    abi::VcpuPage& page_;
    VcpuSurroundings around_;
    const std::uint32_t& posted_writes_; ///< not 0 while writes to ports wait
    std::uint32_t cpuid_signature_;
    VcpuClock clock_;
    std::unique_ptr<HostAlarm> alarm_; ///< where the engine has no timer for deadlines
    std::uint64_t alarm_tsc_ = 0;      ///< the deadline for which it was set
    LocalApic apic_;
    KvmInterface kvm_;
    Msrs msrs_;
    std::uint64_t tsc_offset_ = 0;
    bool bootstrap_;

    std::thread thread_;
    DeviceCondition wake_;
    DeviceCondition* held_changed_ = nullptr;
    bool may_run_ = false;
    bool quit_ = false;
    bool held_ = false;
    bool in_guest_ = false;
    bool exit_requested_ = false;
    bool sleeping_ = false;

    bool halted_ = false;
    bool waits_for_startup_ = false;
    bool init_pending_ = false;
    bool nmi_pending_ = false;
    std::optional<std::uint8_t> startup_pending_;
    std::set<std::uint32_t> logged_msrs_;
};

} // namespace escalus
