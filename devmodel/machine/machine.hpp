// SPDX-License-Identifier: GPL-2.0-or-later
// A running machine as its surroundings (command line, control socket, VNC) see it.
#pragma once

#include "devmodel/backends/host/descriptor.hpp"
#include "devmodel/config/machine_config.hpp"
#include "devmodel/devices/display/display.hpp"
#include "devmodel/devices/input/input.hpp"
#include "devmodel/engine/engine.hpp"
#include "devmodel/machine/device_lock.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace boost::asio {
class io_context;
}

namespace escalus {

enum class MachineState { Created, Running, Paused, PoweredOff, Crashed };

/// Why a machine stopped by itself.
enum class StopReason { PowerOff, Reboot, Crash };

class Machine {
  public:
    /// Builds the machine: allocates guest memory, opens every file, plugs every device. Throws
    /// std::runtime_error (or EngineError) with a message for the user; nothing is left behind then.
    /// `runtime_directory` is where sockets go (/run/escalus/NAME).
    static std::unique_ptr<Machine> create(boost::asio::io_context& loop, Engine& engine,
                                           const MachineConfig& config, const std::string& runtime_directory);
    virtual ~Machine() = default;

    /// Lets the vCPUs go. `stopped` comes once on the loop thread, when the guest powered off, asked for a
    /// reboot (and on_reboot is not restart, which the machine does by itself), or crashed.
    virtual void start(std::function<void(StopReason, std::string details)> stopped) = 0;
    virtual void pause() = 0;
    virtual void resume() = 0;
    virtual void reset() = 0;
    /// Takes the vCPUs out of guest mode for good and joins their threads. Called before destruction.
    virtual void stop() = 0;
    /// Presses the ACPI power button.
    virtual void press_power_button() = 0;

    [[nodiscard]] virtual MachineState state() const = 0;
    [[nodiscard]] virtual double cpu_seconds() const = 0; ///< time the vCPUs spent in guest mode

    /// Null when the machine has none. Use with lock() held.
    virtual Display* display() = 0;
    virtual KeyboardSink& keyboard() = 0;
    virtual PointerSink& pointer() = 0;
    virtual DeviceLock& lock() = 0; ///< the device lock

    struct ExitCount {
        std::string name;
        std::uint64_t count = 0;
    };
    [[nodiscard]] virtual std::vector<ExitCount> exit_statistics() = 0;
    /// What one vCPU did.
    struct VcpuCount {
        double cpu_seconds = 0; ///< in guest mode
        std::uint64_t entries = 0, exits_to_device_model = 0, host_interrupts = 0;
    };
    [[nodiscard]] virtual std::vector<VcpuCount> vcpu_statistics() = 0;
    struct RemovableDrive {
        std::string device; ///< "hdc", "fda"
        DiskKind kind = DiskKind::CdRom;
        std::string medium; ///< its path; empty: none
    };
    [[nodiscard]] virtual std::vector<RemovableDrive> removable_drives() = 0;
    /// Puts the image behind a descriptor (see open_image_file) into a drive, in place of what is there; or
    /// takes the medium out. Throws std::runtime_error with a message for the user, and has changed nothing
    /// then: no such drive, no disk that fits, or locked by the guest (which is asked to let go) without
    /// `force`.
    virtual void insert_medium(const std::string& device, Descriptor image, const std::string& path,
                               bool force) = 0;
    virtual void eject_medium(const std::string& device, bool force) = 0;
    /// Where COM1 is to be found ("/run/escalus/NAME/serial0", "/dev/pts/3"); empty when it has no terminal.
    [[nodiscard]] virtual std::string serial_path(unsigned port) = 0;
};

} // namespace escalus
