// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/pc_machine.hpp"

#include "devmodel/backends/block/open_image.hpp"
#include "devmodel/machine/cpuid_policy.hpp"
#include "devmodel/machine/exit_names.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <cpuid.h>
#include <fmt/format.h>

namespace escalus {

namespace {

std::array<std::uint32_t, 4> native_cpuid(std::uint32_t leaf, std::uint32_t index) {
    std::array<std::uint32_t, 4> r{};
    __cpuid_count(leaf, index, r[0], r[1], r[2], r[3]);
    return r;
}

// The rate that a guest's TSC shall have, or the host's, where that is as good as the same: clocks of
// computers are no better.
std::uint64_t guest_tsc_hz(const MachineConfig& config, std::uint64_t host_hz, bool scales) {
    constexpr std::uint64_t parts = 1'000'000, tolerance = 250;
    const auto wanted = std::uint64_t{config.tsc_khz} * 1000;
    const auto difference = wanted > host_hz ? wanted - host_hz : host_hz - wanted;
    if (wanted == 0 || difference <= host_hz / parts * tolerance)
        return host_hz;
    if (!scales)
        throw EngineError{
            fmt::format("tsc_khz = {}: this CPU cannot run a guest's TSC at another rate than its own (or "
                        "the monitor was told tsc-scaling=off). Remove the line, or write tsc_khz = {}.",
                        config.tsc_khz, host_hz / 1000)};
    return wanted;
}

/// Nanoseconds since 1970, shifted like the guest's real-time clock, but not into a time zone.
std::int64_t wall_time(std::int64_t offset_seconds) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count() + offset_seconds * ns_per_second;
}

// A guest that triple-faults again within this time of its reset, so many times in a row, never comes up.
constexpr GuestTime quick = ns_per_second / 2;
constexpr unsigned too_many_quick_ones = 5;

} // namespace

std::unique_ptr<Machine> Machine::create(boost::asio::io_context& loop, Engine& engine,
                                         const MachineConfig& config, const std::string& runtime_directory) {
    return std::make_unique<PcMachine>(loop, engine, config, runtime_directory);
}

PcMachine::PcMachine(boost::asio::io_context& loop, Engine& engine, const MachineConfig& config,
                     const std::string& runtime_directory)
    : loop_{loop},
      config_{config},
      firmware_{config},
      vm_{engine.create_vm(firmware_.memory_bytes(config), config.vcpus)},
      clock_{loop, lock_},
      board_{loop,
             {network_loop_, network_clock_},
             lock_,
             clock_,
             *vm_,
             config,
             firmware_,
             runtime_directory,
             {.reset = [this] { request_reset(); }, .power_off = [this] { request_power_off(); }}} {
    if (!config.kernel.empty())
        direct_boot_ = DirectBoot::open(config);
    const auto host_hz = meter_.result();
    clock_.set_frequency(host_hz);
    const auto tsc_hz = guest_tsc_hz(config, host_hz, engine.info().scales_tsc);
    if (tsc_hz != host_hz)
        tsc_ratio_ = TscRatio{tsc_hz, host_hz};
    build_processors(tsc_hz, engine.info().deadline_timer);
    const std::lock_guard lock{lock_};
    reset_all(ResetKind::PowerOn);
    // Here and not in start(): whoever gives up privileges meanwhile could not pin threads any more.
    if (!config_.networks.empty())
        network_.start("network", LoopThread::Manner::Patient);
    for (std::size_t i = 0; i < vcpus_.size(); ++i)
        vcpus_[i]->start(i < config_.pins.size() ? &config_.pins[i].cpus : nullptr);
}

PcMachine::~PcMachine() {
    stop();
    vcpus_.clear();
    network_.stop();
    lock_.lock(); // and never given back: no disk's worker shall find a device that is half gone
}

