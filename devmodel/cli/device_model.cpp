// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/cli/device_model.hpp"

#include "devmodel/backends/host/loop_thread.hpp"
#include "devmodel/cli/control_os.hpp"
#include "devmodel/cli/control_server.hpp"
#include "devmodel/config/machine_json.hpp"
#include "devmodel/engine/monitor_engine.hpp"
#include "devmodel/engine/sandbox.hpp"
#include "devmodel/machine/machine.hpp"
#include "vnc/vnc_server.hpp"

#include <csignal>
#include <optional>

#include <boost/asio.hpp>
#include <boost/json.hpp>
#include <fmt/format.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace escalus {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using Stream = asio::posix::stream_descriptor;

/// Tells the guardian of the VM as soon as it exists, so that it is destroyed whatever happens next.
class ReportingEngine final : public Engine {
  public:
    ReportingEngine(MonitorEngine& engine, std::function<void(const json::object&)> report)
        : engine_{engine}, report_{std::move(report)} {}

    [[nodiscard]] EngineInfo info() const override { return engine_.info(); }
    std::unique_ptr<EngineVm> create_vm(std::uint64_t memory_bytes, unsigned vcpus) override {
        auto vm = engine_.create_vm(memory_bytes, vcpus);
        const auto& created = engine_.created_vm();
        report_({{"event", "vm"},
                 {"handle", created.handle},
                 {"key_low", created.key.low},
                 {"key_high", created.key.high}});
        return vm;
    }

  private:
    MonitorEngine& engine_;
    std::function<void(const json::object&)> report_;
};

class DeviceModel {
  public:
    DeviceModel(const MachineConfig& config, const std::filesystem::path& directory, const ChildPipes& pipes,
                const DeviceModelOptions& options)
        : config_{config},
          options_{options},
          status_{pipes.status},
          lifeline_{loop_, pipes.lifeline},
          signals_{loop_, end_signals()},
          engine_{monitor_, [this](const json::object& o) { report(o); }},
          machine_{Machine::create(loop_, engine_, config, directory)} {
        json::object running{{"event", "running"}};
        ControlHooks hooks;
        // The handle's slot counts from 0, but ID 0 is the control OS.
        hooks.id = (monitor_.created_vm().handle & 0xffff) + control_os_id + 1;
        if (config.vnc.enabled && machine_->display() != nullptr) {
            VncOptions vnc;
            vnc.config = config.vnc;
            vnc.name = config.name;
            vnc_.emplace(viewers_loop_, *machine_->display(), machine_->keyboard(), machine_->pointer(),
                         machine_->lock(), vnc);
            running["vnc"] = hooks.vnc_address = vnc_->address();
            running["web"] = hooks.web_address = vnc_->web_address();
        }
        json::array serial;
        for (unsigned port = 0; port < config.serial.size(); ++port)
            serial.emplace_back(machine_->serial_path(port));
        running["id"] = hooks.id;
        running["serial"] = std::move(serial);
        hooks.start = [this] { start(); };
        hooks.destroy = [this] { stopped("destroyed", {}, LifecycleAction::Destroy); };
        control_.emplace(loop_, viewers_loop_, directory / "control", *machine_, config, std::move(hooks));
        viewers_.start("viewers");

        monitor_.give_up_host_access();
        if (options_.sandbox)
            enter_sandbox(sandbox_options());
        watch();
        report(running);
    }

    ~DeviceModel() {
        viewers_.stop();
        control_.reset();
        vnc_.reset();
        machine_->stop();
    }
    DeviceModel(const DeviceModel&) = delete;
    DeviceModel& operator=(const DeviceModel&) = delete;

    void run() {
        if (!options_.paused)
            start();
        loop_.run();
    }

  private:
    /// SIGTERM comes from the guardian; the terminal's signals are the guardian's business.
    static int end_signals() {
        sigset_t blocked, watched;
        sigemptyset(&blocked);
        sigemptyset(&watched);
        for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE})
            sigaddset(&blocked, signal);
        sigaddset(&watched, SIGTERM);
        ::pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
        return ::signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    }

    [[nodiscard]] SandboxOptions sandbox_options() const {
        SandboxOptions result;
        for (const auto& network : config_.networks)
            (network.kind == NetworkKind::User ? result.user_network : result.tap_offloads) = true;
        return result;
    }

    void report(const json::object& event) const {
        const std::string line = json::serialize(event) + '\n';
        static_cast<void>(!::write(status_, line.data(), line.size())); // nobody listens: the lifeline ends
    }

    void watch() {
        const auto end = [this](boost::system::error_code error) {
            if (error != asio::error::operation_aborted)
                stopped("destroyed", {}, LifecycleAction::Destroy);
        };
        lifeline_.async_wait(Stream::wait_read, end);
        signals_.async_wait(Stream::wait_read, end);
    }

    void start() {
        machine_->start([this](StopReason reason, const std::string& details) {
            switch (reason) {
            case StopReason::PowerOff:
                return stopped("power-off", details, config_.on_poweroff);
            case StopReason::Reboot:
                return stopped("reboot", details, config_.on_reboot);
            case StopReason::Crash:
                return stopped("crash", details, config_.on_crash);
            }
        });
    }

    void stopped(const char* reason, const std::string& details, LifecycleAction action) {
        if (loop_.stopped())
            return;
        report(
            {{"event", "stopped"}, {"reason", reason}, {"details", details}, {"action", to_string(action)}});
        if (action != LifecycleAction::Preserve)
            loop_.stop();
    }

    const MachineConfig& config_;
    DeviceModelOptions options_;
    int status_;
    asio::io_context loop_, viewers_loop_; // the second for VNC and screenshots
    Stream lifeline_, signals_;
    MonitorEngine monitor_;
    ReportingEngine engine_;
    std::unique_ptr<Machine> machine_;
    std::optional<VncServer> vnc_;
    std::optional<ControlServer> control_;
    LoopThread viewers_{viewers_loop_};
};

} // namespace

int run_device_model(const MachineConfig& config, const std::filesystem::path& directory,
                     const ChildPipes& pipes, const DeviceModelOptions& options) {
    try {
        DeviceModel{config, directory, pipes, options}.run();
        return 0;
    } catch (const std::exception& error) {
        const std::string line =
            json::serialize(json::object{{"event", "failed"}, {"message", error.what()}}) + '\n';
        static_cast<void>(!::write(pipes.status, line.data(), line.size()));
        return 1;
    }
}

} // namespace escalus
