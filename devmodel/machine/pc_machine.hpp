// SPDX-License-Identifier: GPL-2.0-or-later
// The pc machine as a whole: the board, its processors' threads, guest time, and the life of both.
//
// Whatever stops the machine from within (reset, power-off, a crash) comes from a vCPU's thread in the middle
// of an access. It holds all vCPUs there and then, and the loop thread does the rest once they are out.
#pragma once

#include "devmodel/backends/host/loop_thread.hpp"
#include "devmodel/engine/near_memory.hpp"
#include "devmodel/machine/device_condition.hpp"
#include "devmodel/machine/direct_boot.hpp"
#include "devmodel/machine/guest_clock.hpp"
#include "devmodel/machine/loop_clock.hpp"
#include "devmodel/machine/machine.hpp"
#include "devmodel/machine/pc_board.hpp"
#include "devmodel/machine/vcpu_thread.hpp"

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

namespace escalus {

class PcMachine final : public Machine, public NearMemory, private VcpuHost {
  public:
    PcMachine(boost::asio::io_context& loop, Engine& engine, const MachineConfig& config,
              const std::string& runtime_directory);
    ~PcMachine() override;
    PcMachine(const PcMachine&) = delete;
    PcMachine& operator=(const PcMachine&) = delete;

    void start(std::function<void(StopReason, std::string details)> stopped) override;
    void pause() override;
    void resume() override;
    void reset() override;
    void stop() override;
    void press_power_button() override;
    [[nodiscard]] MachineState state() const override;
    [[nodiscard]] double cpu_seconds() const override;
    Display* display() override { return board_.vga ? &*board_.vga : nullptr; }
    KeyboardSink& keyboard() override { return board_.keys; }
    PointerSink& pointer() override { return board_.pointer; }
    DeviceLock& lock() override { return lock_; }
    [[nodiscard]] std::vector<ExitCount> exit_statistics() override;
    [[nodiscard]] std::vector<VcpuCount> vcpu_statistics() override;
    [[nodiscard]] std::vector<RemovableDrive> removable_drives() override;
    void insert_medium(const std::string& device, Descriptor image, const std::string& path,
                       bool force) override;
    void eject_medium(const std::string& device, bool force) override;
    [[nodiscard]] std::string serial_path(unsigned port) override;

  private:
    // VcpuHost
    void triple_fault(unsigned vcpu) override;
    void vcpu_failed(unsigned vcpu, std::string text) override;

    void build_processors(std::uint64_t tsc_hz, bool deadline_timer);
    void reset_all(ResetKind kind);
    void hold_all();
    void wait_until_held(std::unique_lock<DeviceLock>& lock);
    void let_all_go();
    void pause_time();
    void resume_time();
    void request_reset();
    void request_power_off();
    /// Runs on the loop thread, with the lock held and all vCPUs out of guest mode; unless the machine is
    /// gone.
    void once_held(std::function<void()> then);
    void stop_by_itself(StopReason reason, std::string details);
    void finish_reset();

    // In order of construction; the lock and the loop outlive every device.
    boost::asio::io_context& loop_;
    MachineConfig config_;
    mutable DeviceLock lock_;
    TscMeter meter_;
    PcFirmware firmware_;
    std::unique_ptr<EngineVm> vm_;
    GuestClock clock_;
    TscRatio tsc_ratio_;
    /// Frames that come in. Whoever sends a stream to the guest has the CPU for a while before they are taken
    /// over, where it is the only one: in lots, that is, as every change between guest, device model and
    /// sender costs more than a frame.
    boost::asio::io_context network_loop_;
    LoopClock network_clock_{network_loop_, lock_, clock_};
    PcBoard board_;
    LoopThread network_{network_loop_};
    std::unique_ptr<DirectBoot> direct_boot_; // null: the firmware boots
    std::unique_ptr<Emulator> emulator_;
    std::vector<std::unique_ptr<VcpuThread>> vcpus_;
    DeviceCondition held_changed_;

    MachineState state_ = MachineState::Created;
    bool stopping_ = false; // a reset, power-off or crash is under way
    std::function<void(StopReason, std::string)> stopped_;
    GuestTime last_triple_fault_ = 0;
    unsigned quick_triple_faults_ = 0;
    std::shared_ptr<int> alive_ = std::make_shared<int>(); // posted work looks whether the machine still is
};

} // namespace escalus