void PcMachine::build_processors(std::uint64_t tsc_hz, bool deadline_timer) {
    CpuidPolicy policy{.host = native_cpuid,
                       .vcpus = config_.vcpus,
                       .tsc_hz = tsc_hz,
                       .apic = config_.apic,
                       .x2apic = config_.apic,
                       .tsc_deadline = config_.apic,
                       .kvm_features = config_.kvm_interface ? KvmInterface::features(config_.apic) : 0,
                       .overrides = config_.cpuid};
    const auto table = build_cpuid(policy);
    vm_->set_cpuid(table);
    const auto features = cpuid_lookup(table, 1);
    const auto address_bits = physical_address_bits(table);
    const bool amd = cpuid_lookup(table, 0)[1] != 0x756e6547; // "Genu"
    emulator_ = std::make_unique<Emulator>(
        board_.space, board_.memory_bus, board_.ports,
        EmulatorOptions{.physical_address_bits = address_bits,
                        .gigabyte_pages = (cpuid_lookup(table, 0x80000001)[3] >> 26 & 1) != 0,
                        .memory_generation = &board_.space.generation()});
    const VcpuSurroundings around{
        .lock = lock_,
        .clock = clock_,
        .pic = board_.pic,
        .apic_bus = board_.apic_bus,
        .apic_window = board_.apic_window,
        .ports = board_.ports,
        .port_notes = board_.port_notes,
        .memory = board_.space,
        .emulator = *emulator_,
        .host = *this,
        .tsc_ratio = tsc_ratio_,
        .deadline_timer = deadline_timer,
        .wall_time = [offset = config_.rtc_offset_seconds] { return wall_time(offset); }};
    std::vector<abi::VcpuPage*> pages;
    for (unsigned i = 0; i < config_.vcpus; ++i)
        pages.push_back(&vm_->vcpu(i).page());
    board_.port_notes.attach(std::move(pages));
    for (unsigned i = 0; i < config_.vcpus; ++i) {
        const LocalApic::Config apic{.id = i,
                                     .bootstrap = i == 0,
                                     .present = config_.apic,
                                     .x2apic = (features[2] >> 21 & 1) != 0,
                                     .tsc_deadline = (features[2] >> 24 & 1) != 0,
                                     .physical_address_bits = address_bits};
        vcpus_.push_back(std::make_unique<VcpuThread>(
            i, vm_->vcpu(i), around,
            VcpuConfig{.apic = apic,
                       .msrs = {.amd = amd, .physical_address_bits = address_bits, .tsc_hz = tsc_hz},
                       .kvm = {.features = cpuid_lookup(table, leaf_kvm_features)[0], .tsc_hz = tsc_hz},
                       .cpuid_signature = features[0]}));
        board_.connect(vcpus_.back()->apic());
    }
}

void PcMachine::reset_all(ResetKind kind) {
    board_.reset(kind);
    // All TSCs begin with the same reading: systems compare them, and give the TSC up when they differ.
    const auto tsc_offset = 0 - tsc_ratio_.to_guest(clock_.reference_tsc());
    for (auto& vcpu : vcpus_)
        vcpu->reset(kind, tsc_offset);
    board_.apic_window.update();
    if (direct_boot_)
        direct_boot_->load(board_, vcpus_);
}

void PcMachine::start(std::function<void(StopReason, std::string)> stopped) {
    const std::lock_guard lock{lock_};
    stopped_ = std::move(stopped);
    resume_time();
    board_.start();
    let_all_go();
    state_ = MachineState::Running;
}

void PcMachine::hold_all() {
    for (auto& vcpu : vcpus_)
        vcpu->hold(held_changed_);
}

void PcMachine::wait_until_held(std::unique_lock<DeviceLock>& lock) {
    held_changed_.wait(lock, [&] { return std::ranges::all_of(vcpus_, [](auto& v) { return v->held(); }); });
}

void PcMachine::let_all_go() {
    for (auto& vcpu : vcpus_)
        vcpu->let_go();
}

void PcMachine::pause_time() {
    clock_.pause();
    network_clock_.paused();
}

void PcMachine::resume_time() {
    const auto moved = clock_.resume();
    network_clock_.resumed();
    for (auto& vcpu : vcpus_)
        vcpu->shift_tsc(moved);
}

void PcMachine::pause() {
    std::unique_lock lock{lock_};
    if (state_ != MachineState::Running || stopping_)
        return;
    hold_all();
    wait_until_held(lock);
    pause_time();
    board_.pause();
    // A vCPU may have stopped the machine on its way out.
    if (!stopping_)
        state_ = MachineState::Paused;
}

void PcMachine::resume() {
    const std::lock_guard lock{lock_};
    if (state_ != MachineState::Paused)
        return;
    board_.resume();
    resume_time();
    let_all_go();
    state_ = MachineState::Running;
}

void PcMachine::reset() {
    std::unique_lock lock{lock_};
    if ((state_ != MachineState::Running && state_ != MachineState::Paused) || stopping_)
        return;
    hold_all();
    wait_until_held(lock);
    if (stopping_)
        return;
    reset_all(ResetKind::System);
    if (state_ == MachineState::Running)
        let_all_go();
}

void PcMachine::stop() {
    {
        const std::lock_guard lock{lock_};
        stopping_ = true;
        for (auto& vcpu : vcpus_)
            vcpu->quit();
    }
    for (auto& vcpu : vcpus_)
        vcpu->join();
    const std::lock_guard lock{lock_};
    pause_time();
    if (state_ == MachineState::Running || state_ == MachineState::Paused)
        state_ = MachineState::PoweredOff;
    alive_.reset();
}

void PcMachine::press_power_button() {
    const std::lock_guard lock{lock_};
    board_.pm.press_power_button();
}

MachineState PcMachine::state() const {
    const std::lock_guard lock{lock_};
    return state_;
}

