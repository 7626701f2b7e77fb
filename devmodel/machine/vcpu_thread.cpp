// SPDX-License-Identifier: GPL-2.0-or-later
#include "devmodel/machine/vcpu_thread.hpp"

#include "devmodel/backends/host/thread_affinity.hpp"
#include "devmodel/machine/cpu_reset.hpp"
#include "devmodel/machine/exit_names.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include <fmt/format.h>

namespace escalus {

namespace {
constexpr std::uint64_t flag_tf = 1u << 8, flag_if = 1u << 9, flag_rf = 1u << 16;
constexpr std::uint64_t dr6_single_step = 1u << 14;
constexpr std::uint8_t vector_nmi = 2, vector_db = 1, vector_gp = 13;
constexpr GuestTime longest_wait = 86400 * ns_per_second; // so that no conversion overflows
// Where programs draw byte by byte, on planes that cannot be mapped.
constexpr std::uint64_t vga_window = 0xa0000, vga_window_end = 0xb0000;
} // namespace

VcpuThread::VcpuThread(unsigned index, EngineVcpu& engine, const VcpuSurroundings& around,
                       const VcpuConfig& config)
    : index_{index},
      engine_{engine},
      page_{engine.page()},
      around_{around},
      posted_writes_{around.port_notes.waiting()},
      cpuid_signature_{config.cpuid_signature},
      clock_{around.clock, [this] { wake(); }},
      apic_{clock_, this, around.apic_bus, *this, config.apic},
      kvm_{around.clock, *this, around.memory, apic_, around.wall_time, config.kvm},
      msrs_{config.msrs},
      bootstrap_{config.apic.bootstrap} {
    if (!around.deadline_timer)
        alarm_ = std::make_unique<HostAlarm>();
}

VcpuThread::~VcpuThread() {
    {
        const std::lock_guard lock{around_.lock};
        quit();
    }
    join();
}

// --- lifecycle

void VcpuThread::reset(ResetKind kind, std::uint64_t tsc_offset) {
    need_state(abi::group_all);
    reset_registers(page(), CpuReset::Reset, cpuid_signature_);
    set_tsc_offset(tsc_offset);
    apic_.reset(kind);
    kvm_.reset();
    msrs_.reset();
    halted_ = init_pending_ = nmi_pending_ = false;
    startup_pending_.reset();
    waits_for_startup_ = !bootstrap_;
}

void VcpuThread::start(const CpuMask* cpus) {
    sleep_precisely();
    thread_ = std::thread{[this] { run_loop(); }};
    pthread_setname_np(thread_.native_handle(), fmt::format("vcpu{}", index_).c_str()); // for `top -H`
    if (cpus != nullptr)
        set_affinity(thread_.native_handle(), *cpus);
}

void VcpuThread::let_go() {
    may_run_ = true;
    held_ = false;
    wake_.notify_one();
}

void VcpuThread::hold(DeviceCondition& changed) {
    may_run_ = false;
    held_changed_ = &changed;
    wake();
}

void VcpuThread::quit() {
    quit_ = true;
    may_run_ = false;
    if (in_guest_)
        engine_.request_exit();
    wake_.notify_one();
}

void VcpuThread::join() {
    if (thread_.joinable())
        thread_.join();
}

// --- signals from other threads and devices

void VcpuThread::wake() {
    if (in_guest_) {
        if (!std::exchange(exit_requested_, true))
            engine_.request_exit();
    } else if (sleeping_) {
        wake_.notify_one();
    }
}

void VcpuThread::nmi() {
    nmi_pending_ = true;
    wake();
}

void VcpuThread::init() {
    init_pending_ = true;
    startup_pending_.reset();
    wake();
}

void VcpuThread::startup(std::uint8_t vector) {
    if (!waits_for_startup_ && !init_pending_)
        return;
    startup_pending_ = vector;
    wake();
}

// --- time

std::uint64_t VcpuThread::tsc_at(GuestTime time) const {
    return around_.tsc_ratio.to_guest(around_.clock.base() + around_.clock.scale().to_ticks(time)) +
           tsc_offset_;
}

GuestTime VcpuThread::time_of_tsc(std::uint64_t tsc) const {
    const auto& ratio = around_.tsc_ratio;
    const auto ticks = tsc - tsc_offset_ - ratio.to_guest(around_.clock.base());
    return static_cast<std::int64_t>(ticks) < 0 ? 0 : around_.clock.scale().time_of(ratio.to_host(ticks));
}

void VcpuThread::set_tsc_offset(std::uint64_t offset) {
    need_state(abi::group_msrs);
    tsc_offset_ = offset;
    page().msrs.tsc_offset = offset;
    page().msrs.tsc_ratio = around_.tsc_ratio.fixed_point();
    page().dirty |= abi::group_msrs;
    apic_.tsc_changed();
    kvm_.tsc_changed();
}

// --- the loop

[[gnu::hot]] void VcpuThread::run_loop() {
    std::unique_lock lock{around_.lock};
    while (!quit_) {
        around_.lock.do_left_work();
        if (around_.lock.take_expectation()) [[unlikely]] {
            // On this CPU a disk's worker has mostly done a write by then; otherwise a guest that waits for
            // it would sleep, which costs further exits. Where the worker has another CPU this is one call
            // more.
            lock.unlock();
            std::this_thread::yield();
            lock.lock();
            continue;
        }
        if (!may_run_) {
            if (!std::exchange(held_, true) && held_changed_ != nullptr)
                held_changed_->notify_all();
            wake_.wait(lock);
            continue;
        }
        take_init_and_startup();
        if (waits_for_startup_ || (halted_ && !can_wake())) {
            sleep(lock);
            continue;
        }
        halted_ = false;
        prepare_entry();
        in_guest_ = true;
        lock.unlock();
        auto reason = abi::ExitReason::None;
        std::string error;
        try {
            reason = engine_.run();
        } catch (const EngineError& e) {
            error = e.what();
        }
        lock.lock();
        in_guest_ = exit_requested_ = false;
        if (__atomic_load_n(&posted_writes_, __ATOMIC_RELAXED) != 0)
            around_.port_notes.carry_out(around_.ports);
        if (!error.empty()) {
            fail(error);
            continue;
        }
        after_exit();
        handle(reason);
    }
}

/// Until somebody wakes it, or its own next timer, which it fires.
void VcpuThread::sleep(std::unique_lock<DeviceLock>& lock) {
    sleeping_ = true;
    const auto rest = clock_.deadline() - clock_.now();
    if (clock_.deadline() == TimerList::never || !around_.clock.running())
        wake_.wait(lock);
    else if (rest > 0)
        wake_.wait_for(lock, std::chrono::nanoseconds{std::min(rest, longest_wait)});
    sleeping_ = false;
    clock_.fire_due();
}

[[gnu::hot]] void VcpuThread::take_init_and_startup() {
    if (std::exchange(init_pending_, false)) {
        need_state(abi::group_all);
        reset_registers(page(), CpuReset::Init, cpuid_signature_);
        halted_ = nmi_pending_ = false;
        waits_for_startup_ = !bootstrap_;
    }
    if (const auto vector = std::exchange(startup_pending_, std::nullopt); vector && waits_for_startup_) {
        start_at_vector(page(), *vector);
        waits_for_startup_ = false;
    }
}

bool VcpuThread::can_wake() const {
    const auto& page = page_;
    if (page.event.valid != 0 || (nmi_pending_ && page.nmi_blocked == 0))
        return true;
    return (page.rflags & flag_if) != 0 && (apic_.pic_interrupt_pending() || apic_.pending_interrupt());
}

[[gnu::hot]] void VcpuThread::need_state(std::uint32_t groups) {
    // What the engine has not brought up to date and nobody has changed since would be written back stale.
    auto& page = page_;
    if (const auto missing = groups & ~page.valid; (missing & ~page.dirty) != 0)
        engine_.fetch_state();
}

// --- injection

[[gnu::hot]] bool VcpuThread::interruptible() const {
    const auto& page = page_;
    return (page.rflags & flag_if) != 0 && page.interrupt_shadow == 0;
}

void VcpuThread::inject(abi::EventType type, std::uint8_t vector, std::optional<std::uint32_t> error_code) {
    page().event = {.valid = 1,
                    .type = type,
                    .vector = vector,
                    .has_error_code = error_code.has_value() ? std::uint8_t{1} : std::uint8_t{0},
                    .error_code = error_code.value_or(0)};
}

[[gnu::hot]] void VcpuThread::prepare_entry() {
    auto& page = page_;
    if (page.cr8 != apic_.cr8()) {
        need_state(abi::group_general);
        page.cr8 = apic_.cr8();
        page.dirty |= abi::group_general;
    }
    bool free = page.event.valid == 0;
    page.request_nmi_window = 0;
    if (nmi_pending_) {
        if (free && page.nmi_blocked == 0) {
            inject(abi::EventType::Nmi, vector_nmi);
            nmi_pending_ = free = false;
        } else {
            page.request_nmi_window = 1;
        }
    }
    prepare_interrupts(free);
    kvm_.before_entry();
    const auto deadline = clock_.deadline_tsc();
    if (alarm_ != nullptr && deadline != alarm_tsc_)
        set_alarm(deadline);
    page.deadline = deadline;
}

// The control OS's clock may be slewed against the TSC, and an interrupt that comes before the deadline is of
// no use: so it is set for a little later, 120 parts in a million.
[[gnu::cold]] void VcpuThread::set_alarm(std::uint64_t deadline_tsc) {
    alarm_tsc_ = deadline_tsc;
    if (deadline_tsc == 0)
        return; // if it is set, its interrupt does no harm
    const auto rest = std::clamp<GuestTime>(clock_.deadline() - clock_.now(), 0, longest_wait);
    alarm_->set(std::chrono::nanoseconds{rest + rest / 8192 + 500});
}

[[gnu::hot]] void VcpuThread::prepare_interrupts(bool free) {
    auto& page = page_;
    page.request_interrupt_window = 0;
    const auto want_window = [&](std::uint32_t vector) {
        page.request_interrupt_window = 1;
        page.window_vector = vector;
    };
    free = free && interruptible();
    if (apic_.pic_interrupt_pending()) {
        if (!free)
            return want_window(abi::VcpuPage::window_any);
        inject(abi::EventType::Interrupt, around_.pic.acknowledge());
        apic_.pic_interrupt_taken();
        if (apic_.pic_interrupt_pending())
            return want_window(abi::VcpuPage::window_any);
    } else if (free) {
        if (const auto vector = apic_.pending_interrupt()) {
            apic_.accept(*vector);
            inject(abi::EventType::Interrupt, *vector);
        }
    }
    // What has to wait: for IF, for the TPR, or for the one just injected.
    if (const auto vector = apic_.requested_interrupt()) {
        want_window(*vector);
        apic_.offer(*vector); // the CPU may deliver it by itself
    }
}

// --- exits

[[gnu::hot]] void VcpuThread::after_exit() {
    const auto& page = page_;
    apic_.settle_offer(page.window_taken != 0);
    kvm_.after_exit();
    if (page.cr8 != apic_.cr8())
        apic_.set_cr8(static_cast<std::uint8_t>(page.cr8));
    if (page.msrs.tsc_offset != tsc_offset_) {
        tsc_offset_ = page.msrs.tsc_offset; // the guest wrote its TSC
        apic_.tsc_changed();
        kvm_.tsc_changed();
    }
}

[[gnu::hot]] void VcpuThread::handle(abi::ExitReason reason) {
    if (reason == abi::ExitReason::Io) [[likely]]
        return handle_io();
    if (reason == abi::ExitReason::Memory) [[likely]]
        return handle_memory();
    handle_other(reason);
}

void VcpuThread::handle_other(abi::ExitReason reason) {
    switch (reason) {
    case abi::ExitReason::TaskSwitch:
        return handle_task_switch();
    case abi::ExitReason::MsrRead:
        return handle_msr_read();
    case abi::ExitReason::MsrWrite:
        return handle_msr_write();
    case abi::ExitReason::Halt:
        halted_ = true;
        return complete_instruction();
    case abi::ExitReason::Interrupted:
    case abi::ExitReason::InterruptWindow:
    case abi::ExitReason::NmiWindow:
        return; // the next entry looks at what is pending
    case abi::ExitReason::Deadline:
        return clock_.fire_due();
    case abi::ExitReason::Shutdown:
        return around_.host.triple_fault(index_);
    case abi::ExitReason::EntryFailed:
        return fail("the guest's state is invalid");
    case abi::ExitReason::Unhandled:
        return fail("an exit that the monitor does not know");
    case abi::ExitReason::Io:
    case abi::ExitReason::Memory:
    case abi::ExitReason::None:
    case abi::ExitReason::Count:
        break;
    }
    fail(fmt::format("exit reason {}", static_cast<unsigned>(reason)));
}

/// RIP to the next instruction, and what goes with it.
[[gnu::hot]] void VcpuThread::complete_instruction() {
    auto& page = page_;
    need_state(abi::group_general);
    page.rip = page.next_rip;
    page.rflags &= ~flag_rf;
    const bool shadow = std::exchange(page.interrupt_shadow, 0) != 0;
    page.dirty |= abi::group_general;
    if ((page.rflags & flag_tf) != 0 && !shadow && page.event.valid == 0) {
        need_state(abi::group_other);
        page.dr6 |= dr6_single_step;
        page.dirty |= abi::group_other;
        inject(abi::EventType::Exception, vector_db);
    }
}

[[gnu::hot]] void VcpuThread::handle_io() {
    auto& page = page_;
    const auto& io = page.exit.io;
    if (io.string != 0) {
        need_state(abi::group_general | abi::group_segments | abi::group_control);
        around_.apic_window.set_current(apic_);
        return look_at(around_.emulator.string_io(page));
    }
    need_state(abi::group_general);
    const std::size_t width = io.width == 1 || io.width == 2 ? io.width : 4;
    auto& rax = page.gpr[abi::rax];
    std::array<std::uint8_t, 4> data{};
    std::memcpy(data.data(), &rax, 4); // both are little-endian
    if (io.in != 0) {
        around_.ports.read(io.port, std::span{data}.first(width));
        std::uint32_t low = 0;
        std::memcpy(&low, data.data(), 4);
        rax = width == 4 ? low : (rax & ~0xffffffffull) | low;
    } else {
        around_.ports.write(io.port, std::span<const std::uint8_t>{data}.first(width));
    }
    complete_instruction();
}

[[gnu::hot]] void VcpuThread::handle_memory() {
    need_state(abi::group_general | abi::group_main_segments | abi::group_control);
    around_.apic_window.set_current(apic_);
    const auto gpa = page_.exit.memory.gpa; // the page is written to
    if (!around_.emulator.emulate_quickly(page_) && !emulate())
        return;
    if (gpa >= vga_window && gpa < vga_window_end) {
        need_state(abi::group_segments);
        around_.emulator.run_ahead(page_);
    }
}

/// The long way. False when it has not come to the instruction's end.
bool VcpuThread::emulate() {
    need_state(abi::group_segments);
    const auto result = around_.emulator.emulate(page_);
    look_at(result);
    return result.outcome == EmulationResult::Outcome::Done;
}

void VcpuThread::handle_task_switch() {
    need_state(abi::group_general | abi::group_segments | abi::group_control);
    around_.apic_window.set_current(apic_);
    look_at(around_.emulator.task_switch(page_));
}

void VcpuThread::look_at(const EmulationResult& result) {
    // Done, Fault and Retry all mean: enter the guest.
    if (result.outcome == EmulationResult::Outcome::TripleFault)
        around_.host.triple_fault(index_);
    else if (result.outcome == EmulationResult::Outcome::Unsupported)
        around_.host.vcpu_failed(index_, result.text);
}

void VcpuThread::handle_msr_read() {
    auto& page = page_;
    need_state(abi::group_general);
    const auto index = page.exit.msr.index;
    const auto value = LocalApic::owns_msr(index)      ? apic_.read_msr(index)
                       : KvmInterface::owns_msr(index) ? kvm_.read_msr(index)
                                                       : msrs_.read(index);
    if (!value) {
        unknown_msr(index, false);
        return inject(abi::EventType::Exception, vector_gp, 0);
    }
    page.gpr[abi::rax] = *value & 0xffffffff;
    page.gpr[abi::rdx] = *value >> 32;
    complete_instruction();
}

void VcpuThread::handle_msr_write() {
    auto& page = page_;
    need_state(abi::group_general);
    const auto index = page.exit.msr.index;
    bool done = false;
    if (LocalApic::owns_msr(index)) {
        done = apic_.write_msr(index, page.exit.msr.value);
        if (index == LocalApic::msr_apic_base)
            around_.apic_window.update();
    } else if (KvmInterface::owns_msr(index)) {
        done = kvm_.write_msr(index, page.exit.msr.value);
    } else {
        done = msrs_.write(index, page.exit.msr.value);
    }
    if (!done) {
        unknown_msr(index, true);
        return inject(abi::EventType::Exception, vector_gp, 0);
    }
    complete_instruction();
}

void VcpuThread::unknown_msr(std::uint32_t index, bool write) {
    constexpr std::size_t most = 64; // a guest that tries them all does not fill the log
    if (logged_msrs_.size() >= most || !logged_msrs_.insert(index).second)
        return;
    fmt::print(stderr, "vCPU {}: {} MSR {:#x} is refused (#GP)\n", index_, write ? "write of" : "read of",
               index);
}

void VcpuThread::fail(const std::string& what) {
    const auto& page = page_;
    std::string text = what;
    const auto reason = static_cast<abi::ExitReason>(page.exit_reason);
    if (reason == abi::ExitReason::EntryFailed || reason == abi::ExitReason::Unhandled) {
        const auto& failure = page.exit.failure;
        const auto length = strnlen(failure.text, sizeof failure.text);
        text += fmt::format(": {} (code {:#x}, {:#x}, {:#x})", std::string_view{failure.text, length},
                            failure.code, failure.info1, failure.info2);
        if (reason == abi::ExitReason::Unhandled)
            text += fmt::format(": {}", name_hardware_exit(engine_.statistics(), failure.code));
    }
    try {
        need_state(abi::group_all);
        text += '\n' + around_.emulator.describe(page);
    } catch (const EngineError& e) {
        text += fmt::format("\n(no registers: {})", e.what());
    }
    around_.host.vcpu_failed(index_, std::move(text));
}

} // namespace escalus
