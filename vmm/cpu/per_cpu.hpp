// SPDX-License-Identifier: GPL-2.0-or-later
// What the monitor keeps for each physical CPU.
#pragma once

#include "vmm/abi/types.hpp"
#include "vmm/cpu/fpu.hpp"

#include <cstdint>

namespace escalus::vmm {

inline constexpr unsigned cpus_max = 256;

/// General registers in the order of instruction encodings (abi::GprIndex). Back ends whose hardware keeps
/// RAX or RSP elsewhere leave those places unused while the guest runs.
struct Gprs {
    std::uint64_t r[16];
};

/// What a start-up IPI sequence has told a CPU that waits for it.
enum class StartState : std::uint32_t {
    Offline,     ///< not in the monitor yet
    WaitForInit, ///< the boot CPU before anything, or after INIT was consumed
    WaitForSipi, ///< in root mode, waiting
    Running
};

/// The stack comes first, so that its top, where the hot path's frames are, shares a page with the fields and
/// with the FPU area behind them: each exit touches one page for all three.
struct alignas(64) PerCpu {
    alignas(16) unsigned char stack[16384 - 2048] = {};
    unsigned index = 0;
    std::uint32_t apic_id = 0;
    std::uint32_t start_vector = no_vector; // atomically accessed
    Gprs control{};                         ///< the control OS's registers while the monitor runs
    /// CR0.TS was set at the hypercall: an OS that switches the FPU lazily has another thread's state in it.
    bool control_fpu_is_lazy = false;
    std::uint64_t control_dr[4] = {};
    std::uint64_t control_tsc_aux = 0;
    std::uint64_t control_xcr0 = 0;
    // Address-space identifiers of this CPU are handed out in turn; when they run out a new generation begins
    // with a flush.
    std::uint32_t next_asid = 0;
    std::uint64_t asid_generation = 1;
    /// The back end's own part (svm/svm.hpp, vmx/vmx.hpp).
    void* backend = nullptr;

    static constexpr std::uint32_t no_vector = 0xffffffff;
    [[nodiscard]] StartState state() const { return StartState{__atomic_load_n(&state_, __ATOMIC_ACQUIRE)}; }
    void set_state(StartState state) {
        __atomic_store_n(&state_, static_cast<std::uint32_t>(state), __ATOMIC_RELEASE);
    }
    [[nodiscard]] std::uint64_t* stack_top() {
        return reinterpret_cast<std::uint64_t*>(stack + sizeof stack);
    }
    /// The control OS's FPU state while a guest runs.
    [[nodiscard]] FpuArea& control_fpu() { return *reinterpret_cast<FpuArea*>(this + 1); }

  private:
    std::uint32_t state_ = static_cast<std::uint32_t>(StartState::Offline);
};

/// All CPUs that are in root mode; index 0 is the boot CPU.
extern PerCpu* cpus[cpus_max];
extern unsigned cpu_count;

/// Starts every other CPU of `ids` and waits, bounded, until each is in root mode.
void start_cpus(const std::uint32_t* ids, unsigned count);

} // namespace escalus::vmm