double PcMachine::cpu_seconds() const {
    double cycles = 0;
    for (const auto& vcpu : vcpus_)
        cycles += static_cast<double>(vcpu->statistics().guest_cycles);
    return cycles / static_cast<double>(clock_.scale().hz());
}

// --- what the guest does to the machine

void PcMachine::once_held(std::function<void()> then) {
    stopping_ = true;
    hold_all();
    boost::asio::post(loop_, [this, alive = std::weak_ptr{alive_}, then = std::move(then)] {
        if (alive.expired())
            return;
        {
            std::unique_lock lock{lock_};
            wait_until_held(lock);
        }
        then();
    });
}

void PcMachine::request_reset() {
    if (!stopping_)
        once_held([this] { finish_reset(); });
}

void PcMachine::request_power_off() {
    if (!stopping_)
        once_held([this] { stop_by_itself(StopReason::PowerOff, {}); });
}

void PcMachine::finish_reset() {
    if (config_.on_reboot != LifecycleAction::Restart)
        return stop_by_itself(StopReason::Reboot, {});
    try {
        const std::lock_guard lock{lock_};
        reset_all(ResetKind::System);
        stopping_ = false;
        if (state_ == MachineState::Running)
            let_all_go();
    } catch (const std::runtime_error& error) { // a kernel's file that is no longer what it was
        stop_by_itself(StopReason::Crash, error.what());
    }
}

void PcMachine::stop_by_itself(StopReason reason, std::string details) {
    std::function<void(StopReason, std::string)> stopped;
    {
        const std::lock_guard lock{lock_};
        if (clock_.running()) {
            pause_time();
            board_.pause();
        }
        state_ = reason == StopReason::Crash ? MachineState::Crashed : MachineState::PoweredOff;
        stopped = std::exchange(stopped_, {});
    }
    if (stopped)
        stopped(reason, std::move(details));
}

void PcMachine::triple_fault(unsigned vcpu) {
    if (stopping_)
        return;
    // The chipset answers a processor's shutdown cycle with a reset. A guest that does nothing but that would
    // go round for ever.
    const auto now = clock_.now();
    quick_triple_faults_ = now - last_triple_fault_ < quick ? quick_triple_faults_ + 1 : 1;
    last_triple_fault_ = now;
    if (quick_triple_faults_ < too_many_quick_ones) {
        fmt::print(stderr, "vCPU {}: triple fault; the machine resets\n{}\n", vcpu,
                   emulator_->describe(vcpus_.at(vcpu)->page()));
        return request_reset();
    }
    vcpu_failed(vcpu, fmt::format("triple faults, one right after the other\n{}",
                                  emulator_->describe(vcpus_.at(vcpu)->page())));
}

void PcMachine::vcpu_failed(unsigned vcpu, std::string text) {
    if (stopping_)
        return;
    once_held([this, details = fmt::format("vCPU {}: {}", vcpu, text)] {
        stop_by_itself(StopReason::Crash, details);
    });
}

// --- for the user

std::vector<Machine::ExitCount> PcMachine::exit_statistics() {
    std::map<std::string, std::uint64_t> sums;
    for (const auto& vcpu : vcpus_)
        for (const auto& [name, count] : name_exits(vcpu->statistics()))
            sums[name] += count;
    std::vector<ExitCount> result;
    result.reserve(sums.size());
    for (const auto& [name, count] : sums)
        result.push_back({name, count});
    std::ranges::stable_sort(result, std::ranges::greater{}, &ExitCount::count);
    return result;
}

std::vector<Machine::VcpuCount> PcMachine::vcpu_statistics() {
    std::vector<VcpuCount> result;
    for (const auto& vcpu : vcpus_) {
        const auto& counted = vcpu->statistics();
        result.push_back({.cpu_seconds = static_cast<double>(counted.guest_cycles) /
                                         static_cast<double>(clock_.scale().hz()),
                          .entries = counted.entries,
                          .exits_to_device_model = counted.exits_to_device_model,
                          .host_interrupts = counted.host_interrupts});
    }
    return result;
}

std::vector<Machine::RemovableDrive> PcMachine::removable_drives() {
    const std::lock_guard lock{lock_};
    return board_.removable_drives();
}

void PcMachine::insert_medium(const std::string& device, Descriptor image, const std::string& path,
                              bool force) {
    auto medium = adopt_image(std::move(image), path, device, lock_);
    const std::lock_guard lock{lock_};
    board_.insert_medium(device, std::move(medium), force);
}

void PcMachine::eject_medium(const std::string& device, bool force) {
    const std::lock_guard lock{lock_};
    board_.eject_medium(device, force);
}

std::string PcMachine::serial_path(unsigned port) {
    const auto& backends = board_.serial_backends;
    return port < backends.size() && backends[port] ? backends[port]->description() : std::string{};
}

} // namespace escalus
